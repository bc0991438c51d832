"""Spiral readouts that a scanner could play: variable density, centre-out, rotated by the golden angle.

The spacing between turns increases linearly from the centre of k-space to its edge. The spiral is played as fast as
gradients and receiver allow (Kim, Adalsteinsson and Spielman, Magn Reson Med 50:214, 2003): the angle is a function of
the radius k, whose speed k' increases with the largest slew rate up to the limit set by the gradient amplitude and by
one cycle/FOV per sample.
"""

import numpy as np

from mrfpipe.acquisition.trajectory import GYROMAGNETIC_RATIO
from mrfpipe.arrays import Double, Float
from mrfpipe.protocol import Sequence

MOST_GRADIENT = 40e-3
"""Largest gradient amplitude in T/m."""
MOST_SLEW = 150.0
"""Largest slew rate in T/m/s."""
GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
"""Rotation from readout to readout, in rad."""
STEPS = 4
"""Steps of the integration for each sample."""
_SPACINGS = (0.05, 1e3)  # range of the search for the spacing at the centre, in cycles/FOV
_HALVINGS = 30
_INSIDE = 1e-6  # share of the edge, so that rounding to float32 does not cross it


def golden_angle_spirals(
    sequence: Sequence, *, n_samples: int = 1500, dwell: float = 4e-6, denser: float = 2.0
) -> Float:
    """Compute spirals that reach the edge of k-space with their last sample.

    Parameters
    ----------
    sequence
        Gives the number of readouts, the matrix and the field of view.
    n_samples
        Samples of a readout, the first at the centre of k-space.
    dwell
        Time from sample to sample, in s.
    denser
        Density of the turns at the centre relative to that at the edge: 2 in the first MRF with FISP (Jiang et al.,
        Magn Reson Med 74:1621, 2015).

    Returns
    -------
        (kx, ky) in cycles/FOV, the first spiral leaving the centre along +kx and turning towards +ky. Shape
        `(readouts, samples, 2)`.

    Raises
    ------
    ValueError
        If the edge cannot be reached in that time.
    """
    edge, fov = (1 - _INSIDE) * sequence.matrix / 2, sequence.fov
    fastest = min(GYROMAGNETIC_RATIO * MOST_GRADIENT * fov, 1 / dwell)
    slew = GYROMAGNETIC_RATIO * MOST_SLEW * fov

    def played(spacing: float) -> tuple[Double, Double]:
        return _spiral(spacing, (denser - 1) * spacing / edge, fastest, slew, dwell, n_samples)

    low, high = _SPACINGS
    if played(high)[0][-1] < edge:
        raise ValueError(f"In {n_samples * dwell * 1e3:.3g} ms no spiral reaches the edge of k-space.")
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if played(middle)[0][-1] <= edge else (low, middle)
    radius, angle = played(low)
    turned = angle + GOLDEN_ANGLE * np.arange(sequence.n_readouts)[:, None]
    spirals: Float = (radius[:, None] * np.stack([np.cos(turned), np.sin(turned)], axis=-1)).astype(np.float32)
    return spirals


def _spiral(
    spacing: float, growth: float, fastest: float, slew: float, dwell: float, n_samples: int
) -> tuple[Double, Double]:
    """Compute a spiral with turns ``spacing + growth k`` apart: radius in cycles/FOV and angle in rad of the samples.

    With u the derivative of the angle with respect to the radius and v that of u, the radial and azimuthal acceleration
    are ``k'' - k u^2 k'^2`` and ``2 u k'^2 + k v k'^2 + k u k''``; k'' is chosen so that their norm is the slew rate.
    """
    radius, angle = np.empty(n_samples), np.empty(n_samples)
    k = speed = turned = 0.0
    step = dwell / STEPS
    for i in range(n_samples):
        radius[i], angle[i] = k, turned
        for _ in range(STEPS):
            apart = spacing + growth * k
            u, v = 2 * np.pi / apart, -2 * np.pi * growth / apart**2
            a = 1 + (k * u) ** 2
            b = k * u * speed**2 * (u + k * v)
            c = speed**4 * ((k * u * u) ** 2 + (2 * u + k * v) ** 2) - slew**2
            rise = (np.sqrt(max(b * b - a * c, 0.0)) - b) / a
            speed = min(max(speed + rise * step, 0.0), fastest / np.sqrt(a))
            k += speed * step
            turned += u * speed * step
    return radius, angle
