"""Pages: a result's page with all that is known of it, its agreement with a reference worked out."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from mrfpipe.arrays import Int
from mrfpipe.evaluation.agreement import Agreement, agree, region_agreement
from mrfpipe.evaluation.metrics import MapError, evaluate
from mrfpipe.files.provenance import Provenance
from mrfpipe.maps import Fingerprints, ParameterMaps
from mrfpipe.report.comparison import Comparison
from mrfpipe.report.page import RESULT_AND_TRUTH, write_report


def write_page(
    path: Path,
    maps: ParameterMaps,
    provenance: Provenance,
    *,
    title: str,
    reference: ParameterMaps | None = None,
    names: tuple[str, str] = RESULT_AND_TRUTH,
    fingerprints: Fingerprints | None = None,
    labels: Int | None = None,
    coils: Path | None = None,
) -> None:
    """Write the page of a result; parameters and errors as of `mrfpipe.report.page.write_report`."""
    compared = [] if reference is None else compare(maps, reference, labels)
    write_report(
        path,
        maps,
        provenance,
        title=title,
        truth=reference,
        names=names,
        fingerprints=fingerprints,
        labels=labels,
        comparisons=compared,
        coils=coils,
    )


def compare(maps: ParameterMaps, reference: ParameterMaps, labels: Int | None) -> list[Comparison]:
    """Compare every map with its reference, by the means of regions if there are any, else voxel by voxel.

    Parameters
    ----------
    maps
        The maps to judge.
    reference
        What they are compared with.
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
            both = reference.counts(p) & maps.mask
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
