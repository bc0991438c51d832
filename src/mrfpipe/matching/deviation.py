"""Standard deviations of matched maps: how much noise scatters them.

Fisher information says how much white noise in the images scatters the parameters of a voxel (`mrfpipe.limit`). To it
comes what is known beforehand. Of frames, that is the grid, in which a parameter that nothing tells lies anywhere. Of
coefficients, whose voxels are denoised or estimated with their neighbours, it is that maps are as rough as they are
(`trusted`).

A parameter that noise or aliasing has taken to an end of the grid is held there, so that the others scatter less: their
deviations are those for a known value of it. Its own is that of a value between the ends, as the truth may lie beyond.

How much of the noise denoising leaves depends on the scan. So it is measured: the slice is reconstructed and matched
again from samples to which a quarter of the noise is added that they have, and the deviations of each parameter are
scaled to four times what its map then changes by (a pseudo-replica, after Robson et al., Magn Reson Med 60:895, 2008).

What undersampling and a wrong model do to the maps is no noise and is not in the deviations.
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
"""Standard deviation of what may lie anywhere in a range of 1."""
TRUST = 0.6
"""How far the roughness of a map lets a parameter go, over this roughness."""
LEAST_TRUST = 1e-4
"""How far any parameter may go, as a share of its range."""
NEIGHBOURS, SURROUNDINGS = 3, 5
"""Voxels along a side of the square whose mean is compared with a voxel, and of that over which roughness is a mean."""
N_PARTS, LEAST_IN_PART = 10, 200
"""Parts of the voxels that are scaled on their own, and voxels of a part, whose median is known to 6 %, at least."""


def predicted_deviations(
    dictionary: Dictionary, at: Double, coefficients: Complex, noise: Double, masks: Sequence[Bool] | None
) -> Double:
    """Predict the standard deviations of the parameters of voxels.

    Parameters
    ----------
    dictionary
        What was matched with.
    at
        Estimates in SI units, in the order of the grid. Shape `(voxels, parameters)`.
    coefficients
        Signals in the dictionary's basis. Shape `(voxels, rank)`.
    noise
        Variance of the noise of a coefficient. Shape `(voxels)`.
    masks
        Where the voxels lie, slice by slice, if they were denoised; None for those of frames. Shape `(y, x)` each.

    Returns
    -------
        In SI units. Shape `(voxels, parameters)`.
    """
    low, high = dictionary.ends
    held = (at <= low) | (at >= high)
    if (share := share_of(dictionary)) >= 0:
        held[:, share] = False  # it may leave 0 to 1 while the others are estimated
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
        # In units of what is known beforehand, which leaves nothing singular.
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
    """Return by how much noise scatters maps, as those of a replica tell, over what is predicted.

    Denoising leaves another share of small deviations than of large ones. So the factor of a parameter is measured in
    `N_PARTS` parts of the voxels, from those with the smallest predicted deviation to those with the largest, and is
    linear in the deviation's logarithm between them.

    Parameters
    ----------
    before, after
        Parameters of the voxels of the slice, and those of its replica. Those that do not change are at an end of the
        grid and do not count. Shape `(voxels, parameters)`.
    predicted
        Deviations there.
    everywhere
        Deviations of the voxels to be scaled. Shape `(all voxels, parameters)`.

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
    """Return how far the parameters and the scale may go, as standard deviations, as shares of ranges and of scale.

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
        # The filter's running sums may leave a little less than nothing.
        rough[:, i] = np.sqrt(np.maximum(squares[mask], 0))
    return rough
