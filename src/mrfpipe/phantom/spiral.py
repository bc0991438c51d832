"""Spiral readouts as a scanner could play them: of variable density, out from the centre, turned by the golden angle.

From turn to turn the radius grows by a spacing that rises evenly from the centre of k-space to its edge. The spiral is
played as fast as gradients and receiver allow (Kim, Adalsteinsson and Spielman, Magn Reson Med 50:214, 2003): with the
angle a function of the radius k, its speed k' is what the slew rate lets it become and never more than the
gradient's amplitude and one cycle/FOV a sample allow.
"""

import numpy as np

from mrfpipe.arrays import Double, Float
from mrfpipe.protocol import Sequence

GYROMAGNETIC_RATIO = 42.577478518e6
"""Of 1H, in Hz/T."""
MOST_GRADIENT = 40e-3
"""In T/m."""
MOST_SLEW = 150.0
"""In T/m/s."""
GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
"""From readout to readout, in rad."""
STEPS = 4
"""Steps of the integration for each sample."""
_SPACINGS = (0.05, 1e3)  # cycles/FOV at the centre, between which is the one that is looked for
_HALVINGS = 30
_INSIDE = 1e-6  # of the edge, which rounding to float32 must not cross


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
        How many times denser the turns lie at the centre than at the edge: 2 in the first MRF with FISP (Jiang et al.,
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
    """Play a spiral whose turns are ``spacing + growth k`` apart; radius in cycles/FOV and angle in rad of the samples.

    With u the angle's derivative by the radius and v its own, the acceleration along the radius and across it is
    ``k'' - k u^2 k'^2`` and ``2 u k'^2 + k v k'^2 + k u k''``; k'' is where their length is the slew rate.
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
