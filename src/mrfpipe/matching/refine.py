"""Refinement: from the best entry to the best signal between grid points, by the same correlation.

Signals between the grid points are interpolated (`mrfpipe.interpolation`), so that a signal d depends smoothly on all
parameters. Its score ``|<d, y>|^2 / |d|^2`` is increased by damped Gauss-Newton steps (Levenberg and Marquardt) from
the entry that matching found. The complex scale between d and y is projected out (Golub and Pereyra, SIAM J Numer Anal
10:413, 1973, in Kaufman's simplification). A step that does not increase the score is shortened, and a step out of the
grid's range stops at its end, so that the score is never below that of the entry. Steps to where two components cancel
are rejected.

During refinement, the share of a second component may leave the range 0 to 1 by `BEYOND`; it is clipped at the end.
Noise scatters it around its true value, also near 0 and 1. If it were confined, the other parameters would have to
explain this noise.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from mrfpipe.arrays import Complex, Double, Int, check_shape
from mrfpipe.dictionary import Dictionary
from mrfpipe.interpolation import WORK_ROWS, Numbers, Table, fingerprint_at, interpolated, share_of, table_of
from mrfpipe.matching.score import unit_signals

STEPS = 12
"""Largest number of steps to try."""
ENOUGH = 1e-7
"""Steps end when the score increases by less than this."""
BEYOND = 0.1
"""By how much a share may leave 0 to 1 while other parameters are estimated."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimates:
    """Parameters of every voxel, and the fingerprints that have them."""

    parameters: dict[str, Double]
    """Estimates in SI units, by name. Shape `(voxels)` each."""
    signals: Complex
    """The compressed fingerprints at these estimates. Shape `(voxels, rank)`."""


def estimates_at(parameters: Double, dictionary: Dictionary) -> Estimates:
    """Return estimates of given parameters in SI units, shape `(voxels, parameters)`, with their fingerprints."""
    signals = interpolated(dictionary, parameters)[0].astype(np.complex64)
    return Estimates(parameters=dict(zip(dictionary.protocol.grid, parameters.T, strict=True)), signals=signals)


def on_grid(entries: Int, dictionary: Dictionary) -> Estimates:
    """Return the parameters of entries, shape `(voxels)`, and their fingerprints."""
    return Estimates(parameters=dictionary.parameters(entries), signals=dictionary.entries(entries))


@njit(cache=True)
def _scale(d: Numbers, y: Complex, least: float) -> tuple[complex, float]:
    """Return the complex scale with which d fits y best, and the score of d; zeros if its energy is at most `least`."""
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
    """Linearise the residual y - scale d in all parameters, in units of their spans, with the scale projected out."""
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
    """Take a damped step from `at` to `to` within the grid; a parameter that would leave it stays at the end."""
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
    """Refine `estimates` (voxels, parameters) in place; they start as the parameters of entries."""
    rank, n = y.shape[1], low.size
    for v in prange(len(y)):
        d, slopes = np.empty(rank, np.complex128), np.empty((n, rank), np.complex128)
        w, f = np.empty((WORK_ROWS, 2 * rank)), np.empty((WORK_ROWS, 2 * rank))
        matrix, side, tried = np.empty((n, n)), np.empty(n), np.empty(n)
        at, damping = estimates[v].copy(), 1e-3
        least = fingerprint_at(at, first, second, share, d, slopes, w, f)
        scale, score = _scale(d, y[v], least)
        signals[v] = d.astype(np.complex64)
        _normal_equations(d, slopes, y[v], scale, high - low, matrix, side)
        for _ in range(STEPS):
            _stepped(at, matrix, side, damping, low, high, tried)
            least = fingerprint_at(tried, first, second, share, d, slopes, w, f)
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
    """Refine matched entries to parameters between the grid points.

    Parameters
    ----------
    coefficients
        Signals in the dictionary's basis, finite and not zero. Shape `(voxels, rank)`.
    entries
        Numbers of the matched entries. Shape `(voxels)`.
    dictionary
        The dictionary used for matching.

    Returns
    -------
        Estimates inside the grid's range. Where a parameter has no effect, because its component is absent, it keeps
        the value of the entry.

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
    tables = [table_of(dictionary, component) for component in range(len(dictionary.components))]
    share = share_of(dictionary)
    low, high = dictionary.ends
    lowest, highest = low.copy(), high.copy()
    if share >= 0:
        lowest[share] -= BEYOND * (low[share] <= 0)
        highest[share] += BEYOND * (high[share] >= 1)
    _refine(unit_signals(coefficients), tables[0], tables[-1], share, lowest, highest, estimates, signals)
    np.clip(estimates, low, high, out=estimates)
    for absent, at in zip(protocol.components if share >= 0 else (), (1, 0), strict=False):
        gone = estimates[:, share] == at
        for name in protocol.own_axes(absent):
            estimates[gone, names.index(name)] = start[name][gone]
    return Estimates(parameters={name: estimates[:, i] for i, name in enumerate(names)}, signals=signals)
