"""Scores of a method on subjects, as in Table 2, and their file."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mrfpipe.evaluation.agreement import region_agreement
from mrfpipe.evaluation.metrics import evaluate, r2
from mrfpipe.evaluation.table import plain
from mrfpipe.files.atomic import write_text
from mrfpipe.maps import Labels, ParameterMaps
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.studies.published import Figure, published

Published = Callable[[str, str, str], Figure | None]
"""Looks up a number of the paper by method, metric and map."""
Reference = Literal["truth", "match"]
REFERENCES: tuple[Reference, ...] = ("truth", "match")
"""References that maps are compared with: the phantom's true maps, or matching on the grid, as in the paper."""
TITLES = {"truth": "the truth", "match": "matching on the grid"}
"""Names of the references in texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectScore:
    """Difference of one map of one subject from a reference. A metric that is not defined is NaN."""

    subject: str
    """Name of the subject."""
    reference: str
    """One of `REFERENCES`."""
    map: str
    """Name of the map in files."""
    nrmse: float
    """Root mean square error divided by the range of the reference."""
    psnr: float
    """Peak signal-to-noise ratio in dB."""
    ssim: float
    """Mean structural similarity."""
    estimates: tuple[float, ...]
    """Means of the map over regions, in the unit of files."""
    references: tuple[float, ...]
    """Means of the reference over the same regions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One result over all subjects, with that of the paper."""

    reference: str
    """One of `REFERENCES`."""
    metric: str
    """One of `METRICS`."""
    map: str
    """Name of the map in files."""
    method: str
    """Name of the method."""
    mean: float
    """Mean over the subjects for which the metric is defined; for R2, its value over the regions of all subjects."""
    spread: float | None
    """Standard deviation over the subjects; None for R2."""
    n: int
    """Number of subjects, or of regions for R2."""
    paper: Figure | None
    """The paper's number, against matching on real scans; None for a method that is not in the paper."""


def score(
    maps: ParameterMaps, reference: ParameterMaps, rois: Labels, *, subject: str, against: Reference
) -> list[SubjectScore]:
    """Compare maps with a reference by the rules of `mrfpipe.evaluation`; `subject` and `against` name both."""
    errors, points = evaluate(maps, reference), region_agreement(maps, reference, rois)
    return [
        SubjectScore(
            subject=subject,
            reference=against,
            map=p.name,
            nrmse=errors[p.name].nrmse,
            psnr=errors[p.name].psnr,
            ssim=errors[p.name].ssim,
            estimates=tuple(points[p.name][0].estimate.tolist()),
            references=tuple(points[p.name][0].reference.tolist()),
        )
        for p in PARAMETERS
    ]


def summarise(method: str, scores: Sequence[SubjectScore], paper: Published = published) -> list[Row]:
    """Average a method's scores over subjects, and compute R2 over the regions of all subjects together."""
    rows = []
    for reference in dict.fromkeys(s.reference for s in scores):
        for name in (p.name for p in PARAMETERS):
            some = [s for s in scores if (s.reference, s.map) == (reference, name)]
            estimates, references = (
                np.array([v for s in some for v in getattr(s, side)]) for side in ("estimates", "references")
            )
            found: dict[str, tuple[float, float | None, int]] = {
                metric: _over_subjects([getattr(s, metric.lower()) for s in some])
                for metric in ("NRMSE", "PSNR", "SSIM")
            } | {"R2": (r2(estimates, references), None, estimates.size)}
            rows += [
                Row(
                    reference=reference,
                    metric=metric,
                    map=name,
                    method=method,
                    mean=mean,
                    spread=spread,
                    n=n,
                    paper=paper(method, metric, name),
                )
                for metric, (mean, spread, n) in found.items()
            ]
    return rows


def _over_subjects(values: list[float]) -> tuple[float, float, int]:
    there = np.array([v for v in values if math.isfinite(v)])
    if not there.size:
        return math.nan, math.nan, 0
    return float(there.mean()), float(there.std(ddof=1)) if there.size > 1 else math.nan, there.size


def save_scores(scores: Sequence[SubjectScore], path: Path) -> None:
    """Write scores as JSON; values that are not finite become null."""
    content = [{key: plain(value) for key, value in asdict(s).items()} for s in scores]
    write_text(path, json.dumps(content, allow_nan=False, indent=1))


def load_scores(path: Path) -> list[SubjectScore]:
    """Read what `save_scores` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [
        SubjectScore(**{key: _restored(value) for key, value in entry.items()})  # type: ignore[arg-type]
        for entry in content
    ]


def _restored(value: object) -> object:
    if value is None:
        return math.nan
    return tuple(value) if isinstance(value, list) else value
