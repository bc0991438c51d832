"""Refinement: from the best entry to the best signal between the entries, by the same correlation.

Between grid points the water and fat signals are interpolated, along each axis by the cubic through the four nearest
points (fewer on a shorter axis). For T1-FF an interpolated component is within 1.3e-4 of the simulated one under ideal
spoiling, within 1e-3 with phase graphs, relative to its norm. The signal
``d = (1 - x) w(T1H2O, B1, df) + x f(T1fat, B1, df)`` then depends smoothly on five parameters, and its score
``|<d, y>|^2 / |d|^2`` is raised by damped Gauss-Newton steps (Levenberg and Marquardt) from the entry that matching
found; the complex scale between d and y is projected out (Golub and Pereyra, SIAM J Numer Anal 10:413, 1973,
in Kaufman's simplification). A step that does not raise the score, or leaves the grid's range, is shortened or stopped
at its end, so that the score is never below the entry's; nor does a step lead to where water and fat cancel.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from mrfpipe.arrays import Complex, Double, Int, check_shape
from mrfpipe.dictionary import LEAST_LEFT, Dictionary
from mrfpipe.matching.score import unit_signals
from mrfpipe.protocol import AXES

STEPS = 12
"""Steps tried at most."""
ENOUGH = 1e-7
"""A step that raises the score by less is the last."""
STENCIL = 4
"""Grid points on an axis that a value is interpolated from."""
N = len(AXES)

Numbers = npt.NDArray[np.complex128]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimates:
    """Parameters of every voxel, and the fingerprints that have them."""

    parameters: dict[str, Double]
    """Estimates in SI units, keyed as `AXES`. Shape `(voxels)` each."""
    signals: Complex
    """The compressed fingerprints at these estimates. Shape `(voxels, rank)`."""


@njit(cache=True)
def _cubic(axis: Double, value: float, weights: Double, slopes: Double) -> int:
    """Give the weights of the grid points nearest to a value and their derivatives, and return the first point."""
    n = min(STENCIL, axis.size)
    first = min(max(int(np.searchsorted(axis, value)) - n // 2, 0), axis.size - n)
    for i in range(n):
        weight, slope = 1.0, 0.0
        for j in range(n):
            if j != i:
                gap = axis[first + i] - axis[first + j]
                factor = (value - axis[first + j]) / gap
                slope = slope * factor + weight / gap
                weight *= factor
        weights[i], slopes[i] = weight, slope
    for i in range(n, STENCIL):
        weights[i], slopes[i] = 0, 0
    return first


@njit(cache=True)
def _component(
    signals: Complex, t1: Double, b1: Double, df: Double, at_t1: float, at_b1: float, at_df: float, out: Numbers
) -> None:
    """Interpolate a component `(t1, b1, df, rank)`: `out` (4, rank) is its signal and its slopes along t1, b1, df."""
    w, s = np.empty((3, STENCIL)), np.empty((3, STENCIL))
    i0, j0, k0 = _cubic(t1, at_t1, w[0], s[0]), _cubic(b1, at_b1, w[1], s[1]), _cubic(df, at_df, w[2], s[2])
    out[:] = 0
    for i in range(min(STENCIL, t1.size)):
        for j in range(min(STENCIL, b1.size)):
            for k in range(min(STENCIL, df.size)):
                value = w[0, i] * w[1, j] * w[2, k]
                along_t1 = s[0, i] * w[1, j] * w[2, k]
                along_b1 = w[0, i] * s[1, j] * w[2, k]
                along_df = w[0, i] * w[1, j] * s[2, k]
                point = signals[i0 + i, j0 + j, k0 + k]
                for r in range(point.size):
                    out[0, r] += value * point[r]
                    out[1, r] += along_t1 * point[r]
                    out[2, r] += along_b1 * point[r]
                    out[3, r] += along_df * point[r]


@njit(cache=True)
def _fingerprint(
    at: Double,
    water: Complex,
    fat: Complex,
    t1w: Double,
    t1f: Double,
    df: Double,
    b1: Double,
    d: Numbers,
    slopes: Numbers,
    w: Numbers,
    f: Numbers,
) -> float:
    """Make the signal d `(rank)` at parameters in the order of `AXES`, and its slopes `(parameters, rank)`.

    Returned is the least energy it must have: where water and fat cancel and less is left of them, it is rounding.
    """
    x, energy = at[0], 0.0
    _component(water, t1w, b1, df, at[1], at[4], at[3], w)
    _component(fat, t1f, b1, df, at[2], at[4], at[3], f)
    for r in range(d.size):
        d[r] = (1 - x) * w[0, r] + x * f[0, r]
        slopes[0, r] = f[0, r] - w[0, r]
        slopes[1, r] = (1 - x) * w[1, r]
        slopes[2, r] = x * f[1, r]
        slopes[3, r] = (1 - x) * w[3, r] + x * f[3, r]
        slopes[4, r] = (1 - x) * w[2, r] + x * f[2, r]
        energy += (1 - x) ** 2 * (w[0, r].real ** 2 + w[0, r].imag ** 2)
        energy += x**2 * (f[0, r].real ** 2 + f[0, r].imag ** 2)
    return LEAST_LEFT**2 * energy


@njit(cache=True)
def _scale(d: Numbers, y: Complex, least: float) -> tuple[complex, float]:
    """Return the complex scale with which d fits y best, and the score of d: none if it has less than that energy."""
    overlap, energy = 0j, 0.0
    for r in range(d.size):
        overlap += d[r].conjugate() * y[r]
        energy += d[r].real ** 2 + d[r].imag ** 2
    if energy <= least:
        return 0j, 0.0
    return overlap / energy, (overlap.real**2 + overlap.imag**2) / energy


@njit(cache=True)
def _normal_equations(
    d: Numbers, slopes: Numbers, y: Complex, scale: complex, span: Double, matrix: Double, side: Double
) -> None:
    """Linearise the residual y - scale d in all parameters, each in units of its span, the scale projected out."""
    energy = 0.0
    for r in range(d.size):
        energy += d[r].real ** 2 + d[r].imag ** 2
    for p in range(N):
        along = 0j
        for r in range(d.size):
            along += d[r].conjugate() * slopes[p, r]
        for r in range(d.size):
            slopes[p, r] = scale * span[p] * (slopes[p, r] - along / energy * d[r])
    for p in range(N):
        side[p] = 0
        for r in range(d.size):
            residual = y[r] - scale * d[r]
            side[p] += slopes[p, r].real * residual.real + slopes[p, r].imag * residual.imag
        for q in range(N):
            matrix[p, q] = 0
            for r in range(d.size):
                matrix[p, q] += slopes[p, r].real * slopes[q, r].real + slopes[p, r].imag * slopes[q, r].imag


@njit(cache=True)
def _stepped(at: Double, matrix: Double, side: Double, damping: float, low: Double, high: Double, to: Double) -> None:
    """Take a damped step from `at` to `to`, inside the grid; what would leave it stays at the end it has reached."""
    damped, free = matrix.copy(), side.copy()
    for p in range(N):
        if (at[p] <= low[p] and side[p] < 0) or (at[p] >= high[p] and side[p] > 0):
            damped[p, :], damped[:, p], free[p] = 0, 0, 0
        damped[p, p] = damped[p, p] * (1 + damping) + 1e-12
    step = np.linalg.solve(damped, free)
    for p in range(N):
        to[p] = min(max(at[p] + step[p] * (high[p] - low[p]), low[p]), high[p])


@njit(parallel=True, cache=True)
def _refine(
    y: Complex,
    water: Complex,
    fat: Complex,
    t1w: Double,
    t1f: Double,
    df: Double,
    b1: Double,
    low: Double,
    high: Double,
    estimates: Double,
    signals: Complex,
) -> None:
    """Refine `estimates` (voxels, parameters), which come as those of an entry, in place."""
    rank = y.shape[1]
    for v in prange(len(y)):
        d, slopes = np.empty(rank, np.complex128), np.empty((N, rank), np.complex128)
        w, f = np.empty((4, rank), np.complex128), np.empty((4, rank), np.complex128)
        matrix, side, tried = np.empty((N, N)), np.empty(N), np.empty(N)
        at, damping = estimates[v].copy(), 1e-3
        least = _fingerprint(at, water, fat, t1w, t1f, df, b1, d, slopes, w, f)
        scale, score = _scale(d, y[v], least)
        signals[v] = d.astype(np.complex64)
        _normal_equations(d, slopes, y[v], scale, high - low, matrix, side)
        for _ in range(STEPS):
            _stepped(at, matrix, side, damping, low, high, tried)
            least = _fingerprint(tried, water, fat, t1w, t1f, df, b1, d, slopes, w, f)
            scale, found = _scale(d, y[v], least)
            if found > score:
                at[:], signals[v] = tried, d.astype(np.complex64)
                gain, score, damping = found - score, found, damping * 0.1
                if gain < ENOUGH:
                    break
                _normal_equations(d, slopes, y[v], scale, high - low, matrix, side)
            else:
                damping = max(damping, 1e-3) * 10
        estimates[v] = at


def refine(coefficients: Complex, entries: Int, dictionary: Dictionary) -> Estimates:
    """Raise the score of matched entries by leaving the grid.

    Parameters
    ----------
    coefficients
        Signals in the dictionary's basis, finite and not zero. Shape `(voxels, rank)`.
    entries
        What they matched, by number. Shape `(voxels)`.
    dictionary
        What they were matched with.

    Returns
    -------
        Estimates inside the grid's range. Where a parameter has no say, as T1fat where there is no fat, it stays that
        of the entry.
    """
    check_shape("coefficients", coefficients, "voxels rank", {"rank": dictionary.rank, "voxels": entries.size})
    grid = dictionary.protocol.grid
    start = dictionary.parameters(entries)
    estimates = np.stack([start[name] for name in AXES], axis=1)
    signals = np.empty_like(coefficients)
    low, high = (np.array([getattr(grid, name)[end] for name in AXES]) for end in (0, -1))
    _refine(
        unit_signals(coefficients),
        dictionary.water,
        dictionary.fat,
        grid.t1w,
        grid.t1f,
        grid.df,
        grid.b1,
        low,
        high,
        estimates,
        signals,
    )
    return Estimates(parameters={name: estimates[:, i] for i, name in enumerate(AXES)}, signals=signals)
