"""Crossings: where two spokes cross in k-space if the gradients are late, and how well they agree there.

See `mrfpipe.imaging.delays` for the convention of the delays and the method.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mrfpipe.acquisition.trajectory import check_spokes
from mrfpipe.arrays import Complex, Double, Float

LAGS = (1, 2)
"""Distances, in readouts, between spokes that are compared."""
LEAST_SINE = 0.4
"""Least sine of the angle between compared spokes; nearly parallel spokes have no well-defined crossing."""
REACH = 8
"""Samples on either side from which a spoke is interpolated."""
FURTHEST = 3
"""Largest delay of the initial search, in samples."""
N_LOOKED_AT = 300
"""Pairs of spokes in the initial search over whole samples of delay; the refinement uses all pairs."""
N_BLOCKS = 20
"""Segments of the train that are left out in turn to estimate the standard errors (jackknife)."""


class Crossings:
    """The pairs of spokes that cross, and how well they agree there for given delays (Sx, Sy, Sxy)."""

    def __init__(self, kspace: Complex, trajectory: Float) -> None:
        direction, spacing = directions(trajectory)
        middle = int(np.argmin(np.hypot(trajectory[..., 0], trajectory[..., 1]).sum(axis=0)))
        first = np.concatenate([np.arange(max(0, len(trajectory) - lag)) for lag in LAGS])
        second = first + np.repeat(LAGS, [max(0, len(trajectory) - lag) for lag in LAGS])
        sine = _cross(direction[first], direction[second])
        crossing = np.flatnonzero(np.abs(sine) > LEAST_SINE)
        order = crossing[np.argsort(first[crossing], kind="stable")]
        self.pairs, self.n_pairs = np.stack([first[order], second[order]]), len(order)
        self.kspace, self.middle = kspace, middle
        n, other, sine = direction[first[order]], direction[second[order]], sine[order]
        # Spoke i is b_i + r_i n_i - S n_i, in samples; it meets j where r_i n_i - r_j n_j = b_j - b_i + S (n_i - n_j).
        base = trajectory[:, middle] / spacing[:, None]
        apart, e = base[second[order]] - base[first[order]], n - other
        zero = np.zeros(len(e))
        moved = np.stack([np.stack([e[:, 0], zero], 1), np.stack([zero, e[:, 1]], 1), e[:, ::-1]])
        self.offset = np.stack([_cross(apart, other), _cross(apart, n)]) / sine
        self.slope = np.moveaxis(np.stack([_cross(moved, other), _cross(moved, n)]) / sine, 1, 2)
        """Position of the crossing along either spoke, in samples from the middle: offset + slope . (Sx, Sy, Sxy)."""

    def nearest_whole(self) -> Double:
        """Return the delays (Sx, Sy, 0), in whole samples, with the least relative disagreement of some of the pairs.

        They are the start of the Gauss-Newton steps, which fail if they start more than about a sample from the truth,
        because phases wrap.
        """
        some = slice(None, None, max(1, self.n_pairs // N_LOOKED_AT))
        whole = np.arange(-FURTHEST, FURTHEST + 1)
        tried = np.array([[x, y, 0.0] for x in whole for y in whole])
        tried = tried[np.argsort(np.abs(tried).sum(axis=1), kind="stable")]  # the smallest of equally good ones
        return np.asarray(tried[np.argmin([self.disagreement(delays, some) for delays in tried])])

    def disagreement(self, delays: Double, some: slice) -> float:
        """Return the energy of the disagreement of some of the pairs, as a share of their energy at the crossings."""
        (one, _), (two, _) = self._meetings(delays, some)
        u, v = _mixture(one, two)
        energy = float(np.sum(np.abs(one) ** 2) + np.sum(np.abs(two) ** 2))
        return float(np.sum(np.abs(u * one - v * two) ** 2)) / energy if energy > 0 else 1.0

    def normal_equations(self, delays: Double) -> tuple[Double, Double]:
        """Return J'J and -J'e of the Gauss-Newton step, separately for each segment of the train."""
        (one, d_one), (two, d_two) = self._meetings(delays, slice(None))
        u, v = _mixture(one, two)
        residual, mixed = u * one - v * two, v * one + u * two
        jacobian = u * d_one * self.slope[0].T[:, None, None] - v * d_two * self.slope[1].T[:, None, None]
        # Project out what the real factor of each pair explains: it says nothing about delays.
        mixed /= np.sqrt(np.maximum(_inner(mixed, mixed), np.finfo(float).tiny))
        jacobian -= mixed * _inner(mixed, jacobian)
        gradient = -_inner(jacobian, residual)[..., 0, :].sum(axis=1)
        normal = np.array([[_inner(a, b)[:, 0].sum(axis=0) for a in jacobian] for b in jacobian])
        ends = np.linspace(0, self.n_pairs, N_BLOCKS + 1).astype(int)[:-1]
        return (
            np.moveaxis(np.add.reduceat(normal, ends, axis=-1), -1, 0),
            np.moveaxis(np.add.reduceat(gradient, ends, axis=-1), -1, 0),
        )

    def _meetings(self, delays: Double, some: slice) -> list[tuple[Any, Any]]:
        """Values and derivatives along either spoke where the pairs cross, shape `(slices, coils, pairs)`."""
        position = self.offset[:, some] + self.slope[:, some] @ delays
        return [self._samples(spokes, at) for spokes, at in zip(self.pairs[:, some], position, strict=True)]

    def _samples(self, spokes: npt.NDArray[np.int64], position: Double) -> tuple[Any, Any]:
        """Interpolate spokes at a position each; values and derivatives, shape `(slices, coils, pairs)`."""
        nearest = np.rint(position).astype(int)
        taps = nearest[:, None] + np.arange(-REACH, REACH + 1)
        index = np.clip(self.middle + taps, 0, self.kspace.shape[-1] - 1)
        samples = self.kspace[:, :, spokes[:, None], index]
        away, h = position[:, None] - taps, 1e-4
        weights = np.stack([_tap(away), (_tap(away + h) - _tap(away - h)) / (2 * h)])
        value, derivative = np.einsum("scpt,wpt->wscp", samples, weights)
        return value, derivative


def directions(trajectory: Float) -> tuple[Double, Double]:
    """Return unit vectors along the spokes, shape `(readouts, 2)`, and the distance of their samples in cycles/FOV.

    ValueError if the readouts are not spokes.
    """
    check_spokes(trajectory)
    along = trajectory[:, -1].astype(np.float64) - trajectory[:, 0]
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), np.finfo(float).tiny)
    return along / length[:, None], length / (trajectory.shape[1] - 1)


def _cross(a: Double, b: Double) -> Double:
    """Signed area of vectors `(..., 2)` in the plane."""
    area: Double = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return area


def _inner(a: Any, b: Any) -> Any:  # noqa: ANN401 - real or complex, any number of axes before the coils
    """Real inner product over the coils, the last axis but one, which stays with size 1."""
    return np.sum(a.real * b.real + a.imag * b.imag, axis=-2, keepdims=True)


def _mixture(one: Any, two: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Real u, v with u^2 + v^2 = 1 that minimise ``u one - v two``: symmetric in the two spokes, with either sign."""
    angle = 0.5 * np.arctan2(2 * _inner(one, two), _inner(two, two) - _inner(one, one))
    return np.cos(angle), np.sin(angle)


def _tap(away: Double) -> Double:
    """Weight of a sample for a point that many samples away: a sinc under a Kaiser window."""
    window = np.i0(8.0 * np.sqrt(np.maximum(0.0, 1.0 - (away / (REACH + 1)) ** 2))) / np.i0(8.0)
    weight: Double = np.sinc(away) * window
    return weight
