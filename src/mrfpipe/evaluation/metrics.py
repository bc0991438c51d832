"""Metrics: errors of maps with respect to a reference.

The definitions are the ones that make the tables of Balsiger et al., Med Image Anal 64:101741 (2020) self-consistent:
the NRMSE is the RMSE divided by the range of the reference, and both the peak of the PSNR and the dynamic range of the
SSIM are the maximum of the reference.

A NaN in the estimate is a missing voxel: it has no error, but its reference value still counts toward the range and the
maximum. A metric that is not defined is NaN; each function says when.
"""

from dataclasses import dataclass

import numpy as np
from skimage.metrics import structural_similarity

from mrfpipe.arrays import Bool, Double, check_shape
from mrfpipe.evaluation.regions import check_shapes, region_means
from mrfpipe.maps import Labels, ParameterMaps
from mrfpipe.quantities import Numbers, Parameter

SSIM_WINDOW = 7
"""Number of voxels along each side of the SSIM window."""
_ROUNDING = 1e-9
"""Largest relative difference that counts as rounding: above float64 sums, below the resolution of float32 maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapError:
    """Errors of one map with respect to its reference, in the unit of files; undefined metrics are NaN."""

    rmse: float
    """Root-mean-square error, in the unit of the map."""
    bias: float
    """Mean of estimate minus reference, in the unit of the map."""
    nrmse: float
    """RMSE divided by the range of the reference."""
    psnr: float
    """Peak signal-to-noise ratio in dB; infinite without any error."""
    ssim: float
    """Mean structural similarity inside the mask of the reference, including voxels where the map does not count."""
    r2_voxels: float
    """Coefficient of determination of the linear regression over voxels."""
    r2_regions: float
    """Coefficient of determination over the means of regions; NaN without regions."""
    n_regions: int | None
    """Number of region means in `r2_regions`; None without regions."""
    n_voxels: int
    """Number of voxels of the reference that count."""
    n_missing: int
    """Number of these voxels that are missing in the estimate."""


def evaluate(maps: ParameterMaps, reference: ParameterMaps, rois: Labels | None = None) -> dict[str, MapError]:
    """Compare maps with a reference, inside the reference's mask, in the units of files.

    For all metrics but the SSIM, `mrfpipe.maps.ParameterMaps.compared` determines which voxels and regions count.

    Parameters
    ----------
    maps
        The maps to evaluate.
    reference
        The true maps.
    rois
        Labels of regions, 0 for none, for R2 over their means in each slice. Shape `(slices, y, x)`.

    Returns
    -------
        The errors by the name of the parameter.

    Raises
    ------
    MismatchError
        If maps, reference and regions differ in shape.
    """
    check_shapes(maps, reference, rois)
    return {p.name: _map_error(maps, reference, p, rois) for p in reference.parameters}


def _map_error(maps: ParameterMaps, reference: ParameterMaps, parameter: Parameter, rois: Labels | None) -> MapError:
    got = np.where(maps.mask, maps[parameter.name], np.nan).astype(np.float64)
    true = reference[parameter.name].astype(np.float64)
    counts = reference.compared(parameter)
    estimate, expected = got[counts], true[counts]
    means = None if rois is None else region_means(maps, reference, parameter, rois)
    return MapError(
        rmse=rmse(estimate, expected),
        bias=bias(estimate, expected),
        nrmse=nrmse(estimate, expected),
        psnr=psnr(estimate, expected),
        ssim=ssim(got, true, reference.mask),
        r2_voxels=r2(estimate, expected),
        r2_regions=np.nan if means is None else r2(means.estimate, means.reference),
        n_regions=None if means is None else means.estimate.size,
        n_voxels=expected.size,
        n_missing=int(np.sum(np.isnan(estimate))),
    )


def _errors(estimate: Numbers, reference: Numbers) -> Double:
    if estimate.shape != reference.shape:
        raise ValueError(f"estimate has shape {estimate.shape}, expected that of the reference, {reference.shape}.")
    errors = estimate.astype(np.float64) - reference.astype(np.float64)
    return errors[~np.isnan(errors)]


def rmse(estimate: Numbers, reference: Numbers) -> float:
    """Root-mean-square error; NaN if there is no voxel to compare. Shapes are equal but arbitrary."""
    errors = _errors(estimate, reference)
    return float(np.sqrt(np.mean(errors**2))) if errors.size else np.nan


def bias(estimate: Numbers, reference: Numbers) -> float:
    """Mean of estimate minus reference; NaN if there is no voxel to compare. Shapes are equal but arbitrary."""
    errors = _errors(estimate, reference)
    return float(np.mean(errors)) if errors.size else np.nan


def nrmse(estimate: Numbers, reference: Numbers) -> float:
    """RMSE divided by the range of the reference; NaN if the range is 0 or there is no voxel to compare."""
    error = rmse(estimate, reference)
    extent = float(np.ptp(reference)) if reference.size else 0.0
    return error / extent if extent > 0 else np.nan


def psnr(estimate: Numbers, reference: Numbers) -> float:
    """Peak signal-to-noise ratio: the maximum of the reference divided by the RMSE, in dB.

    Infinite without any error; NaN if the maximum of the reference is not positive or there is no voxel to compare.
    """
    error = rmse(estimate, reference)
    peak = float(np.max(reference)) if reference.size else 0.0
    if not peak > 0 or np.isnan(error):
        return np.nan
    return float(20 * np.log10(peak / error)) if error > 0 else np.inf


def ssim(estimate: Numbers, reference: Numbers, mask: Bool) -> float:
    """Mean structural similarity over the voxels of a mask, computed slice by slice.

    Windows are 7 x 7, K1 = 0.01, K2 = 0.03, and L is the maximum of the reference in the mask, over all slices. Voxels
    outside the mask and missing voxels are set to 0 in both images and do not count.

    Parameters
    ----------
    estimate, reference
        Images to compare. Shape `(slices, y, x)`.
    mask
        Voxels to compare. Shape `(slices, y, x)`.

    Returns
    -------
        At most 1; NaN if the maximum of the reference is not positive, a slice is smaller than a window, or there is no
        voxel to compare.

    References
    ----------
    Wang et al., IEEE Trans Image Process 13:600 (2004).
    """
    sizes = check_shape("reference", reference, "slices y x")
    check_shape("estimate", estimate, "slices y x", sizes)
    check_shape("mask", mask, "slices y x", sizes)
    counts = mask & ~np.isnan(estimate)
    peak = float(np.max(reference[mask])) if counts.any() else 0.0
    if not peak > 0 or min(sizes["y"], sizes["x"]) < SSIM_WINDOW:
        return np.nan
    total = 0.0
    for got, true, inside in zip(estimate, reference, counts, strict=True):
        similarity = structural_similarity(  # type: ignore[no-untyped-call]
            np.where(inside, true, 0.0).astype(np.float64),
            np.where(inside, got, 0.0).astype(np.float64),
            win_size=SSIM_WINDOW,
            K1=0.01,
            K2=0.03,
            data_range=peak,
            full=True,
        )[1]
        total += float(np.sum(similarity[inside]))
    return total / int(np.sum(counts))


def r2(estimate: Numbers, reference: Numbers) -> float:
    """Coefficient of determination of the linear regression of estimate on reference, without missing points.

    NaN with fewer than two points, or if estimate or reference are constant up to rounding.
    """
    _errors(estimate, reference)
    there = ~np.isnan(estimate)
    x, y = reference[there].astype(np.float64), estimate[there].astype(np.float64)
    if x.size < 2 or any(np.ptp(v) <= _ROUNDING * np.max(np.abs(v)) for v in (x, y)):
        return np.nan
    x, y = x - x.mean(), y - y.mean()
    return float((x @ y) ** 2 / ((x @ x) * (y @ y)))
