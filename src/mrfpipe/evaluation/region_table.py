"""Region table: what maps are in regions of interest, in numbers for a spreadsheet."""

import csv
import html
import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mrfpipe.arrays import Double, Int
from mrfpipe.files.atomic import writing
from mrfpipe.files.bids import entities_of
from mrfpipe.maps import Labels, ParameterMaps
from mrfpipe.quantities import Numbers, Parameter, deviation_of

_SHOWN = 60
"""Rows that are shown of a table; all are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRow:
    """One map in one region, in a slice or in all: the fields are the columns of the table.

    Statistics are over the voxels that count, in the map's unit in files; NaN where they are not defined.
    """

    subject: str
    """``sub-LABEL`` of a scan of a BIDS dataset, else empty."""
    session: str
    """``ses-LABEL`` of a scan of a BIDS dataset, else empty."""
    scan: str
    """What the scan is called."""
    slice: int | Literal["all"]
    """Number of the slice, from 1, or all slices that the region lies in."""
    region: int
    """Label of the region."""
    name: str
    """Its name."""
    map: str
    """Name of the map."""
    unit: str
    """Unit of the statistics."""
    n: int
    """Voxels that count: those of the region inside the mask in which the map's condition holds, if it has one."""
    n_region: int
    """Voxels of the region."""
    mean: float
    """Mean."""
    sd: float
    """Standard deviation over the voxels, with n - 1."""
    median: float
    """Median."""
    p5: float
    """5th percentile."""
    p95: float
    """95th percentile."""
    predicted_sd: float
    """Mean of the standard deviations that were predicted for the voxels, if they were: of a voxel's value, not of the
    region's mean."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RegionTable:
    """Rows of regions, to look at and to write."""

    rows: tuple[RegionRow, ...]
    """By scan, region, slice and map."""

    def to_csv(self, path: str | Path, *, force: bool = False) -> None:
        """Write the table with a header line: separated by tabs if the name ends in ``.tsv``, else by commas.

        Numbers have a decimal point and seven digits, as many as maps hold; what is not defined is empty.

        Parameters
        ----------
        path
            The file to be.
        force
            Whether an existing file is replaced.

        Raises
        ------
        OutputExistsError, ResourceError
            As `mrfpipe.files.atomic.writing`.
        """
        delimiter = "\t" if Path(path).suffix.lower() == ".tsv" else ","
        with writing(path, force=force) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows([_cell(value, 7) for value in astuple(row)] for row in self.rows)

    def __repr__(self) -> str:
        lines = self._shown()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ["  ".join(cell.ljust(n) for cell, n in zip(line, widths, strict=True)).rstrip() for line in lines]
        return "\n".join([*text, *self._rest()])

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        head, *body = self._shown()
        lines = [("th", head), *(("td", line) for line in body)]
        rows = ("".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in line) for tag, line in lines)
        rest = "".join(f"<p>{line}</p>" for line in self._rest())
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>{rest}"

    def _shown(self) -> list[tuple[str, ...]]:
        """Return the header and the first rows as texts, without columns that are empty."""
        lines = [_COLUMNS, *(tuple(_cell(value, 4) for value in astuple(row)) for row in self.rows[:_SHOWN])]
        return list(zip(*(column for column in zip(*lines, strict=True) if any(column[1:])), strict=True))

    def _rest(self) -> list[str]:
        return [f"... {len(self.rows) - _SHOWN} more rows"] if len(self.rows) > _SHOWN else []


def tabulate(maps: ParameterMaps, labels: Labels, names: Mapping[int, str], *, scan: str) -> RegionTable:
    """Describe every map in every region, in each of its slices and in all of them.

    A map is described where it counts, voxel by voxel: `mrfpipe.maps.ParameterMaps.counts`. No region is left out as a
    whole, as it is from comparisons; `n` and `n_region` say how much of it counts.

    Parameters
    ----------
    maps
        What to describe.
    labels
        Labels of regions, 0 for none. Shape `(slices, y, x)`.
    names
        Name of every region by its label.
    scan
        What the scan is called; its subject and session are taken from it if it is of a BIDS dataset.
    """
    subject, session = entities_of(scan)
    images = [(p, maps.counts(p).ravel(), maps[p.name].ravel(), _predicted(maps, p).ravel()) for p in maps.parameters]
    rows = []
    for region, name in sorted(names.items()):
        voxels = np.flatnonzero(labels == region)
        slices = voxels // labels[0].size
        places: list[tuple[int | Literal["all"], Int]] = [(int(s) + 1, voxels[slices == s]) for s in np.unique(slices)]
        for number, inside in [*places, ("all", voxels)]:
            for p, counts, values, predicted in images:
                counting = inside[counts[inside]]
                row = RegionRow(
                    subject=subject,
                    session=session,
                    scan=scan,
                    slice=number,
                    region=region,
                    name=name,
                    map=p.name,
                    unit=p.unit,
                    n=counting.size,
                    n_region=inside.size,
                    **_statistics(values[counting].astype(np.float64)),
                    predicted_sd=_mean(predicted[counting].astype(np.float64)),
                )
                rows.append(row)
    return RegionTable(rows=tuple(rows))


def _predicted(maps: ParameterMaps, parameter: Parameter) -> Numbers:
    """Return the standard deviations of a parameter, NaN if they are not known. Shape `(slices, y, x)`."""
    if maps.sd is None:
        return np.full(maps.mask.shape, np.nan, np.float32)
    return np.asarray(maps.quality_map(deviation_of(parameter)), np.float32)


def _statistics(values: Double) -> dict[str, float]:
    p5, median, p95 = np.percentile(values, [5, 50, 95]) if values.size else (math.nan,) * 3
    sd = float(values.std(ddof=1)) if values.size > 1 else math.nan
    return {"mean": _mean(values), "sd": sd, "median": float(median), "p5": float(p5), "p95": float(p95)}


def _mean(values: Double) -> float:
    return float(values.mean()) if values.size else math.nan


def _cell(value: Any, digits: int) -> str:  # noqa: ANN401 - a text or a number
    if not isinstance(value, float):
        return str(value)
    return "" if math.isnan(value) else f"{value:.{digits}g}"


_COLUMNS = tuple(field.name for field in fields(RegionRow))
