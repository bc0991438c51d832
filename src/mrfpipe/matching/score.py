"""The score of an entry and its closed forms, the basis of exact matching.

For a signal y of unit norm and an entry d, such as ``(1 - x) w + x f``, the score is ``|<d, y>|^2 / |d|^2``: the share
of y's energy that d explains, the square of their normalised correlation. An entry of one component, ``d = w``, has
the score p / a below. For two components, with W = <w, y> and F = <f, y>, and

    p = |W|^2, q = |F|^2, r = Re(W conj F)    a = |w|^2, b = |f|^2, c = Re <w, f>

it is the Rayleigh quotient of the pencil H = [[p, r], [r, q]], G = [[a, c], [c, b]] in the direction (1 - x, x)::

    score(x) = ((1-x)^2 p + x^2 q + 2 x (1-x) r) / ((1-x)^2 a + x^2 b + 2 x (1-x) c)

Two facts follow.

- No x, in or outside 0 to 1, scores above s if and only if s G - H is positive semidefinite, that is ``s a >= p``,
  ``s b >= q`` and ``(s a - p)(s b - q) >= (s c - r)^2``: a test of a pair without square root or division.
- Over directions the quotient has one maximum and one minimum and is monotonic between them. So on a grid of x the best
  value is one of the two neighbours of the maximum, if that lies inside (0, 1), or one of the two ends.

If two components nearly cancel, so do the terms of numerator and denominator, down to the square of the remaining share
``k = |d| / ((1-x)|w| + x|f|)``. Therefore the six numbers of a score are summed in double precision, and the score is
accurate to a few 1e-16 / k^2; no dictionary has an entry with k below 1e-4 (`mrfpipe.dictionary.LEAST_LEFT`). Single
precision, in which nothing would be accurate below k = 3e-4, is only used to rule out pairs (`may_win`), by differences
whose error, however small they are, is bounded by `rounding` relative to the numbers subtracted.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from mrfpipe.arrays import Complex, Double, Float, Int

UNIT_ROUNDOFF = 2.0**-24
"""Unit roundoff of single precision: the largest relative rounding error of a result."""
NEARLY_SINGULAR = 1e-8
"""If ``a b - c^2`` is less than this share of ``a b``, rounding is 1e-8 of it or more: see `best_on_grid`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matches:
    """The best entry of every voxel."""

    entry: Int
    """Entry number in the dictionary. Shape `(voxels)`."""
    score: Float
    """Score of that entry, 0 to 1. Shape `(voxels)`."""


def unit_signals(coefficients: Complex) -> Complex:
    """Scale signals to unit norm. Shape `(voxels, rank)`.

    Raises
    ------
    ValueError
        If a signal is zero or not finite, and so has no match.
    """
    if not np.all(np.isfinite(coefficients)) or not np.all(np.any(coefficients != 0, axis=1)):
        raise ValueError("Signals to match must be finite and not zero.")
    coefficients = np.ascontiguousarray(coefficients, np.complex64)
    coefficients = coefficients / np.max(np.abs(coefficients), axis=1, keepdims=True)
    norm = np.linalg.norm(coefficients, axis=1, keepdims=True)
    unit: Complex = coefficients / norm
    return unit


@njit(cache=True)
def rounding(rank: int) -> float:
    """Bound the rounding of ``s a - p`` relative to a, ``s b - q`` to b, ``s c - r`` to sqrt(a b), in single precision.

    For signals of `rank` complex coefficients, a score s up to 1 and y of unit norm; u is the unit roundoff. A sum of
    2 rank products is rounded by at most 2 rank u of the norms' product (Higham, Accuracy and Stability of Numerical
    Algorithms, 3.1), so that W and F are off by 2 sqrt(2) rank u, their products p, q and r by twice that, 5.7 rank u,
    and a, b and c by 2 rank u. The few operations besides take less than 8 u.
    """
    return 8 * (rank + 1) * UNIT_ROUNDOFF


@njit(cache=True, inline="always")
def may_win(
    limit: np.float32,
    safe: np.float32,
    p: np.float32,
    q: np.float32,
    r: np.float32,
    a: np.float32,
    b: np.float32,
    c: np.float32,
) -> np.bool_:
    """Whether a pair may score above `limit` for any share, in single precision.

    The matrix limit G - H is known to an error E with entries up to ``e a, e sqrt(a b), e b``, e being the rounding;
    ``E + 2 e diag(a, b)`` is positive semidefinite whatever their signs. So if the matrix remains positive
    semidefinite after 2 e diag(a, b) is subtracted, which means `safe` = limit - 2 e in the diagonal, it truly is.
    """
    x, y, z = safe * a - p, safe * b - q, limit * c - r
    return (x * y <= z * z) | (x <= 0) | (y <= 0)


@njit(cache=True, inline="always")
def score_at(x: float, p: float, q: float, r: float, a: float, b: float, c: float) -> float:
    """Score of the entry with share x."""
    u = 1.0 - x
    return (u * u * p + x * x * q + 2.0 * u * x * r) / (u * u * a + x * x * b + 2.0 * u * x * c)


@njit(cache=True)
def best_share(p: float, q: float, r: float, a: float, b: float, c: float) -> float:
    """Share inside (0, 1) where the score has its maximum over all directions, or -1 if that is outside.

    The two signals must not be parallel.
    """
    det = a * b - c * c
    half_trace = 0.5 * (p * b + q * a) - r * c
    under_root = half_trace * half_trace - det * (p * q - r * r)
    top = (half_trace + (math.sqrt(under_root) if under_root > 0.0 else 0.0)) / det
    # The eigenvector solves (p - top a) u + (r - top c) x = 0, or the second row; take the better posed of the two.
    u1, x1 = top * c - r, p - top * a
    u2, x2 = q - top * b, top * c - r
    u, x = (u1, x1) if u1 * u1 + x1 * x1 > u2 * u2 + x2 * x2 else (u2, x2)
    if u * x <= 0.0:
        return -1.0
    return x / (u + x)


@njit(cache=True)
def _upper_neighbour(shares: Double, x: float) -> int:
    """Position of the first share not below x, limited to 1 and the last; Numba for CUDA has no np.searchsorted."""
    low, high = 1, shares.size - 1
    while low < high:
        middle = (low + high) // 2
        if shares[middle] < x:
            low = middle + 1
        else:
            high = middle
    return high


@njit(cache=True)
def best_on_grid(shares: Double, p: float, q: float, r: float, a: float, b: float, c: float) -> tuple[float, int]:
    """Best score over the shares of a grid, and its position; the lower position if two score the same.

    If the two signals are nearly parallel or opposed, rounding decides where the maximum lies, so all shares are tried.
    """
    last = shares.size - 1
    best, position = score_at(shares[0], p, q, r, a, b, c), 0
    first, stop = 1, 1
    if a * b - c * c <= NEARLY_SINGULAR * a * b:
        stop = last
    else:
        x = best_share(p, q, r, a, b, c)
        if x > 0.0:
            above = _upper_neighbour(shares, x)
            first, stop = above - 1, above + 1
    for i in range(first, stop):
        score = score_at(shares[i], p, q, r, a, b, c)
        if score > best:
            best, position = score, i
    score = score_at(shares[last], p, q, r, a, b, c)
    if score > best:
        best, position = score, last
    return best, position
