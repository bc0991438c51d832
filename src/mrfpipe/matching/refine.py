"""Refinement: from the best entry to the best signal between the entries, by the same correlation.

Between grid points the signals of components are interpolated, along each axis by the cubic through the four nearest
points (fewer on a shorter axis). For T1-FF an interpolated component is within 1.3e-4 of the simulated one under ideal
spoiling, within 1e-3 with phase graphs, relative to its norm. The signal ``d = (1 - x) w + x f``, or that of an only
component, then depends smoothly on all parameters, and its score ``|<d, y>|^2 / |d|^2`` is raised by damped
Gauss-Newton steps (Levenberg and Marquardt) from the entry that matching found; the complex scale between d and y is
projected out (Golub and Pereyra, SIAM J Numer Anal 10:413, 1973, in Kaufman's simplification). A step that does not
raise the score, or leaves the grid's range, is shortened or stopped at its end, so that the score is never below the
entry's; nor does a step lead to where two components cancel.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from mrfpipe.arrays import Complex, Double, Int, check_shape
from mrfpipe.dictionary import LEAST_LEFT, Dictionary
from mrfpipe.matching.score import unit_signals

STEPS = 12
"""Steps tried at most."""
ENOUGH = 1e-7
"""A step that raises the score by less is the last."""
STENCIL = 4
"""Grid points on an axis that a value is interpolated from."""
AXES = 4
"""Axes that a component's signals have for the kernels, those it lacks being of one point."""

Numbers = npt.NDArray[np.complex128]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimates:
    """Parameters of every voxel, and the fingerprints that have them."""

    parameters: dict[str, Double]
    """Estimates in SI units, by name. Shape `(voxels)` each."""
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


class Table(NamedTuple):
    """The signals of one component, to interpolate in."""

    signals: Complex
    """Shape `(first axis, second, third, fourth, rank)`."""
    parameter: Int
    """Number of the parameter along each axis, -1 where there is none. Shape `(axes)`."""
    values: Double
    """Values along each axis, filled up at the end. Shape `(axes, values)`."""
    sizes: Int
    """How many values each axis has. Shape `(axes)`."""


def _table(dictionary: Dictionary, component: int) -> Table:
    protocol, signals = dictionary.protocol, dictionary.components[component]
    names = [*protocol.own_axes(protocol.components[component]), *protocol.shared_axes]
    if len(names) > AXES:
        raise ValueError(f"A component of {len(names)} parameters cannot be refined; at most {AXES} can.")
    parameter, values, sizes = (
        np.full(AXES, -1),
        np.zeros((AXES, max(signals.shape[:-1], default=1))),
        np.ones(AXES, int),
    )
    for axis, name in enumerate(names, start=AXES - len(names)):
        parameter[axis], sizes[axis] = list(protocol.grid).index(name), protocol.grid[name].size
        values[axis, : sizes[axis]] = protocol.grid[name]
    return Table(signals.reshape(*sizes, dictionary.rank), parameter, values, sizes)


@njit(cache=True)
def _interpolate(table: Table, at: Double, out: Numbers) -> None:
    """Interpolate a component at parameters: `out` (1 + axes, rank) is its signal and its slope along each axis."""
    w, s, first, n = np.ones((AXES, STENCIL)), np.zeros((AXES, STENCIL)), np.zeros(AXES, np.int64), table.sizes
    for axis in range(AXES):
        if table.parameter[axis] >= 0:
            first[axis] = _cubic(table.values[axis, : n[axis]], at[table.parameter[axis]], w[axis], s[axis])
    out[:] = 0
    for h in range(min(STENCIL, n[0])):
        for i in range(min(STENCIL, n[1])):
            for j in range(min(STENCIL, n[2])):
                for k in range(min(STENCIL, n[3])):
                    value = w[0, h] * w[1, i] * w[2, j] * w[3, k]
                    along_0 = s[0, h] * w[1, i] * w[2, j] * w[3, k]
                    along_1 = w[0, h] * s[1, i] * w[2, j] * w[3, k]
                    along_2 = w[0, h] * w[1, i] * s[2, j] * w[3, k]
                    along_3 = w[0, h] * w[1, i] * w[2, j] * s[3, k]
                    point = table.signals[first[0] + h, first[1] + i, first[2] + j, first[3] + k]
                    for r in range(point.size):
                        out[0, r] += value * point[r]
                        out[1, r] += along_0 * point[r]
                        out[2, r] += along_1 * point[r]
                        out[3, r] += along_2 * point[r]
                        out[4, r] += along_3 * point[r]


@njit(cache=True)
def _add(table: Table, weight: float, made: Numbers, d: Numbers, slopes: Numbers) -> float:
    """Add a component, made by `_interpolate`, to a signal and its slopes; return the energy it adds by itself."""
    energy = 0.0
    for r in range(d.size):
        d[r] += weight * made[0, r]
        energy += weight**2 * (made[0, r].real ** 2 + made[0, r].imag ** 2)
        for axis in range(AXES):
            if table.parameter[axis] >= 0:
                slopes[table.parameter[axis], r] += weight * made[1 + axis, r]
    return energy


@njit(cache=True)
def _fingerprint(
    at: Double, first: Table, second: Table, share: int, d: Numbers, slopes: Numbers, w: Numbers, f: Numbers
) -> float:
    """Make the signal d `(rank)` at parameters, and its slopes `(parameters, rank)`.

    `share` is the number of the parameter that is the share of the second component, -1 if there is none. Returned is
    the least energy the signal must have: where two components cancel and less is left of them, it is rounding.
    """
    d[:], slopes[:] = 0, 0
    _interpolate(first, at, w)
    if share < 0:
        _add(first, 1.0, w, d, slopes)
        return 0.0
    x = at[share]
    _interpolate(second, at, f)
    energy = _add(first, 1 - x, w, d, slopes) + _add(second, x, f, d, slopes)
    for r in range(d.size):
        slopes[share, r] = f[0, r] - w[0, r]
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
    for p in range(len(side)):
        along = 0j
        for r in range(d.size):
            along += d[r].conjugate() * slopes[p, r]
        for r in range(d.size):
            slopes[p, r] = scale * span[p] * (slopes[p, r] - along / energy * d[r])
    for p in range(len(side)):
        side[p] = 0
        for r in range(d.size):
            residual = y[r] - scale * d[r]
            side[p] += slopes[p, r].real * residual.real + slopes[p, r].imag * residual.imag
        for q in range(len(side)):
            matrix[p, q] = 0
            for r in range(d.size):
                matrix[p, q] += slopes[p, r].real * slopes[q, r].real + slopes[p, r].imag * slopes[q, r].imag


@njit(cache=True)
def _stepped(at: Double, matrix: Double, side: Double, damping: float, low: Double, high: Double, to: Double) -> None:
    """Take a damped step from `at` to `to`, inside the grid; what would leave it stays at the end it has reached."""
    damped, free = matrix.copy(), side.copy()
    for p in range(len(side)):
        if (at[p] <= low[p] and side[p] < 0) or (at[p] >= high[p] and side[p] > 0):
            damped[p, :], damped[:, p], free[p] = 0, 0, 0
        damped[p, p] = damped[p, p] * (1 + damping) + 1e-12
    step = np.linalg.solve(damped, free)
    for p in range(len(side)):
        to[p] = min(max(at[p] + step[p] * (high[p] - low[p]), low[p]), high[p])


@njit(parallel=True, cache=True)
def _refine(
    y: Complex,
    first: Table,
    second: Table,
    share: int,
    low: Double,
    high: Double,
    estimates: Double,
    signals: Complex,
) -> None:
    """Refine `estimates` (voxels, parameters), which come as those of an entry, in place."""
    rank, n = y.shape[1], low.size
    for v in prange(len(y)):
        d, slopes = np.empty(rank, np.complex128), np.empty((n, rank), np.complex128)
        w, f = np.empty((1 + AXES, rank), np.complex128), np.empty((1 + AXES, rank), np.complex128)
        matrix, side, tried = np.empty((n, n)), np.empty(n), np.empty(n)
        at, damping = estimates[v].copy(), 1e-3
        least = _fingerprint(at, first, second, share, d, slopes, w, f)
        scale, score = _scale(d, y[v], least)
        signals[v] = d.astype(np.complex64)
        _normal_equations(d, slopes, y[v], scale, high - low, matrix, side)
        for _ in range(STEPS):
            _stepped(at, matrix, side, damping, low, high, tried)
            least = _fingerprint(tried, first, second, share, d, slopes, w, f)
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
        Estimates inside the grid's range. Where a parameter has no say, as one of a component that is not there, it
        stays that of the entry.

    Raises
    ------
    ValueError
        If a component has more parameters than `AXES`.
    """
    check_shape("coefficients", coefficients, "voxels rank", {"rank": dictionary.rank, "voxels": entries.size})
    protocol, start = dictionary.protocol, dictionary.parameters(entries)
    names = list(protocol.grid)
    estimates = np.stack([start[name] for name in names], axis=1)
    signals = np.empty_like(coefficients)
    tables = [_table(dictionary, component) for component in range(len(dictionary.components))]
    share = -1 if protocol.share is None else names.index(protocol.share)
    low, high = (np.array([protocol.grid[name][end] for name in names]) for end in (0, -1))
    _refine(unit_signals(coefficients), tables[0], tables[-1], share, low, high, estimates, signals)
    return Estimates(parameters={name: estimates[:, i] for i, name in enumerate(names)}, signals=signals)
