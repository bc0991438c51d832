"""Summary: the key numbers of a result, and the outliers among them with respect to a cohort."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan, nan
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mrfpipe.appearance import Window, window_of
from mrfpipe.evaluation.picture import thumbnails
from mrfpipe.files.provenance import Provenance
from mrfpipe.files.ratings import Rating
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import Parameter, deviation_of
from mrfpipe.report.images import shown
from mrfpipe.report.quality import edge_shares, warnings_of

FAR = 3.5
"""Robust z beyond which a number is an outlier: Iglewicz and Hoaglin, How to Detect and Handle Outliers (1993)."""
FEWEST = 5
"""Smallest number of results in which outliers are marked."""
_SHARES_SPREAD = 1.0
"""Smallest spread of the shares at the grid limit, in %: most scans may have none, and a few voxels do not matter."""
_GAUSSIAN = 1.4826
"""Ratio of standard deviation to median absolute deviation of a Gaussian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A key number of a result."""

    title: str
    """Description."""
    unit: str
    """Unit: the unit of the map in files, ``1`` if it has none, or ``%``."""
    shown: tuple[float, str] = (1.0, "1")
    """Factor from this unit to the unit that is shown, and that unit."""
    value: float
    """The number; NaN if it is not defined."""
    worse: Literal["either", "high", "low"]
    """Direction in which a deviation makes an outlier."""
    digits: int = 3
    """Number of digits shown."""
    least_spread: float = 0.0
    """Smallest standard deviation to assume over a cohort."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Summary:
    """Summary of a result for an overview."""

    name: str
    """Name of the result."""
    page: Path
    """Path of its page, which may not exist."""
    result_id: str
    """Id of the result in ratings."""
    protocol: str
    """Name of the protocol."""
    parameters: tuple[Parameter, ...]
    """Parameters that were mapped."""
    figures: Mapping[str, Figure]
    """Key numbers by column name."""
    warnings: tuple[str, ...]
    """Warnings on its page."""
    windows: Mapping[str, Window]
    """Values of the first and the last colour of every parameter map, by name."""
    thumbnails: Mapping[str, str]
    """Data URL of a small picture of every parameter map, by name."""
    ratings: tuple[Rating, ...] = ()
    """The latest rating of every rater."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """A key number in which a result deviates from a cohort."""

    column: str
    """Column of the number."""
    figure: Figure
    """The number."""
    median: float
    """Median of the cohort."""
    z: float
    """Robust z: the distance from the median in standard deviations, estimated by the median absolute deviation."""


def summarise(
    maps: ParameterMaps, provenance: Provenance, *, name: str, page: Path, ratings: tuple[Rating, ...] = ()
) -> Summary:
    """Summarise a result: compute its key numbers, warnings, and thumbnails of the middle slice."""
    return Summary(
        name=name,
        page=page,
        result_id=provenance.result_id,
        protocol=provenance.protocol_name,
        parameters=maps.parameters,
        figures=dict(_figures(maps)),
        warnings=tuple(warnings_of(maps, provenance)),
        windows={p.name: window_of(maps, p) for p in maps.parameters},
        thumbnails=thumbnails(maps),
        ratings=ratings,
    )


def _figures(maps: ParameterMaps) -> Iterator[tuple[str, Figure]]:
    shares = edge_shares(maps)
    for p in maps.parameters:
        counts, limit = maps.counts(p), 100 * shares[p.name]
        mean = _mean(maps[p.name][counts])
        yield p.name, Figure(title=f"mean {p.name}", value=mean, unit=p.unit, shown=shown(p), worse="either")
        if maps.sd is not None:
            quality, title = deviation_of(p), f"mean predicted SD of {p.name}"
            sd = _mean(np.asarray(maps.quality_map(quality), np.float32)[counts])
            yield quality.name, Figure(title=title, value=sd, unit=p.unit, shown=shown(p), worse="high")
        at_limit = Figure(
            title=f"share of {p.name} at grid limit", value=limit, unit="%", shown=(1.0, "%"), worse="high"
        )
        yield f"{p.name}_at_limit", replace(at_limit, digits=2, least_spread=_SHARES_SPREAD)
    match = maps.match[maps.mask]
    median = float(np.median(match)) if match.size else nan
    yield "match", Figure(title="median match", value=median, unit="1", worse="low", digits=5)


def _mean(values: npt.NDArray[np.floating[Any]]) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else nan


def find_outliers(results: Sequence[Summary]) -> list[list[Outlier]]:
    """Return the outliers of every result among results of one protocol; none with fewer than `FEWEST` results.

    If at least half of the results share the same value, the spread is 0; such a number has no outliers, unless a
    smallest spread is set.
    """
    found: list[list[Outlier]] = [[] for _ in results]
    for column in dict.fromkeys(name for result in results for name in result.figures):
        known = [
            (outliers, figure)
            for outliers, result in zip(found, results, strict=True)
            if (figure := result.figures.get(column)) and isfinite(figure.value)
        ]
        if len(known) < FEWEST:
            continue
        values = np.array([figure.value for _, figure in known])
        median = float(np.median(values))
        spread = _GAUSSIAN * float(np.median(np.abs(values - median)))
        for outliers, figure in known:
            least = max(spread, figure.least_spread)
            z = (figure.value - median) / least if least > 0 else 0.0
            if {"either": abs(z), "high": z, "low": -z}[figure.worse] > FAR:
                outliers.append(Outlier(column=column, figure=figure, median=median, z=z))
    return found


def short(value: float, digits: int = 3) -> str:
    """Write a number with a few significant digits, but all digits before the decimal point."""
    if isnan(value):
        return "\N{EN DASH}"
    text = f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    return text.replace("-", "\N{MINUS SIGN}", 1)
