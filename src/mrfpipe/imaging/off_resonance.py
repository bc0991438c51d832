"""Correction of off-resonance during the readout, by multifrequency interpolation.

The signal of a voxel with off-resonance f is multiplied by ``exp(2 pi i f t)``, where t is the time since the readout
passed the centre of k-space; the phase at that moment belongs to the fingerprint. The outer samples of a spiral are
measured late, which blurs the voxel. Demodulating the samples at one frequency makes an image that is sharp where
off-resonance is that frequency. A few such images, combined voxel by voxel, are sharp everywhere (Man et al., Magn
Reson Med 37:785, 1997)::

    exp(-2 pi i f t) = sum over frequencies f_l of c_l(f) exp(-2 pi i f_l t)

The coefficients c_l are a least-squares fit over all t of a readout. This corrects any linear or nearly linear
reconstruction, without changing it, if off-resonance varies slowly from voxel to voxel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from mrfpipe.arrays import Complex, Double, Float, check_shape

ERROR = 2e-2
"""Largest root mean square error of the interpolated phase factor over a readout. For a brain with a range of 130 Hz
and spirals of 6 ms, this takes three frequencies: with four or five, maps were no better; with two, errors were half as
large again."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OffResonance:
    """The off-resonance of a scan, and what corrects it."""

    field: Float
    """In Hz. Shape `(slices, y, x)`."""
    times: Double
    """Of samples in s, counted from the one nearest the centre of k-space. Shape `(readouts, samples)`."""
    frequencies: Double
    """In Hz, for demodulation: as few as the range of the field allows."""

    @classmethod
    def of(cls, field: Float, times: Float, trajectory: Float) -> Self:
        """Choose the frequencies, and count times from the centre of k-space.

        `times` are in s, from any moment of their readout. Shapes are `(slices, y, x)`, `(readouts, samples)` and
        `(readouts, samples, 2)`.
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
    """Return the fewest frequencies that interpolate all those from `low` to `high`, for `duration` seconds."""
    between, n, error = np.linspace(low, high, 257), 0, np.inf
    while error > ERROR**2:
        n += 1
        # Chebyshev nodes, denser towards both ends, with which interpolation is best.
        frequencies: Double = (low + high) / 2 - (high - low) / 2 * np.cos(np.pi * (np.arange(n) + 0.5) / n)
        explained = _shares(between, frequencies, duration) * _products(between, frequencies, duration)
        error = 1 - float(explained.sum(axis=0).min())
    return frequencies


def _products(field: Double, frequencies: Double, duration: float) -> Double:
    """Return the mean products of phase factors over a readout centred at t = 0. Shape `(frequencies, voxels)`."""
    products: Double = np.sinc(duration * (frequencies[:, None] - field))
    return products


def _shares(field: Double, frequencies: Double, duration: float) -> Double:
    """Return the coefficients c_l for a readout centred at t = 0, which are real. Shape `(frequencies, voxels)`."""
    gram = _products(frequencies, frequencies, duration)
    return np.asarray(np.linalg.solve(gram, _products(field, frequencies, duration)), np.float64)
