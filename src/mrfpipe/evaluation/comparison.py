"""Comparison of maps with their reference, map by map: errors, and the points and lines of plots."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from mrfpipe.arrays import Double, Int
from mrfpipe.evaluation.agreement import Agreement, agree, region_agreement
from mrfpipe.evaluation.metrics import MapError, evaluate
from mrfpipe.maps import ParameterMaps


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """Comparison of one map with its reference: errors, and points and lines of two plots, in the units of files."""

    name: str
    """Name of the map."""
    unit: str
    """Its unit."""
    errors: Mapping[str, float]
    """Columns of the table in their order; NaN if a metric is not defined."""
    points: str
    """What a point stands for: ``voxel``, or ``region`` for the mean of a region."""
    estimate: Double
    """Values of the map. Shape `(points)`."""
    reference: Double
    """Values of the reference. Shape `(points)`."""
    lines: Mapping[str, float]
    """``bias``, ``lower`` and ``upper`` limits of agreement, ``slope`` and ``intercept`` of the regression."""


def compare(maps: ParameterMaps, reference: ParameterMaps, labels: Int | None) -> list[Comparison]:
    """Compare every map with its reference: by the means of regions if there are any, otherwise voxel by voxel.

    Parameters
    ----------
    maps
        The maps to evaluate.
    reference
        The maps to compare them with.
    labels
        Labels of regions, 0 for none. Shape `(slices, y, x)`.

    Raises
    ------
    MismatchError
        If the shapes differ.
    """
    errors = evaluate(maps, reference, labels)
    regions = {} if labels is None else region_agreement(maps, reference, labels)
    found = []
    for p in reference.parameters:
        if p.name in regions:
            means, agreement = regions[p.name]
            points, estimate, expected = "region", means.estimate, means.reference
        else:
            both = reference.compared(p) & maps.mask
            points = "voxel"
            estimate, expected = (m[p.name][both].astype(np.float64) for m in (maps, reference))
            agreement = agree(estimate, expected)
        found.append(
            Comparison(
                name=p.name,
                unit=p.unit,
                errors=_columns(errors[p.name], agreement),
                points=points,
                estimate=estimate,
                reference=expected,
                lines={k: v for k, v in asdict(agreement).items() if k not in ("n", "deviation", "correlation", "r2")},
            )
        )
    return found


def _columns(error: MapError, agreement: Agreement) -> dict[str, float]:
    return {
        "RMSE": error.rmse,
        "bias": error.bias,
        "limits of agreement, lower": agreement.lower,
        "upper": agreement.upper,
        "NRMSE": error.nrmse,
        "PSNR (dB)": error.psnr,
        "SSIM": error.ssim,
        "R\u00b2 (voxels)": error.r2_voxels,
        **({} if error.n_regions is None else {"R\u00b2 (regions)": error.r2_regions}),
        "voxels": error.n_voxels,
        "missing": error.n_missing,
    }
