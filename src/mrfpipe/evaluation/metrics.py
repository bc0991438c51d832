"""Metrics: how far maps are from a reference, in numbers.

The definitions are those under which the tables of Balsiger et al., Med Image Anal 64:101741 (2020) agree with
themselves: the NRMSE is the RMSE over the range of the reference, and the peak of the PSNR and the dynamic range of the
SSIM are the reference's maximum.

A NaN in the estimate is a voxel that is missing: it has no error, but its reference value still counts toward the
range and the maximum. Where a metric is not defined it is NaN, and its function says when.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

from mrfpipe.arrays import Bool, Double, check_shape
from mrfpipe.errors import MismatchError
from mrfpipe.maps import MOST_FAT_FOR_WATER, PARAMETERS, Parameter, ParameterMaps

Numbers = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]

LEAST_FAT_FOR_FAT = 0.3
"""T1 of fat is compared where the reference FF is above this."""
SSIM_WINDOW = 7
"""Voxels along each side of the SSIM's window."""
_ROUNDING = 1e-9
"""Relative differences of means that are rounding: above that of float64 sums, below the resolution of float32 maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapError:
    """How far one map is from its reference, in the unit of files. A metric that is not defined is NaN."""

    rmse: float
    """Root of the mean squared error, in the map's unit."""
    bias: float
    """Mean of estimate minus reference, in the map's unit."""
    nrmse: float
    """RMSE over the range of the reference."""
    psnr: float
    """Peak signal-to-noise ratio in dB; infinite without any error."""
    ssim: float
    """Mean structural similarity inside the reference's mask, whatever its FF."""
    r2: float
    """Coefficient of determination of the linear regression, over means of regions or over voxels."""
    n_regions: int | None
    """Means of regions that `r2` is over; None if it is over voxels."""
    n_voxels: int
    """Voxels of the reference that count."""
    n_missing: int
    """Those of them that the estimate lacks."""


def evaluate(maps: ParameterMaps, reference: ParameterMaps, rois: Labels | None = None) -> dict[str, MapError]:
    """Compare maps with a reference, inside the reference's mask, in the units of files.

    T1H2O counts where the reference FF is at most 0.7 and T1fat where it is above 0.3, for all metrics but the SSIM.

    Parameters
    ----------
    maps
        The maps to judge.
    reference
        What they should be.
    rois
        Labels of regions, 0 for none; R2 is then over the regions' means in each slice. Shape `(slices, y, x)`.

    Returns
    -------
        The errors by the parameter's name in files.

    Raises
    ------
    MismatchError
        If maps, reference and regions differ in shape.
    """
    shape = reference.mask.shape
    for name, found in (("maps", maps.mask.shape), ("regions", shape if rois is None else rois.shape)):
        if found != shape:
            raise MismatchError(
                f"The {name} have shape {found} and the reference {shape} (slices, y, x); compare maps of one scan."
            )
    return {p.name: _map_error(maps, reference, p, rois) for p in PARAMETERS}


def _map_error(maps: ParameterMaps, reference: ParameterMaps, parameter: Parameter, rois: Labels | None) -> MapError:
    got = np.where(maps.mask, maps.in_file_units(parameter), np.nan).astype(np.float64)
    true = reference.in_file_units(parameter).astype(np.float64)
    counts = counting_voxels(reference, parameter)
    estimate, expected = got[counts], true[counts]
    points = (estimate, expected) if rois is None else region_means(got, true, np.where(counts, rois, 0))
    return MapError(
        rmse=rmse(estimate, expected),
        bias=bias(estimate, expected),
        nrmse=nrmse(estimate, expected),
        psnr=psnr(estimate, expected),
        ssim=ssim(got, true, reference.mask),
        r2=r2(*points),
        n_regions=None if rois is None else points[0].size,
        n_voxels=expected.size,
        n_missing=int(np.sum(np.isnan(estimate))),
    )


def counting_voxels(reference: ParameterMaps, parameter: Parameter) -> Bool:
    """Return where a parameter is compared: in the mask and, for a T1, where there is enough of its component."""
    counts: Bool = reference.mask
    if parameter.field == "t1w":
        counts = counts & (reference.ff <= MOST_FAT_FOR_WATER)
    if parameter.field == "t1f":
        counts = counts & (reference.ff > LEAST_FAT_FOR_FAT)
    return counts


def _errors(estimate: Numbers, reference: Numbers) -> Double:
    if estimate.shape != reference.shape:
        raise ValueError(f"estimate has shape {estimate.shape}, expected that of the reference, {reference.shape}.")
    errors = estimate.astype(np.float64) - reference.astype(np.float64)
    return errors[~np.isnan(errors)]


def rmse(estimate: Numbers, reference: Numbers) -> float:
    """Root of the mean squared error; NaN without any voxel to compare. Shapes are equal, of any kind."""
    errors = _errors(estimate, reference)
    return float(np.sqrt(np.mean(errors**2))) if errors.size else np.nan


def bias(estimate: Numbers, reference: Numbers) -> float:
    """Mean of estimate minus reference; NaN without any voxel to compare. Shapes are equal, of any kind."""
    errors = _errors(estimate, reference)
    return float(np.mean(errors)) if errors.size else np.nan


def nrmse(estimate: Numbers, reference: Numbers) -> float:
    """RMSE over the range of the reference; NaN if the reference is constant or there is no voxel to compare."""
    error = rmse(estimate, reference)
    extent = float(np.ptp(reference)) if reference.size else 0.0
    return error / extent if extent > 0 else np.nan


def psnr(estimate: Numbers, reference: Numbers) -> float:
    """Maximum of the reference over the RMSE, in dB.

    Infinite without any error; NaN if the reference's maximum is not positive or there is no voxel to compare.
    """
    error = rmse(estimate, reference)
    peak = float(np.max(reference)) if reference.size else 0.0
    if not peak > 0 or np.isnan(error):
        return np.nan
    return float(20 * np.log10(peak / error)) if error > 0 else np.inf


def ssim(estimate: Numbers, reference: Numbers, mask: Bool) -> float:
    """Mean structural similarity over the voxels of a mask, each slice on its own.

    Windows of 7 x 7, K1 = 0.01, K2 = 0.03, and L the maximum of the reference in the mask, over all slices. Voxels
    outside the mask and voxels that are missing are 0 in both images and do not count.

    Parameters
    ----------
    estimate, reference
        Images to compare. Shape `(slices, y, x)`.
    mask
        Where to. Shape `(slices, y, x)`.

    Returns
    -------
        At most 1; NaN if the reference's maximum is not positive, a slice is smaller than a window, or there is no
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
    """Coefficient of determination of the linear regression of estimate on reference, points missing left out.

    NaN with fewer than two points, or if either does not vary beyond rounding: no line goes through such points.
    """
    _errors(estimate, reference)
    there = ~np.isnan(estimate)
    x, y = reference[there].astype(np.float64), estimate[there].astype(np.float64)
    if x.size < 2 or any(np.ptp(v) <= _ROUNDING * np.max(np.abs(v)) for v in (x, y)):
        return np.nan
    x, y = x - x.mean(), y - y.mean()
    return float((x @ y) ** 2 / ((x @ x) * (y @ y)))


def region_means(estimate: Numbers, reference: Numbers, rois: Labels) -> tuple[Double, Double]:
    """Average estimate and reference over each region of each slice, voxels missing left out of both.

    Parameters
    ----------
    estimate, reference
        What to average. Shape `(slices, y, x)`.
    rois
        Labels of regions, 0 for none. Shape `(slices, y, x)`.

    Returns
    -------
        Means of both over the regions that have a voxel, by slice and label. Shape `(regions)` each.
    """
    slices = np.broadcast_to(np.arange(rois.shape[0])[:, None, None], rois.shape)
    inside = (rois != 0) & ~np.isnan(estimate)
    keys = np.stack([slices[inside], rois[inside]])
    _, region = np.unique(keys, axis=1, return_inverse=True)
    region = region.reshape(-1)
    counts = np.bincount(region)
    got = np.bincount(region, weights=estimate[inside]) / counts
    true = np.bincount(region, weights=reference[inside]) / counts
    return got, true
