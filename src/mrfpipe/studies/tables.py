"""Tables of studies as Markdown for readers and as CSV for programs, including the results of `scores`."""

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
"""Number of decimals by metric."""
ERROR_COLUMNS = tuple(f"{what}_{p.name}_{p.unit}".removesuffix("_1") for p in PARAMETERS for what in ("bias", "rmse"))
"""Columns for the results of `bias_and_rmse`, map by map."""
UNIT_DIGITS = {"1": 3, "ms": 1, "Hz": 2}
"""Number of decimals by unit."""


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
    """Return the values of a row in the order of `COLUMNS`."""
    return row.reference, row.metric, row.map, row.method, row.mean, row.spread, row.n, *(row.paper or (None, None))


def bias_and_rmse(
    found: Mapping[str, Double], truth: Mapping[str, Double]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return mean and root mean square error of every map where it counts, in file units, keyed by the map's name.

    `found` and `truth` hold the parameters of voxels by name, in SI units. Shape `(voxels)` each.
    """
    errors = {p.name: ((found[p.name] - truth[p.name]) * p.scale)[p.counts_where(truth)] for p in PARAMETERS}
    return (
        {name: float(error.mean()) for name, error in errors.items()},
        {name: float(np.sqrt(np.mean(error**2))) for name, error in errors.items()},
    )


def markdown(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Format a table as Markdown."""
    rows = [columns, ["---"] * len(columns), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def pair(mean: float, spread: float | None, digits: int) -> str:
    """Format a mean and, if there is one, its standard deviation; an undefined mean is ``-``."""
    if math.isnan(mean):
        return "-"
    no_spread = spread is None or math.isnan(spread)
    return f"{mean:.{digits}f}" if no_spread else f"{mean:.{digits}f} ± {spread:.{digits}f}"


def alone(row: Row) -> str:
    """Format a result without that of the paper."""
    return pair(row.mean, row.spread, DIGITS[row.metric])


def beside(row: Row) -> str:
    """Format a result with that of the paper, if there is one, in parentheses."""
    return alone(row) if row.paper is None else f"{alone(row)} ({pair(*row.paper, DIGITS[row.metric])})"


def metric_table(
    rows: Sequence[Row],
    metrics: Sequence[str] = METRICS,
    cells: Callable[[Sequence[Row]], list[str]] | None = None,
) -> str:
    """Format results against one reference as Markdown: one line per metric and map, one column per method.

    `cells` formats the results of one line; by default each is formatted by `beside`.
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
