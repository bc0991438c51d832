"""Table 2 for people and machines: CSV, Markdown, and two pictures."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mrfpipe.evaluation.metrics import counting_voxels
from mrfpipe.files.atomic import writing
from mrfpipe.maps import PARAMETERS, Parameter, ParameterMaps
from mrfpipe.studies.table2_paper import METRICS
from mrfpipe.studies.table2_scores import REFERENCES, Row

COLUMNS = ("reference", "metric", "map", "method", "mean", "spread", "n", "paper_mean", "paper_spread")
"""Columns of the CSV file; empty where there is no number."""
_REMARK = (
    "Mean and standard deviation over test subjects; R2 over regions of all. In parentheses the figures of Balsiger et "
    "al. (2020), Table 2, which are against matching, in scans of patients. T1H2O counts where the reference FF is at "
    "most 0.7 and T1fat, other than in the paper, where it is above 0.3, but for SSIM. Bold: the best network."
)
_DIGITS = {"NRMSE": 3, "PSNR": 1, "SSIM": 3, "R2": 3}
_COLOURS = {"truth": "C0", "match": "C1"}


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write all numbers, one a line, the paper's beside ours."""
    with writing(path, force=True) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            numbers = (row.mean, row.spread, row.n, *(row.paper or (None, None)))
            shown = ["" if v is None or (isinstance(v, float) and math.isnan(v)) else v for v in numbers]
            writer.writerow([row.reference, row.metric, row.map, row.method, *shown])


def format_table(rows: Sequence[Row]) -> str:
    """Lay the numbers out as Markdown, a table a reference, with the paper's figures in parentheses."""
    parts = [_REMARK]
    for reference in REFERENCES:
        some = [row for row in rows if row.reference == reference]
        methods = list(dict.fromkeys(row.method for row in some))
        parts += ["", f"## Against {'the truth' if reference == 'truth' else 'matching on the grid'}", ""]
        parts += [f"| metric | map | {' | '.join(methods)} |", "|---" * (len(methods) + 2) + "|"]
        for metric in METRICS:
            for parameter in PARAMETERS:
                line = [row for row in some if (row.metric, row.map) == (metric, parameter.name)]
                title = "PSNR (dB)" if metric == "PSNR" else metric
                parts.append(f"| {title} | {parameter.name} | {' | '.join(_cells(line))} |")
    return "\n".join([*parts, ""])


def _cells(line: Sequence[Row]) -> list[str]:
    """Write the numbers of all methods, of one metric and map."""
    sign = -1 if line[0].metric == "NRMSE" else 1
    best = max((sign * row.mean for row in line if row.paper is not None and not math.isnan(row.mean)), default=None)
    cells = []
    for row in line:
        digits = _DIGITS[row.metric]
        text = _pair(row.mean, row.spread, digits)
        if row.paper is not None:
            text = f"**{text}**" if sign * row.mean == best else text
            text += f" ({_pair(*row.paper, digits)})"
        cells.append(text)
    return cells


def _pair(mean: float, spread: float | None, digits: int) -> str:
    if math.isnan(mean):
        return "-"
    no_spread = spread is None or math.isnan(spread)
    return f"{mean:.{digits}f}" if no_spread else f"{mean:.{digits}f} ± {spread:.{digits}f}"


def draw_nrmse(rows: Sequence[Row], path: Path) -> None:
    """Draw the NRMSE of every map and method, against both references, and the paper's, as a PNG."""
    methods = list(dict.fromkeys(row.method for row in rows))
    figure = Figure(figsize=(14, 0.42 * len(methods) + 1.7), layout="constrained")
    panels = figure.subplots(1, len(PARAMETERS), sharey=True)
    for axes, parameter in zip(panels, PARAMETERS, strict=True):
        _draw_panel(axes, [row for row in rows if (row.metric, row.map) == ("NRMSE", parameter.name)], methods)
        axes.set_title(parameter.name)
    panels[0].set_yticks(np.arange(len(methods)), methods)
    panels[0].invert_yaxis()
    figure.supxlabel("NRMSE: mean and standard deviation over test subjects", fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, fontsize=9)
    with writing(path, force=True) as partial:
        figure.savefig(partial, dpi=150, format="png")


def _draw_panel(axes: Axes, rows: Sequence[Row], methods: Sequence[str]) -> None:
    for number, reference in enumerate(REFERENCES):
        some = [row for row in rows if row.reference == reference]
        axes.errorbar(
            [row.mean for row in some],
            [methods.index(row.method) + 0.3 * (number - 0.5) for row in some],
            xerr=np.nan_to_num([row.spread or 0.0 for row in some]),
            fmt="o",
            color=_COLOURS[reference],
            capsize=2,
            label=f"ours, against {'truth' if reference == 'truth' else 'matching'}",
        )
    known = {row.method: row.paper[0] for row in rows if row.paper is not None}
    places = [methods.index(method) + 0.4 for method in known]
    axes.plot(list(known.values()), places, "x", color="0.3", label="paper, against matching")
    axes.set_xlim(left=0)
    axes.grid(axis="x", linewidth=0.4)
    axes.spines[["top", "right"]].set_visible(False)


def draw_methods(maps: dict[str, ParameterMaps], title: str, path: Path) -> None:
    """Draw the first slice of all maps by all methods, a row a method, in the ranges that fit the truth, as a PNG.

    Parameters
    ----------
    maps
        The maps by the method's name; the truth first, as ``truth``.
    title
        What to write above.
    path
        The file.
    """
    truth = maps["truth"]
    inside = [np.flatnonzero(truth.mask[0].any(axis=axis)) for axis in (1, 0)]
    window = tuple(slice(max(0, int(i[0]) - 1), int(i[-1]) + 2) for i in inside)
    shape = truth.mask[0][window].shape
    figure = Figure(figsize=(11, 0.6 + len(maps) * 2.0 * shape[0] / shape[1]), layout="constrained")
    panels = figure.subplots(len(maps), len(PARAMETERS))
    for row, (method, found) in zip(panels, maps.items(), strict=True):
        row[0].set_ylabel(method, fontsize=10)
        for axes, parameter in zip(row, PARAMETERS, strict=True):
            low, high = _range(truth, parameter)
            image = np.where(found.mask[0], found.in_file_units(parameter)[0], np.nan)[window]
            axes.imshow(image, cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
            axes.set(xticks=[], yticks=[], facecolor="0.62")
    for column, parameter in zip(panels.T, PARAMETERS, strict=True):
        unit = "" if parameter.unit == "1" else f" ({parameter.unit})"
        column[0].set_title(f"{parameter.name}{unit}", fontsize=10)
        figure.colorbar(column[-1].images[0], ax=column, location="bottom", fraction=0.02, pad=0.01)
    figure.suptitle(title, fontsize=11)
    with writing(path, force=True) as partial:
        figure.savefig(partial, dpi=130, format="png")


def _range(truth: ParameterMaps, parameter: Parameter) -> tuple[float, float]:
    """Range of the colours: what the truth spans where the parameter counts, without the outermost."""
    counts = counting_voxels(truth, parameter)[0]
    values = truth.in_file_units(parameter)[0][counts if counts.any() else truth.mask[0]]
    low, high = np.percentile(values, [1, 99])
    margin = 0.1 * (high - low)
    return float(low - margin), float(high + margin)
