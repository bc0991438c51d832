"""Drawing: maps side by side with their differences, and functions that all figures of studies share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mrfpipe.appearance import DIFFERENCE, difference_window, window_of
from mrfpipe.arrays import Bool, Float
from mrfpipe.files.atomic import writing
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import Parameter

REFERENCE_COLOURS = {"truth": "C0", "match": "C1"}
"""Colours of results, by the reference they are compared with."""
_PANEL = 1.75
"""Width of a map in inches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Maps to draw under one title."""

    title: str
    """Title of the column."""
    maps: ParameterMaps
    """The maps."""
    difference_from: ParameterMaps | None = None
    """Maps from which these are subtracted to draw the difference; None to draw the maps themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRow:
    """One parameter of one scan, its first slice."""

    label: str
    """Label beside the row."""
    parameter: Parameter
    """Parameter that is drawn."""
    truth: ParameterMaps
    """True maps, which determine the range of the colours and the part of the slice that is shown."""
    columns: Sequence[Column]
    """The maps, the same number in every row."""


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG; an existing file is replaced."""
    with writing(path, force=True) as partial:
        figure.savefig(partial, dpi=130, format="png", bbox_inches="tight")


def draw_maps(rows: Sequence[MapRow], title: str, path: Path) -> None:
    """Draw maps as a PNG, with the same windows as pages and pictures of results."""
    n_columns = len(rows[0].columns)
    shapes = [row.truth.mask[0][_window(row.truth.mask[0])].shape for row in rows]
    heights = [min(max(y / x, 0.4), 2.0) for y, x in shapes]
    with_differences = any(column.difference_from is not None for column in rows[0].columns)
    figure = Figure(
        figsize=(
            _PANEL * n_columns + (2.2 if with_differences else 1.2),
            _PANEL * sum(heights) + 0.25 * len(rows) + 0.5,
        ),
        layout="compressed",
    )
    grid = figure.subplots(len(rows), n_columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    for line, row in zip(grid, rows, strict=True):
        _draw_row(figure, line, row)
    for axes, column in zip(grid[0], rows[0].columns, strict=True):
        axes.set_title(column.title, fontsize=10)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def _draw_row(figure: Figure, line: Sequence[Axes], row: MapRow) -> None:
    window = _window(row.truth.mask[0])
    images = [_image(column, row.parameter)[window] for column in row.columns]
    differs = [column.difference_from is not None for column in row.columns]
    values, usual = Normalize(*window_of(row.truth, row.parameter)), row.parameter.quantity.colours
    compared = [(column.maps, column.difference_from) for column in row.columns if column.difference_from is not None]
    largest = max((difference_window(*both, row.parameter)[1] for both in compared), default=1.0)
    differences = Normalize(-largest, largest)
    for axes, image, is_difference in zip(line, images, differs, strict=True):
        norm, colours = (differences, DIFFERENCE) if is_difference else (values, usual)
        axes.imshow(image, cmap=colours, norm=norm, interpolation="nearest")
        axes.set(xticks=[], yticks=[], facecolor="0.62")
    line[0].set_ylabel(row.label, fontsize=10)
    bars = {"difference": ScalarMappable(differences, DIFFERENCE)} if compared else {}
    for label, colour_of in (bars | {"value": ScalarMappable(values, usual)}).items():
        bar = figure.colorbar(colour_of, ax=line, pad=0.01, aspect=12)
        bar.set_label(label if bars else "", fontsize=8)
        bar.ax.tick_params(labelsize=8)


def _window(mask: Bool) -> tuple[slice, slice]:
    """Return the rows and columns of the mask with one voxel around it."""
    inside = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    rows, columns = (slice(max(0, int(i[0]) - 1), int(i[-1]) + 2) for i in inside)
    return rows, columns


def _image(column: Column, parameter: Parameter) -> Float:
    def shown(maps: ParameterMaps) -> Float:
        return np.where(maps.mask[0], maps[parameter.name][0], np.float32(np.nan))

    values = shown(column.maps)
    return values if column.difference_from is None else shown(column.difference_from) - values
