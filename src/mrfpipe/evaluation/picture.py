"""Picture: all maps of a slice at a glance, with their reference and the difference if there is one."""

import math
from base64 import b64encode
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mrfpipe.appearance import (
    DIFFERENCE,
    Window,
    difference_window,
    match_window,
    side_letters,
    window_from_zero,
    window_of,
)
from mrfpipe.arrays import Bool, Complex
from mrfpipe.errors import MismatchError
from mrfpipe.evaluation.panels import SMALL, Panel, coloured, draw_panels, letters_of
from mrfpipe.files.atomic import writing
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import M0, MATCH, Parameter

_Image = npt.NDArray[np.floating[Any]]
_Place = tuple[int, slice, slice]

_MARGIN = 0.05
"""Margin shown around the mask, as a share of its larger extent."""
_COMPRESSION = 3
"""Compression level of PNG files; a higher level takes twice as long, and the file is hardly smaller."""
COILS_FILE = "coils.png"
"""Picture of the coil maps in a result folder."""
_COILS_A_ROW = 8
_COIL_STEPS = 4
"""Subsampling of a coil map, which is smooth: one in so many voxels is shown along each axis."""
_COIL = 110
"""Width of a coil map in pixels, approximately, as a voxel has whole pixels."""
_THUMBNAIL = 160
"""Largest length of the longer side of a thumbnail in pixels."""
_THUMBNAIL_COLOURS = 64
"""Number of colours, fewer than a colour map has: a third of the bytes, and no visible difference at this size."""


def save_picture(picture: Image.Image, path: str | Path) -> None:
    """Write a picture as a PNG, over any existing file; ResourceError if it cannot be written to the disk."""
    with writing(path, force=True) as partial:
        picture.save(partial, format="PNG", compress_level=_COMPRESSION)


def coils_picture(coil_maps: Complex) -> Image.Image:
    """Draw coil sensitivity maps, shape `(coils, y, x)`: brightness is the magnitude, hue the phase."""
    small = coil_maps[:, ::_COIL_STEPS, ::_COIL_STEPS]
    zoom = max(1, round(_COIL / small.shape[2]))
    small = small.repeat(zoom, 1).repeat(zoom, 2) / (np.abs(small).max() or 1.0)
    n_rows, n_columns = -(-len(small) // _COILS_A_ROW), min(len(small), _COILS_A_ROW)
    height, width = small.shape[1:]
    mosaic = np.zeros((n_rows * height, n_columns * width), small.dtype)
    corners = [(height * (i // n_columns), width * (i % n_columns)) for i in range(len(small))]
    for one, (y, x) in zip(small, corners, strict=True):
        mosaic[y : y + height, x : x + width] = one
    hue = np.angle(mosaic) / (2 * np.pi) % 1.0
    hsv = np.stack([hue, np.full_like(hue, 0.6), np.abs(mosaic)], axis=-1)
    picture = Image.fromarray(np.rint(255 * hsv).astype(np.uint8), mode="HSV").convert("RGB")
    pen = ImageDraw.Draw(picture)
    for number, (y, x) in enumerate(corners, start=1):
        pen.text((x + 4, y + 4), str(number), (255, 255, 255), letters_of(SMALL))
    return picture


def maps_picture(
    maps: ParameterMaps, *, reference: ParameterMaps | None = None, slice_index: int = 0, title: str = ""
) -> Image.Image:
    """Draw one slice of all maps: the panels of `maps_panels`, with their colour bars.

    Letters name the side of the patient at the left and upper edges. The heading is the title with the number of the
    slice, counted from 1. For other parameters and errors, see `maps_panels`.
    """
    panels = maps_panels(maps, reference=reference, slice_index=slice_index)
    above = title and f"{title}, slice {slice_index + 1} of {len(maps.mask)}"
    return draw_panels(panels, title=above, letters=side_letters(maps.affine))


def maps_panels(
    maps: ParameterMaps, *, reference: ParameterMaps | None = None, slice_index: int = 0
) -> dict[str, list[Panel]]:
    """Return the panels of one slice of all maps, in rows by name, cropped to the mask and a margin around it.

    The first row has the parameters in the units of files. With a reference, the rows below show the reference and the
    difference from it, in the same columns; without one, the row below shows M0 and match.

    Parameters
    ----------
    maps
        The maps to draw.
    reference
        The maps to compare them with.
    slice_index
        Index of the slice, from 0.

    Raises
    ------
    IndexError
        If there is no such slice.
    MismatchError
        If maps and reference differ in shape.
    """
    n_slices = len(maps.mask)
    if not 0 <= slice_index < n_slices:
        raise IndexError(f"There is no slice {slice_index}; slices run from 0 to {n_slices - 1}.")
    if reference is not None and reference.mask.shape != maps.mask.shape:
        raise MismatchError(f"The maps have shape {maps.mask.shape} and the reference {reference.mask.shape}.")
    either = maps.mask if reference is None else maps.mask | reference.mask
    place = (slice_index, *_around(either[slice_index]))
    windows = {p: window_of(maps if reference is None else reference, p) for p in maps.parameters}
    if reference is None:
        return {"maps": _parameters(maps, windows, place), "quality": _quality(maps, place)}
    return {
        "maps": _parameters(maps, windows, place),
        "reference": _parameters(reference, windows, place),
        "maps \N{MINUS SIGN} reference": _differences(maps, reference, place),
    }


def thumbnails(maps: ParameterMaps) -> dict[str, str]:
    """Draw the middle slice of every parameter as a small PNG; return data URLs for HTML by parameter name.

    A pixel has the colour of one voxel, or the average colour of several.
    """
    found = {}
    for name, panel in zip(maps, maps_panels(maps, slice_index=len(maps.mask) // 2)["maps"], strict=True):
        picture, png = Image.fromarray(coloured(panel)), BytesIO()
        small = picture.reduce(max(1, math.ceil(max(picture.size) / _THUMBNAIL)))
        small.quantize(_THUMBNAIL_COLOURS).save(png, format="PNG", optimize=True)
        found[name] = f"data:image/png;base64,{b64encode(png.getvalue()).decode('ascii')}"
    return found


def _around(mask: Bool) -> tuple[slice, slice]:
    """Return the rows and columns of a mask with a margin around it; all if the mask is empty."""
    if not mask.any():
        return slice(None), slice(None)
    inside = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    margin = 2 + int(_MARGIN * max(i[-1] - i[0] for i in inside))
    rows, columns = (slice(max(0, int(i[0]) - margin), int(i[-1]) + 1 + margin) for i in inside)
    return rows, columns


def _parameters(maps: ParameterMaps, windows: Mapping[Parameter, Window], place: _Place) -> list[Panel]:
    """Return the panels of the parameters with their windows."""
    return [
        Panel(
            title=p.heading,
            image=_masked(maps[p.name], maps.mask, place),
            colours=p.quantity.colours,
            window=window,
        )
        for p, window in windows.items()
    ]


def _quality(maps: ParameterMaps, place: _Place) -> list[Panel]:
    m0, match = (_masked(values, maps.mask, place) for values in (maps.m0, maps.match))
    bright = window_from_zero(maps.m0[maps.mask])
    return [
        Panel(title="M0 (arbitrary)", image=m0, colours=M0.colours, window=bright),
        Panel(title="match", image=match, colours=MATCH.colours, window=match_window(maps)),
    ]


def _differences(maps: ParameterMaps, reference: ParameterMaps, place: _Place) -> list[Panel]:
    both = maps.mask & reference.mask
    return [
        Panel(
            title=p.heading,
            image=_masked(maps[p.name] - reference[p.name], both, place),
            colours=DIFFERENCE,
            window=difference_window(maps, reference, p),
        )
        for p in maps.parameters
    ]


def _masked(values: _Image, mask: Bool, place: _Place) -> _Image:
    image: _Image = np.where(mask[place], values[place], np.nan)
    return image
