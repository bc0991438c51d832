"""The score of an entry and its closed forms: what exact matching rests on.

For a signal y of unit norm and an entry ``d = (1 - x) w + x f`` the score is ``|<d, y>|^2 / |d|^2``: the share of y's
energy that d explains, the square of their normalised correlation. With W = <w, y>, F = <f, y>, A = |W|^2, B = |F|^2, C = Re(W conj F), a = |w|^2, b = |f|^2, g = Re <w, f>::

    score(x) = ((1-x)^2 A + x^2 B + 2 x (1-x) C) / ((1-x)^2 a + x^2 b + 2 x (1-x) g)

is the Rayleigh quotient of the pencil H = [[A, C], [C, B]], G = [[a, g], [g, b]] in the direction (1 - x, x). Two facts
follow.

- No x of any kind scores above s if and only if s G - H is positive semidefinite, that is ``s a >= A``, ``s b >= B``
  and ``(s a - A)(s b - B) >= (s g - C)^2``: a test of a pair without square root or division.
- Over directions the quotient has one maximum and one minimum and is monotonic between them. So on a grid of x the best
  value is one of the two neighbours of the maximum, if that lies inside (0, 1), or one of the two ends.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from mrfpipe.arrays import Complex, Double, Float, Int


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
        If a signal is zero or not finite: it has no match.
    """
    norm = np.linalg.norm(coefficients, axis=1, keepdims=True)
    if not np.all(np.isfinite(norm) & (norm > 0)):
        raise ValueError("Signals to match must be finite and not zero.")
    unit: Complex = coefficients / norm
    return unit


@njit(cache=True, inline="always")
def score_at(x: float, A: float, B: float, C: float, a: float, b: float, g: float) -> float:  # noqa: N803 - as above
    """Score of the entry with fat fraction x."""
    u = 1.0 - x
    return (u * u * A + x * x * B + 2.0 * u * x * C) / (u * u * a + x * x * b + 2.0 * u * x * g)


@njit(cache=True)
def best_fat_fraction(A: float, B: float, C: float, a: float, b: float, g: float) -> float:  # noqa: N803 - as above
    """Fat fraction inside (0, 1) where the score has its maximum over all directions, or -1 if that is outside."""
    det = a * b - g * g
    if det <= 0.0:
        return -1.0
    half_trace = 0.5 * (A * b + B * a) - C * g
    top = (half_trace + np.sqrt(max(half_trace * half_trace - det * (A * B - C * C), 0.0))) / det
    # The eigenvector solves (A - top a) u + (C - top g) x = 0, or the second row of the same; take the better posed row.
    u1, x1 = top * g - C, A - top * a
    u2, x2 = B - top * b, top * g - C
    u, x = (u1, x1) if u1 * u1 + x1 * x1 > u2 * u2 + x2 * x2 else (u2, x2)
    if u * x <= 0.0:
        return -1.0
    return x / (u + x)


@njit(cache=True)
def best_on_grid(
    ff: Double, A: float, B: float, C: float, a: float, b: float, g: float  # noqa: N803 - as above
) -> tuple[float, int]:
    """Best score over the fat fractions of a grid, and its position; the lower position if two score the same."""
    last = ff.size - 1
    best, position = score_at(ff[0], A, B, C, a, b, g), 0
    x = best_fat_fraction(A, B, C, a, b, g)
    if x > 0.0:
        above = min(max(np.searchsorted(ff, x), 1), last)
        for i in range(above - 1, above + 1):
            score = score_at(ff[i], A, B, C, a, b, g)
            if score > best:
                best, position = score, i
    score = score_at(ff[last], A, B, C, a, b, g)
    if score > best:
        best, position = score, last
    return best, position
