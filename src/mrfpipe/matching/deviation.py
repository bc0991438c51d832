"""Standard deviations of matched maps, as predicted from the noise.

Fisher information gives the variances of a voxel's parameters for white noise in the images (`mrfpipe.limit`). Prior
knowledge is added to it. For frames, this is the range of the grid: a parameter without any information may lie
anywhere in it. For coefficients, whose voxels are denoised or estimated together with their neighbours, it is the
roughness of the maps (`trusted`).

A parameter at an end of the grid cannot scatter beyond it, so that the other parameters scatter less: their deviations
are computed as if its value was known. Its own deviation is computed as for a value between the ends, because the truth
may lie beyond.

How much noise remains after denoising depends on the scan. It is measured with a pseudo-replica (after Robson et al.,
Magn Reson Med 60:895, 2008): the slice is reconstructed and matched again from samples to which a quarter of their
noise is added, and the deviations of each parameter are scaled to four times the change of its map.

The deviations do not include errors from undersampling or from a wrong model.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import uniform_filter

from mrfpipe.arrays import Bool, Complex, Double
from mrfpipe.dictionary import Dictionary
from mrfpipe.imaging.joint import SCALE_TRUST
from mrfpipe.imaging.series import REPLICA_NOISE
from mrfpipe.interpolation import interpolated, share_of
from mrfpipe.limit import MEDIAN_OF_NORMAL, fisher

AT_ONCE = 8192
"""Voxels whose deviations are computed at a time."""
ANYWHERE = 1 / np.sqrt(12)
"""Standard deviation of a uniform distribution over a range of 1."""
TRUST = 0.6
"""Prior standard deviation of a parameter, over the roughness of its map."""
LEAST_TRUST = 1e-4
"""Least prior standard deviation of a parameter, as a share of its range."""
NEIGHBOURS, SURROUNDINGS = 3, 5
"""Sides in voxels of two squares: the one whose mean a voxel is compared with, and the one that roughness is averaged
over."""
N_PARTS, LEAST_IN_PART = 10, 200
"""Number of parts of the voxels that are scaled separately, and least number of voxels in a part, which determine its
median to 6 %."""


def predicted_deviations(
    dictionary: Dictionary, at: Double, coefficients: Complex, noise: Double, masks: Sequence[Bool] | None
) -> Double:
    """Predict the standard deviations of the parameters of voxels.

    Parameters
    ----------
    dictionary
        The dictionary used for matching.
    at
        Estimates in SI units, in the order of the grid. Shape `(voxels, parameters)`.
    coefficients
        Signals in the dictionary's basis. Shape `(voxels, rank)`.
    noise
        Variance of the noise of a coefficient. Shape `(voxels)`.
    masks
        Masks of the voxels, slice by slice, if the signals are denoised coefficients; None for frames. Shape `(y, x)`
        each.

    Returns
    -------
        In SI units. Shape `(voxels, parameters)`.
    """
    low, high = dictionary.ends
    held = (at <= low) | (at >= high)
    if (share := share_of(dictionary)) >= 0:
        held[:, share] = False  # the share may leave 0 to 1 during refinement, so that it is not held at the ends
    spans = np.where(high > low, high - low, 1)
    if masks is None:
        known = np.concatenate([np.full(at.shape, ANYWHERE), np.full((len(at), 2), SCALE_TRUST)], axis=1)
    else:
        values = np.split((at - low) / spans, np.cumsum([mask.sum() for mask in masks])[:-1])
        known = np.concatenate([trusted(part, mask) for part, mask in zip(values, masks, strict=True)])
    found = np.empty_like(at)
    for start in range(0, len(at), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        signals, slopes = interpolated(dictionary, at[some])
        slopes *= spans[:, None]
        scale = np.abs(np.sum(signals.conj() * coefficients[some], axis=1)) / np.sum(np.abs(signals) ** 2, axis=1)
        information = fisher(signals, slopes) * (scale**2 / noise[some])[:, None, None]
        # In units of the prior standard deviations, which makes no matrix singular.
        units = known[some, :, None] * known[some, None, :]
        unit = np.eye(known.shape[1])
        told = information * units
        variances = _variances(told + unit)
        moving = np.pad(~held[some], ((0, 0), (0, 2)), constant_values=True)
        alone = _variances(told * moving[:, :, None] * moving[:, None, :] + unit)
        found[some] = np.sqrt(np.where(held[some], variances, alone)) * known[some, :-2]
    return found * spans


def _variances(precision: Double) -> Double:
    """Return the variances of all but the last two unknowns, which are the scale. Shape `(voxels, parameters)`."""
    found: Double = np.diagonal(np.linalg.inv(precision), axis1=1, axis2=2)[:, :-2]
    return found


def gains(before: Double, after: Double, predicted: Double, everywhere: Double) -> Double:
    """Return the factors from predicted deviations to those measured with a replica.

    The share of the noise that denoising leaves differs between small and large deviations. Therefore the factor of a
    parameter is measured in `N_PARTS` parts of the voxels, ordered by their predicted deviation, and interpolated
    linearly over the logarithm of the deviation.

    Parameters
    ----------
    before, after
        Parameters of the voxels of the slice, and of its replica. Parameters that do not change are at an end of the
        grid and are left out. Shape `(voxels, parameters)`.
    predicted
        Predicted deviations of these voxels.
    everywhere
        Predicted deviations of all voxels that are to be scaled. Shape `(all voxels, parameters)`.

    Returns
    -------
        A factor for each of `everywhere`.
    """
    found = np.ones_like(everywhere)
    for p, change in enumerate(np.abs(after - before).T):
        moved = (change > 0) & (predicted[:, p] > 0)
        if not moved.any():
            continue
        order = np.argsort(predicted[moved, p])
        n_parts = min(N_PARTS, max(1, order.size // LEAST_IN_PART))
        parts = np.array_split(np.flatnonzero(moved)[order], n_parts)
        deviation = [np.median(predicted[part, p]) for part in parts]
        factor = [np.median(change[part] / predicted[part, p]) / (MEDIAN_OF_NORMAL * REPLICA_NOISE) for part in parts]
        logarithm = np.log(np.maximum(everywhere[:, p], np.finfo(np.float64).tiny))
        found[:, p] = np.interp(logarithm, np.log(deviation), factor)
    return found


def trusted(values: Double, mask: Bool) -> Double:
    """Return prior standard deviations of the parameters, as shares of their ranges, and of the scale.

    Values are those of the voxels of a mask, shape `(voxels, parameters)`. Shape `(voxels, parameters + 2)`.
    """
    far = np.maximum(TRUST * roughness(values, mask), LEAST_TRUST)
    return np.concatenate([far, np.full((len(values), 2), SCALE_TRUST)], axis=1)


def roughness(values: Double, mask: Bool) -> Double:
    """Root mean square, around each voxel, of the difference between voxels and the mean of their neighbours.

    Values and roughness are those of the voxels of a mask. Shape `(voxels, parameters)`.
    """
    rough = np.empty_like(values)
    share = [np.maximum(uniform_filter(mask.astype(float), size), 1e-9) for size in (NEIGHBOURS, SURROUNDINGS)]
    for i, column in enumerate(values.T):
        image = np.zeros(mask.shape)
        image[mask] = column
        difference = np.where(mask, image - uniform_filter(image, NEIGHBOURS) / share[0], 0)
        squares = uniform_filter(difference**2, SURROUNDINGS) / share[1]
        # Rounding in the filter's running sums may make squares slightly negative.
        rough[:, i] = np.sqrt(np.maximum(squares[mask], 0))
    return rough
