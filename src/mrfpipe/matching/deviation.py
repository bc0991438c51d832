"""Standard deviations of matched maps: how much noise scatters them.

Fisher information says how much white noise in the images scatters the parameters of a voxel (`mrfpipe.limit`). To it
comes what is known beforehand. Of frames, that is the grid, in which a parameter that nothing tells lies anywhere. Of
coefficients, which are denoised with their neighbours, it is that maps are as rough as they are (`trusted`): so the
deviation of a joint reconstruction is that of its posterior distribution.

How much of the noise denoising leaves depends on the scan. So it is measured: the slice is reconstructed and matched
again from samples to which as much noise is added as they have, and deviations are scaled, each parameter by one
number, to what the maps then change by (a pseudo-replica, after Robson et al., Magn Reson Med 60:895, 2008).

What undersampling and a wrong model do to the maps is no noise and is not in the deviations.
"""

from collections.abc import Sequence

import numpy as np

from mrfpipe.arrays import Bool, Complex, Double
from mrfpipe.dictionary import Dictionary
from mrfpipe.imaging.joint import SCALE_TRUST, trusted
from mrfpipe.interpolation import interpolated
from mrfpipe.limit import fisher

AT_ONCE = 8192
"""Voxels whose deviations are computed at a time."""
ANYWHERE = 1 / np.sqrt(12)
"""Standard deviation of what may lie anywhere in a range of 1."""
MEDIAN_OF_NORMAL = 0.6745
"""Median of the magnitude of a normal variable of unit variance."""


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
        variances = np.diagonal(np.linalg.inv(information * units + unit), axis1=1, axis2=2)
        found[some] = np.sqrt(variances[:, :-2]) * known[some, :-2]
    return found * spans


def gains(before: Double, after: Double, predicted: Double) -> Double:
    """Return by how much the maps of a replica differ, over their predicted deviations. Shape `(parameters)`.

    Parameters and deviations have the shape `(voxels, parameters)`. The median is that of the voxels in which a
    parameter changes: those at an end of the grid do not.
    """
    ratios = np.abs(after - before) / np.maximum(predicted, np.finfo(np.float64).tiny)
    changed = [ratios[change > 0, p] for p, change in enumerate(np.abs(after - before).T)]
    return np.array([np.median(some) / MEDIAN_OF_NORMAL if some.size else 1.0 for some in changed])
