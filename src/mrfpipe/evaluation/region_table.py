"""Region table: statistics of maps in regions of interest, for a spreadsheet."""

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
"""Most rows that are shown of a table; files get all rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRow:
    """Statistics of one map in one region, in one slice or in all; the fields are the columns of the table.

    Statistics are over the voxels that count, in the unit of the map in files; undefined ones are NaN.
    """

    subject: str
    """``sub-LABEL`` of a scan of a BIDS dataset, else empty."""
    session: str
    """``ses-LABEL`` of a scan of a BIDS dataset, else empty."""
    scan: str
    """Name of the scan."""
    slice: int | Literal["all"]
    """Number of the slice, from 1, or ``all`` for all slices of the region."""
    region: int
    """Label of the region."""
    name: str
    """Name of the region."""
    map: str
    """Name of the map."""
    unit: str
    """Unit of the statistics."""
    n: int
    """Number of voxels that count: those of the region inside the mask that fulfil the condition of the map, if any."""
    n_region: int
    """Number of voxels in the region."""
    mean: float
    """Mean."""
    sd: float
    """Standard deviation over the voxels, with n - 1 degrees of freedom."""
    median: float
    """Median."""
    p5: float
    """5th percentile."""
    p95: float
    """95th percentile."""
    predicted_sd: float
    """Mean of the predicted standard deviations, if there are any: those of the voxels, not of the region's mean."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RegionTable:
    """Rows of regions, to show or write."""

    rows: tuple[RegionRow, ...]
    """Rows in the order of scan, region, slice and map."""

    def to_csv(self, path: str | Path, *, force: bool = False) -> None:
        """Write the table with a header line: separated by tabs if the name ends in ``.tsv``, otherwise by commas.

        Numbers have a decimal point and seven digits, the precision of maps; undefined values are empty.

        Parameters
        ----------
        path
            Path of the file.
        force
            Whether an existing file is replaced.

        Raises
        ------
        OutputExistsError, ResourceError
            See `mrfpipe.files.atomic.writing`.
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
        """Return the header and the first rows as texts, without empty columns."""
        lines = [_COLUMNS, *(tuple(_cell(value, 4) for value in astuple(row)) for row in self.rows[:_SHOWN])]
        return list(zip(*(column for column in zip(*lines, strict=True) if any(column[1:])), strict=True))

    def _rest(self) -> list[str]:
        return [f"... {len(self.rows) - _SHOWN} more rows"] if len(self.rows) > _SHOWN else []


def tabulate(maps: ParameterMaps, labels: Labels, names: Mapping[int, str], *, scan: str) -> RegionTable:
    """Compute the statistics of every map in every region, for each slice and for all slices.

    Voxels count as in `mrfpipe.maps.ParameterMaps.counts`. Unlike in comparisons, no region is left out as a whole; `n`
    and `n_region` state how many of its voxels count.

    Parameters
    ----------
    maps
        The maps to describe.
    labels
        Labels of regions, 0 for none. Shape `(slices, y, x)`.
    names
        Name of every region by its label.
    scan
        Name of the scan; in a BIDS dataset, subject and session are taken from it.
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
    """Return the predicted standard deviations of a parameter, NaN if there are none. Shape `(slices, y, x)`."""
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
