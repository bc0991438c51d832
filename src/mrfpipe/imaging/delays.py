"""Gradient delays: how far spokes miss the centre of k-space, estimated from the spokes themselves, and corrected.

Convention. If a gradient is late, every sample lies behind its nominal position. Delays are in readout samples. With
n the unit vector (x, y) along a spoke and d the distance between neighbouring samples in cycles/FOV::

    true k = stored k - d S n,    S = [[Sx, Sxy], [Sxy, Sy]]

so a positive Sx says that the x gradient is late. `corrected_trajectory` returns the true k.

Method, after RING (Rosenzweig, Holme and Uecker, Magn Reson Med 81:1898, 2019): two spokes measure the same thing where
they cross. The position of the crossing along each spoke depends linearly on S. S is estimated so that the samples
there, interpolated along the spokes, agree best (Gauss-Newton on the sum of squares). In fingerprinting, the signal
changes along the train and may change sign. Therefore only spokes measured shortly after each other are compared, whose
directions differ widely owing to the golden angle, and each pair of spokes in a slice has its own real factor, common
to all coils.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mrfpipe.acquisition.scan import RawScan
from mrfpipe.arrays import Complex, Double, Float, check_shape
from mrfpipe.imaging.crossings import FURTHEST, N_BLOCKS, Crossings, directions

N_ITERATIONS = 12
MOST_DISAGREEMENT = 0.05
"""Largest disagreement at the crossings, as a share of the energy: below 0.005 in scans, 0.1 to 0.4 in noise alone."""
SIGNIFICANT = 6.0
"""A delay is significant if it is more than this many standard errors from zero."""
SMALLEST = 0.05
"""Smallest delay to correct, in samples: the effect of a smaller one is lost in the noise of the maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """Delays of the gradients in readout samples, with their standard errors; see the module for what they mean."""

    x: float
    """Sx: of the x gradient."""
    y: float
    """Sy: of the y gradient."""
    xy: float = 0.0
    """Sxy: the cross term between the gradients."""
    errors: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Standard errors of x, y and xy; infinite if the spokes say nothing about delays."""

    @property
    def significant(self) -> bool:
        """Whether there is something to correct: a delay beyond `SMALLEST` and `SIGNIFICANT` standard errors."""
        return any(
            abs(value) > max(SMALLEST, SIGNIFICANT * error)
            for value, error in zip((self.x, self.y, self.xy), self.errors, strict=True)
        )

    def notes(self) -> dict[str, Any]:
        """Return the delays as they are recorded in the provenance."""
        return {
            "gradient_delays_samples": {"x": self.x, "y": self.y, "xy": self.xy},
            "gradient_delay_errors_samples": dict(zip(("x", "y", "xy"), self.errors, strict=True)),
            "gradient_delays_corrected": self.significant,
        }


UNKNOWN = Delays(x=0.0, y=0.0, errors=(np.inf, np.inf, np.inf))
"""The result if spokes do not cross or have no signal."""


def estimate_delays(kspace: Complex, trajectory: Float) -> Delays:
    """Estimate the delays of the gradients from spokes that cross.

    Parameters
    ----------
    kspace
        Shape `(slices, coils, readouts, samples)`.
    trajectory
        Stored (kx, ky) in cycles/FOV, straight spokes. Shape `(readouts, samples, 2)`.

    Returns
    -------
        The delays of all slices together. Without spokes that cross, or without signal, zero with infinite errors.

    Raises
    ------
    ValueError
        If the readouts are not spokes.
    """
    sizes = check_shape("trajectory", trajectory, "readouts samples 2")
    check_shape("kspace", kspace, "slices coils readouts samples", sizes)
    crossings = Crossings(kspace, trajectory)
    if crossings.n_pairs < N_BLOCKS:
        return UNKNOWN
    delays, normal, gradient = crossings.nearest_whole(), np.zeros((1, 3, 3)), np.zeros((1, 3))
    for _ in range(N_ITERATIONS):
        normal, gradient = crossings.normal_equations(delays)
        step = _solve(normal.sum(axis=0), gradient.sum(axis=0))
        if step is None or np.abs(delays + step).max() > FURTHEST + 1:
            return UNKNOWN
        delays += step
    if crossings.disagreement(delays, slice(None)) > MOST_DISAGREEMENT:
        return UNKNOWN
    errors = _jackknife(normal, gradient)
    x, y, xy = (float(value) for value in delays)
    return Delays(x=x, y=y, xy=xy, errors=(float(errors[0]), float(errors[1]), float(errors[2])))


def corrected_trajectory(trajectory: Float, delays: Delays) -> Float:
    """Move every spoke, (kx, ky) in cycles/FOV, to where the delayed gradients took it. `(readouts, samples, 2)`."""
    direction, spacing = directions(trajectory)
    matrix = np.array([[delays.x, delays.xy], [delays.xy, delays.y]])
    true: Float = (trajectory - (spacing[:, None] * (direction @ matrix))[:, None]).astype(np.float32)
    return true


def correct_delays(scan: RawScan, delays: Delays) -> RawScan:
    """Return the scan with its true trajectory, without the outermost samples that this moves beyond the matrix."""
    return replace(scan, trajectory=corrected_trajectory(scan.trajectory, delays)).within_matrix()


def _solve(normal: Double, gradient: Double) -> Double | None:
    """Solve for the step; None if the spokes do not determine it."""
    spread = np.linalg.eigvalsh(normal)
    if not spread[0] > 1e-9 * spread[-1]:
        return None
    return np.asarray(np.linalg.solve(normal, gradient), np.float64)


def _jackknife(normal: Double, gradient: Double) -> Double:
    """Return the standard errors, from the Gauss-Newton steps with each segment of the train left out in turn."""
    steps = [_solve(normal.sum(axis=0) - n, gradient.sum(axis=0) - g) for n, g in zip(normal, gradient, strict=True)]
    if any(step is None for step in steps):
        return np.full(3, np.inf)
    return np.asarray(np.sqrt((len(steps) - 1) * np.var(np.array(steps), axis=0)), np.float64)
