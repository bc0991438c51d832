"""Off-resonance while a readout lasts, corrected by multifrequency interpolation.

A voxel of off-resonance f turns by ``exp(2 pi i f t)``, t being the time since its readout passed the centre of
k-space, whose own turn is the fingerprint's. A spiral's samples far out are late, so that the voxel is blurred.
Samples that are turned back by one frequency make an image that is sharp where off-resonance is that frequency. A
few such images, mixed voxel by voxel, are sharp everywhere (Man et al., Magn Reson Med 37:785, 1997)::

    exp(-2 pi i f t) = sum over frequencies f_l of c_l(f) exp(-2 pi i f_l t)

The shares c_l are those of least squares over all t of a readout. So a reconstruction that is linear, or nearly so, is
corrected as it is, where off-resonance changes slowly from voxel to voxel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from mrfpipe.arrays import Complex, Double, Float, check_shape

ERROR = 2e-2
"""Largest error of a turn, as root mean square over the times of a readout. For a brain that spans 130 Hz, in spirals
of 6 ms, that takes three frequencies: four and five made no better maps, two half as much error again."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OffResonance:
    """The off-resonance of a scan, and what corrects it."""

    field: Float
    """In Hz. Shape `(slices, y, x)`."""
    times: Double
    """Of samples in s, counted from the one nearest the centre of k-space. Shape `(readouts, samples)`."""
    frequencies: Double
    """In Hz: as few as it takes to turn back those of the field."""

    @classmethod
    def of(cls, field: Float, times: Float, trajectory: Float) -> Self:
        """Count times, in s from any moment of their readout's on, from the centre of k-space, and choose frequencies.

        Shapes are `(slices, y, x)`, `(readouts, samples)` and `(readouts, samples, 2)`.
        """
        check_shape("times", times, "readouts samples", check_shape("trajectory", trajectory, "readouts samples 2"))
        nearest = np.hypot(trajectory[..., 0], trajectory[..., 1]).argmin(axis=1)[:, None]
        since = times.astype(np.float64) - np.take_along_axis(times, nearest, axis=1)
        frequencies = _frequencies(float(field.min()), float(field.max()), float(np.ptp(since)))
        return cls(field=field, times=since, frequencies=frequencies)

    def corrected(self, s: int, kspace: Complex, reconstruct: Callable[[Complex], Complex]) -> Complex:
        """Reconstruct images of slice s, shape `(images, y, x)`, from its k-space `(coils, readouts, samples)`."""
        field, duration = self.field[s].astype(np.float64), float(np.ptp(self.times))
        middle = (self.times.min() + self.times.max()) / 2
        shares = _shares(field.ravel(), self.frequencies, duration).reshape(-1, *field.shape)
        images = np.zeros((), np.complex64)
        for frequency, share in zip(self.frequencies, shares, strict=True):
            back = np.exp(-2j * np.pi * frequency * self.times).astype(np.complex64)
            mixed = (share * np.exp(-2j * np.pi * (field - frequency) * middle)).astype(np.complex64)
            images = images + mixed * reconstruct(kspace * back)
        return images


def _frequencies(low: float, high: float, duration: float) -> Double:
    """Return the least number that explains the turns of all frequencies between two, for so many seconds."""
    between, n, error = np.linspace(low, high, 257), 0, np.inf
    while error > ERROR**2:
        n += 1
        # Chebyshev's, denser towards both ends, between which a turn is interpolated best.
        frequencies: Double = (low + high) / 2 - (high - low) / 2 * np.cos(np.pi * (np.arange(n) + 0.5) / n)
        explained = _shares(between, frequencies, duration) * _products(between, frequencies, duration)
        error = 1 - float(explained.sum(axis=0).min())
    return frequencies


def _products(field: Double, frequencies: Double, duration: float) -> Double:
    """Return the mean products of turns, over times around 0. Shape `(frequencies, voxels)`."""
    products: Double = np.sinc(duration * (frequencies[:, None] - field))
    return products


def _shares(field: Double, frequencies: Double, duration: float) -> Double:
    """Return the shares of least squares over times around 0, which are real. Shape `(frequencies, voxels)`."""
    gram = _products(frequencies, frequencies, duration)
    return np.asarray(np.linalg.solve(gram, _products(field, frequencies, duration)), np.float64)
