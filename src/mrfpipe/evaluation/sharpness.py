"""Sharpness: the share of a map's energy at high spatial frequencies; the smaller, the blurrier the map.

Section 3.2 of Balsiger et al., Med Image Anal 64:101741 (2020). The threshold between low and high is a share of the
highest frequency along an axis, half a cycle per voxel; the paper varies it, since no single value is right.
"""

from collections.abc import Sequence

import numpy as np

from mrfpipe.arrays import Bool, Double, check_shape
from mrfpipe.quantities import Numbers

THRESHOLDS = (0.55, 0.65, 0.75, 0.85, 0.95)
"""Thresholds of the paper, as shares of the highest frequency."""


def high_frequency_energy(image: Numbers, mask: Bool, thresholds: Sequence[float] = THRESHOLDS) -> Double:
    """Return the energy at high frequencies divided by the total energy, slice by slice.

    Energy is the sum of squared magnitudes of the discrete Fourier transform of a slice, including the mean. The edge
    of the mask has high frequencies, too, so compare only maps with the same mask.

    Parameters
    ----------
    image
        A map. Shape `(slices, y, x)`.
    mask
        Voxels that count; all others, and NaN, are set to 0. Shape `(slices, y, x)`.
    thresholds
        A frequency is high if its magnitude is above this share of half a cycle per voxel; the corners of the spectrum
        are high for any threshold up to 1.

    Returns
    -------
        From 0 to 1, NaN for a slice that is 0 everywhere. Shape `(slices, thresholds)`.

    Raises
    ------
    ValueError
        If the shapes differ or a threshold is negative.
    """
    sizes = check_shape("image", image, "slices y x")
    check_shape("mask", mask, "slices y x", sizes)
    limits = np.asarray(thresholds, np.float64)
    if np.any(~(limits >= 0)):
        raise ValueError(f"Thresholds must be shares of the highest frequency, at least 0, not {tuple(thresholds)}.")
    frequency = 2 * np.hypot(np.fft.fftfreq(sizes["y"])[:, None], np.fft.fftfreq(sizes["x"]))
    high = frequency > limits[:, None, None]
    shares = np.full((sizes["slices"], limits.size), np.nan)
    for share, values, inside in zip(shares, image, mask & ~np.isnan(image), strict=True):
        energy = np.abs(np.fft.fft2(np.where(inside, values, 0).astype(np.float64))) ** 2
        if energy.any():
            share[:] = np.sum(energy * high, axis=(1, 2)) / energy.sum()
    return shares
