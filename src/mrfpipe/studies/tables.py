"""Tables of studies for people and machines: Markdown and CSV, and the numbers of `scores` in them."""

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.files.atomic import write_text, writing
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.studies.published import METRICS
from mrfpipe.studies.scores import Row

COLUMNS = ("reference", "metric", "map", "method", "mean", "spread", "n", "paper_mean", "paper_spread")
"""Columns of `Row` in a CSV file; empty where there is no number."""
DIGITS = {"NRMSE": 3, "PSNR": 1, "SSIM": 3, "R2": 3}
"""Decimals of metrics."""
ERROR_COLUMNS = tuple(f"{what}_{p.name}_{p.unit}".removesuffix("_1") for p in PARAMETERS for what in ("bias", "rmse"))
"""Columns of what `bias_and_rmse` gives, map by map."""
UNIT_DIGITS = {"1": 3, "ms": 1, "Hz": 2}
"""Decimals of values by their unit."""


def write_csv(path: Path, columns: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Write lines under their columns, empty where a value is None or NaN; an existing file is replaced."""
    with writing(path, force=True) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for line in lines:
            writer.writerow(["" if v is None or (isinstance(v, float) and math.isnan(v)) else v for v in line])


def publish(stem: Path, columns: Sequence[str], lines: Iterable[Sequence[object]], text: str) -> str:
    """Write a study's lines as ``stem.csv`` and its text as ``stem.md``, and return the text."""
    write_csv(stem.with_suffix(".csv"), columns, lines)
    write_text(stem.with_suffix(".md"), text)
    return text


def csv_line(row: Row) -> tuple[object, ...]:
    """Return the values of a row by `COLUMNS`."""
    return row.reference, row.metric, row.map, row.method, row.mean, row.spread, row.n, *(row.paper or (None, None))


def bias_and_rmse(
    found: Mapping[str, Double], truth: Mapping[str, Double]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return mean and root mean square error of every map where it counts, in file units, by the map's name.

    Parameters of voxels are by name in SI units. Shape `(voxels)` each.
    """
    errors = {p.name: ((found[p.name] - truth[p.name]) * p.scale)[p.counts_where(truth)] for p in PARAMETERS}
    return (
        {name: float(error.mean()) for name, error in errors.items()},
        {name: float(np.sqrt(np.mean(error**2))) for name, error in errors.items()},
    )


def markdown(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Lay a table out as Markdown."""
    rows = [columns, ["---"] * len(columns), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def pair(mean: float, spread: float | None, digits: int) -> str:
    """Write a mean and, if there is one, its spread; a mean that is not defined is ``-``."""
    if math.isnan(mean):
        return "-"
    no_spread = spread is None or math.isnan(spread)
    return f"{mean:.{digits}f}" if no_spread else f"{mean:.{digits}f} ± {spread:.{digits}f}"


def alone(row: Row) -> str:
    """Write a number without the paper's."""
    return pair(row.mean, row.spread, DIGITS[row.metric])


def beside(row: Row) -> str:
    """Write a number and, in parentheses, the paper's if it has one."""
    return alone(row) if row.paper is None else f"{alone(row)} ({pair(*row.paper, DIGITS[row.metric])})"


def metric_table(
    rows: Sequence[Row],
    metrics: Sequence[str] = METRICS,
    cells: Callable[[Sequence[Row]], list[str]] | None = None,
) -> str:
    """Lay numbers against one reference out as Markdown: a line a metric and map, a column a method.

    `cells` writes the numbers of one line; they are written as by `beside` if not given.
    """
    lines = []
    for metric in metrics:
        for parameter in PARAMETERS:
            line = [row for row in rows if (row.metric, row.map) == (metric, parameter.name)]
            lines.append([with_unit(metric), parameter.name, *(cells(line) if cells else map(beside, line))])
    return markdown(["metric", "map", *dict.fromkeys(row.method for row in rows)], lines)


def with_unit(metric: str) -> str:
    """Return a metric's name with its unit."""
    return "PSNR (dB)" if metric == "PSNR" else metric
