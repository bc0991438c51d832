"""Appearance: the window and the colours in which a map is shown, and the letters at its edges, on pictures and pages.

The window of a parameter is the range that the protocol searches, so that scans can be compared. For maps that do not
state this range, it is the range of their values in all slices, in voxels where they count: elsewhere they are guesses.
"""

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import Double
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import Parameter

Window = tuple[float, float]
"""The values of the first and the last colour."""

DIFFERENCE = "PuOr_r"
"""Colour map of differences."""
USUAL_MATCH = 0.9
"""Lower end of the match's window, unless a scan is worse."""
_PERCENTILES = (1, 99)
_MOST_DIFFERENCES = 97
"""Share of the voxels, in %, whose difference fits its window."""


def window_of(maps: ParameterMaps, parameter: Parameter) -> Window:
    """Return the window of a parameter: the range that the protocol searches, or that of the maps if it is unknown.

    The quantity may ask for its full range instead, or for a window symmetric about zero. For a comparison, give the
    maps of the reference.
    """
    quantity = parameter.quantity
    if quantity.window == "bounds":
        return quantity.least * quantity.scale, quantity.most * quantity.scale
    if parameter.searched is not None and parameter.searched[0] < parameter.searched[1]:
        low, high = (end * quantity.scale for end in parameter.searched)
        top = max(abs(low), abs(high))
        return (-top, top) if quantity.window == "symmetric" else (low, high)
    counts = maps.counts(parameter)
    values = maps[parameter.name][counts if counts.any() else maps.mask]
    if quantity.window == "symmetric":
        top = _percentile(np.abs(values), _PERCENTILES[1]) or 1.0
        return -top, top
    return _opened(*(_percentile(values, share) for share in _PERCENTILES))


def difference_window(maps: ParameterMaps, reference: ParameterMaps, parameter: Parameter) -> Window:
    """Return the symmetric window of the difference of a parameter from its reference, where it counts."""
    both = reference.compared(parameter) & maps.mask
    differences = maps[parameter.name][both] - reference[parameter.name][both]
    top = _percentile(np.abs(differences), _MOST_DIFFERENCES) or 1.0
    return -top, top


def match_window(maps: ParameterMaps) -> Window:
    """Return the window of the match: from `USUAL_MATCH` up, or from a lower value if the scan needs it."""
    lowest = math.floor(10 * _percentile(maps.match[maps.mask], _PERCENTILES[0])) / 10
    return max(0.0, min(USUAL_MATCH, lowest)), 1.0


def window_from_zero(values: npt.NDArray[np.floating[Any]]) -> Window:
    """Return the window from 0 to nearly the largest value, for maps such as M0 and the gap."""
    return _opened(0.0, _percentile(values, _PERCENTILES[1]))


def _percentile(values: npt.NDArray[np.floating[Any]], share: float) -> float:
    return float(np.percentile(values, share)) if values.size else 0.0


def _opened(low: float, high: float) -> Window:
    """Widen a window of zero width, so that its only value has the middle colour."""
    return (low, high) if high > low else (low - 0.5, low + 0.5)


@cache
def colours_of(name: str) -> npt.NDArray[np.uint8]:
    """Return the 256 colours of a colour map of matplotlib. Shape `(256, 3)`."""
    from matplotlib import colormaps

    colours: npt.NDArray[np.uint8] = colormaps[name](np.arange(256), bytes=True)[:, :3]
    return colours


def side_letters(affine: Double) -> dict[str, str]:
    """Return the patient's side at the left and upper edge of an image; empty for an oblique axis."""
    found = {}
    for edge, column in (("left", affine[:3, 0]), ("top", affine[:3, 1])):
        main = int(np.argmax(np.abs(column)))
        along = abs(column[main]) > 0.9 * np.linalg.norm(column)
        # The edge is where the axis starts.
        found[edge] = ("LPI" if column[main] > 0 else "RAS")[main] if along else ""
    return found
