"""Picture: all maps of a slice at a glance, beside their reference and the difference where there is one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

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
from mrfpipe.files.atomic import writing
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import M0, MATCH

_Image = npt.NDArray[np.floating[Any]]

_GREY = "0.62"
"""Colour of voxels outside the mask; no colour map below passes through it."""
_MARGIN = 0.05
"""Shown around the mask, as a share of its larger extent."""
_PANEL = 2.6
"""Width of a panel in inches; so are the heights and distances below."""
_GAP = 0.35
"""Between columns, and at the edges of the picture."""
_LABEL = 0.3
"""For the name of a row."""
_HEADING = 0.3
"""For the title of a panel, and of the picture."""
_BAR = 0.1
"""Height of a colour bar, and its distance from the panel above."""
_TICKS = 0.3
"""For the numbers below a colour bar."""
_DPI = 150
"""Dots an inch of a PNG."""


COILS_FILE = "coils.png"
"""Picture of the coil maps in a result folder."""
_COILS_A_ROW = 8
_COIL_STEPS = 4
"""Every so many voxels of a coil map are shown: it is smooth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    title: str
    image: _Image
    unit: str
    colours: str
    range: Window


def draw_maps(
    maps: ParameterMaps,
    path: str | Path,
    *,
    reference: ParameterMaps | None = None,
    slice_index: int = 0,
    title: str = "",
) -> None:
    """Draw `maps_figure` to a PNG, which replaces one that is there.

    Errors as of `maps_figure`; ResourceError if the disk does not take the file.
    """
    figure = maps_figure(maps, reference=reference, slice_index=slice_index, title=title)
    with writing(path, force=True) as partial:
        figure.savefig(partial, dpi=_DPI, format="png")


def draw_coils(coil_maps: Complex, path: Path) -> None:
    """Draw coil maps as a PNG: brightness is the magnitude, hue the phase. Shape `(coils, y, x)`."""
    small = coil_maps[:, ::_COIL_STEPS, ::_COIL_STEPS]
    n_rows, n_columns = -(-len(small) // _COILS_A_ROW), min(len(small), _COILS_A_ROW)
    tiles = np.zeros((n_rows * n_columns, *small.shape[1:]), small.dtype)
    tiles[: len(small)] = small / (np.abs(small).max() or 1.0)
    height, width = small.shape[1:]
    mosaic = tiles.reshape(n_rows, n_columns, height, width).swapaxes(1, 2).reshape(n_rows * height, n_columns * width)
    hue = np.angle(mosaic) / (2 * np.pi) % 1.0
    figure = Figure(figsize=(1.1 * n_columns, 1.1 * n_rows * height / width))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.imshow(hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.6), np.abs(mosaic)], axis=-1)), interpolation="nearest")
    for number in range(len(small)):
        row, column = divmod(number, n_columns)
        axis.text((column + 0.03) * width, (row + 0.03) * height, str(number + 1), color="white", fontsize=7, va="top")
    with writing(path, force=True) as partial:
        figure.savefig(partial, dpi=100, format="png")


def maps_figure(
    maps: ParameterMaps, *, reference: ParameterMaps | None = None, slice_index: int = 0, title: str = ""
) -> Figure:
    """Draw one slice of all maps.

    The parameters stand in a row, in the units of files. With a reference, it and the difference from it follow
    below in the same columns; without one, M0 and match follow below. Voxels outside the mask are grey. Letters say
    which sides of the patient the left and the upper edge are.

    Parameters
    ----------
    maps
        What to draw.
    reference
        What the maps should be.
    slice_index
        Which slice, counted from 0.
    title
        Name of the scan, to write above with the number of the slice, counted from 1.

    Raises
    ------
    IndexError
        If there is no such slice.
    MismatchError
        If maps and reference differ in shape.
    """
    n_slices = maps.mask.shape[0]
    if not 0 <= slice_index < n_slices:
        raise IndexError(f"There is no slice {slice_index}; slices run from 0 to {n_slices - 1}.")
    if reference is not None and reference.mask.shape != maps.mask.shape:
        raise MismatchError(f"The maps have shape {maps.mask.shape} and the reference {reference.mask.shape}.")
    if reference is None:
        rows = {"maps": _parameters(maps, maps, slice_index), "quality": _quality(maps, slice_index)}
    else:
        rows = {
            "maps": _parameters(maps, reference, slice_index),
            "reference": _parameters(reference, reference, slice_index),
            "maps \N{MINUS SIGN} reference": _differences(maps, reference, slice_index),
        }
    above = title and f"{title}, slice {slice_index + 1} of {n_slices}"
    return _figure(rows, _window(maps, reference, slice_index), above, side_letters(maps.affine))


def _parameters(maps: ParameterMaps, ranged: ParameterMaps, s: int) -> list[_Panel]:
    """Panels of the parameters in the ranges that fit `ranged`."""
    return [
        _Panel(
            title=p.name,
            image=_masked(maps[p.name], maps.mask, s),
            unit=p.unit,
            colours=p.quantity.colours,
            range=window_of(ranged, p),
        )
        for p in maps.parameters
    ]


def _quality(maps: ParameterMaps, s: int) -> list[_Panel]:
    m0, match = (_masked(values, maps.mask, s) for values in (maps.m0, maps.match))
    bright = window_from_zero(maps.m0[maps.mask])
    return [
        _Panel(title="M0", image=m0, unit="arbitrary", colours=M0.colours, range=bright),
        _Panel(title="match", image=match, unit="1", colours=MATCH.colours, range=match_window(maps)),
    ]


def _differences(maps: ParameterMaps, reference: ParameterMaps, s: int) -> list[_Panel]:
    panels = []
    for p in maps.parameters:
        image = _masked(maps[p.name] - reference[p.name], maps.mask & reference.mask, s)
        window = difference_window(maps, reference, p)
        panels.append(_Panel(title=p.name, image=image, unit=p.unit, colours=DIFFERENCE, range=window))
    return panels


def _masked(values: _Image, mask: Bool, s: int) -> _Image:
    image: _Image = np.where(mask[s], values[s], np.nan)
    return image


def _window(maps: ParameterMaps, reference: ParameterMaps | None, s: int) -> tuple[slice, slice]:
    """Rows and columns of the mask and a margin around it; the whole slice where there is no mask."""
    mask = maps.mask[s] if reference is None else maps.mask[s] | reference.mask[s]
    if not mask.any():
        return slice(None), slice(None)
    inside = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    margin = 2 + int(_MARGIN * max(i[-1] - i[0] for i in inside))
    rows, columns = (slice(max(0, int(i[0]) - margin), int(i[-1]) + 1 + margin) for i in inside)
    return rows, columns


def _figure(rows: dict[str, list[_Panel]], window: tuple[slice, slice], title: str, letters: dict[str, str]) -> Figure:
    """Place panels and colour bars by hand: matplotlib's layout engines take longer than all else about a picture."""
    first = next(iter(rows.values()))
    n_y, n_x = first[0].image[window].shape
    panel_height = _PANEL * min(max(n_y / n_x, 0.4), 2.0)
    titles = {
        label: [p.title if p.unit == "1" else f"{p.title} ({p.unit})" for p in row] for label, row in rows.items()
    }
    width = _LABEL + (_PANEL + _GAP) * len(first) + _GAP
    n_headings = 1 + len({tuple(above) for above in titles.values()})
    height = _HEADING * n_headings + (panel_height + 2 * _BAR + _TICKS) * len(rows)
    figure = Figure(figsize=(width, height))

    def add_axes(x: float, below: float, h: float) -> Axes:
        """Add axes as wide as a panel, their upper edge so far below the picture's."""
        return figure.add_axes((x / width, 1 - (below + h) / height, _PANEL / width, h / height))

    below, above = _HEADING, list[str]()
    for label, panels in rows.items():
        headed = titles[label] != above
        below += _HEADING * headed
        for column, panel in enumerate(panels):
            x = _LABEL + _GAP + (_PANEL + _GAP) * column
            axis = add_axes(x, below, panel_height)
            _draw(axis, add_axes(x, below + panel_height + _BAR, _BAR), panel, window)
            if headed:
                axis.set_title(titles[label][column], fontsize=11)
            if column == 0:
                axis.set_ylabel(label, fontsize=11)
        below, above = below + panel_height + 2 * _BAR + _TICKS, titles[label]
    _write_letters(figure.axes[0], letters)
    if title:
        figure.suptitle(title, fontsize=12, y=1 - 0.5 * _HEADING / height, va="center")
    return figure


def _draw(axis: Axes, bar: Axes, panel: _Panel, window: tuple[slice, slice]) -> None:
    low, high = panel.range
    values = panel.image[window]
    drawn = axis.imshow(
        values,
        cmap=colormaps[panel.colours].with_extremes(bad=_GREY),
        vmin=low,
        vmax=high,
        origin="upper",
        aspect="equal",
        interpolation="nearest",
    )
    axis.set(xticks=[], yticks=[])
    axis.figure.colorbar(drawn, cax=bar, orientation="horizontal", extend=_extend(values, low, high))
    bar.tick_params(labelsize=8)
    bar.locator_params(nbins=5)


def _write_letters(axis: Axes, letters: dict[str, str]) -> None:
    axis.text(0.015, 0.5, letters["left"], transform=axis.transAxes, ha="left", va="center", fontsize=8)
    axis.text(0.5, 0.98, letters["top"], transform=axis.transAxes, ha="center", va="top", fontsize=8)


def _extend(values: _Image, low: float, high: float) -> str:
    below, above = bool(np.any(values < low)), bool(np.any(values > high))
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]
