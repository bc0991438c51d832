"""Exact matching: the best of all entries for every voxel, found without visiting most of them.

Entries are grouped by the axes that all components share, such as B1 and off-resonance. All entries of a group nearly
lie in a real space of few dimensions, because its signals are smooth in their own axes and an entry is a real
combination of them. Let the columns of U, orthonormal under the real inner product Re <., .>, span that space, and let
every unit signal of the group's components be within ``e`` of it. For the entry d = (1 - x) w + x f of unit norm and
any phase p,

    Re <d, exp(ip) y> = Re <P d, exp(ip) y> + Re <d - P d, exp(ip) y> <= |P exp(ip) y| + r |y|.

The first term, maximised over p, is ``sqrt((sum |u_k|^2 + |sum u_k^2|) / 2)`` with u = U' y: the squared length of
Re(exp(ip) u) is sum (|u_k|^2 + Re(exp(2ip) u_k^2)) / 2. The remainder r of d is at most ``((1-x)|w| + x|f|) e / |d|``,
and with c the least cosine Re <w, f> / (|w| |f|) of the group, ``|d| >= ((1-x)|w| + x|f|) sqrt((1 + c) / 2)``, so that
``r <= e / sqrt((1 + c) / 2)``, and at most 1. Since |<d, y>| is the maximum of Re <d, exp(ip) y> over p, the sum bounds
the square root of any score in the group. (A cosine near -1 makes the bound useless, never wrong.) With one component
r is e; its own axes may span any space, so that a group is divided into tiles of neighbours, each bounded by itself.

Groups are visited from the highest bound down, until the bound is below the best score found. Within a group, the test
of `mrfpipe.matching.score` rules out pairs of signals that cannot beat this score for any share. Bounds and tests are
in single precision, with a margin for all its rounding errors; entries that pass them are scored in double precision.
"""

from typing import NamedTuple

import numpy as np
import torch
from numba import njit, prange

from mrfpipe.arrays import Complex, Double, Float, Int, check_shape
from mrfpipe.dictionary import Dictionary
from mrfpipe.matching.layout import Groups, lay_out
from mrfpipe.matching.score import Matches, best_on_grid, may_win, rounding, unit_signals

BLOCK = 32
"""Voxels whose bounds are computed together."""
STRIDE = 8
"""Of the first of two components, every signal of this stride is visited first, and those between later: the sooner a
high score is found, the fewer signals have to be scored."""


@njit(cache=True)
def _bounds(y: Float, space: Float, remainder: Float, bounds: Float) -> None:
    """Bound the score of every group for a block of unit signals; y is (2 rank, block), bounds (block, groups)."""
    n_groups, n_dimensions, rank, _ = space.shape
    block = y.shape[1]
    re, im, length, square_re, square_im = np.empty((5, block), np.float32)
    for group in range(n_groups):
        length[:], square_re[:], square_im[:] = 0, 0, 0
        for d in range(n_dimensions):
            re[:], im[:] = 0, 0
            for k in range(rank):
                ur, ui = space[group, d, k, 0], space[group, d, k, 1]
                for v in range(block):
                    re[v] += ur * y[2 * k, v] + ui * y[2 * k + 1, v]
                    im[v] += ur * y[2 * k + 1, v] - ui * y[2 * k, v]
            for v in range(block):
                length[v] += re[v] * re[v] + im[v] * im[v]
                square_re[v] += re[v] * re[v] - im[v] * im[v]
                square_im[v] += np.float32(2) * re[v] * im[v]
        for v in range(block):
            turned = np.sqrt(square_re[v] * square_re[v] + square_im[v] * square_im[v])
            bound = np.sqrt(np.float32(0.5) * (length[v] + turned)) + remainder[group]
            bounds[v, group] = bound * bound


@njit(cache=True)
def _project(signals: Float, y: Float | Double, product: Float | Double) -> None:
    """Inner products <signal, y> of a group's signals (rank, 2, signals) with a voxel (2 rank), to (2, signals).

    They are computed in the precision of y and product.
    """
    product[:] = 0
    re, im = product[0], product[1]
    for k in range(signals.shape[0]):
        sr, si, yr, yi = signals[k, 0], signals[k, 1], y[2 * k], y[2 * k + 1]
        for i in range(re.size):
            re[i] += sr[i] * yr + si[i] * yi
            im[i] += sr[i] * yi - si[i] * yr


class Work(NamedTuple):
    """Work space for inner products of one voxel with a group's signals. Shapes `(2, firsts)` and `(2, seconds)`."""

    w: Float
    f: Float
    exact_w: Double
    exact_f: Double


@njit(cache=True)
def work_for(groups: Groups) -> Work:
    """Allocate the work space for one voxel."""
    n_first, n_second = groups.first.shape[3], groups.second.shape[3]
    return Work(
        np.empty((2, n_first), np.float32),
        np.empty((2, n_second), np.float32),
        np.empty((2, n_first), np.float64),
        np.empty((2, n_second), np.float64),
    )


@njit(cache=True)
def best_of_group(groups: Groups, group: int, y: Float, shares: Double, score: float, work: Work, entry: Int) -> float:
    """Search all entries of a group for a score above `score`; the best one's (share, first, second) goes to `entry`.

    y is the voxel (2 rank). Inner products are repeated in double precision as soon as a pair may win.
    """
    if shares.size == 0:
        return _best_alone(groups, group, y, score, work, entry)
    first_energy, second_energy, cross = groups.first_energy[group], groups.second_energy[group], groups.cross[group]
    a, b, c = groups.rounded_first_energy[group], groups.rounded_second_energy[group], groups.rounded_cross[group]
    w, f, exact_w, exact_f = work
    _project(groups.first[group], y, w)
    _project(groups.second[group], y, f)
    is_exact = False
    slack = 2 * rounding(groups.first.shape[1])
    for j in range(f.shape[1]):
        q = f[0, j] * f[0, j] + f[1, j] * f[1, j]
        limit, safe = np.float32(score), np.float32(score - slack)
        hits = 0
        for i in range(w.shape[1]):
            p, r = w[0, i] * w[0, i] + w[1, i] * w[1, i], w[0, i] * f[0, j] + w[1, i] * f[1, j]
            hits += int(may_win(limit, safe, p, q, r, a[i], b[j], c[j, i]))
        if hits == 0:
            continue
        if not is_exact:
            is_exact = True
            _project(groups.first[group], y.astype(np.float64), exact_w)
            _project(groups.second[group], y.astype(np.float64), exact_f)
        lowest = 0  # number of the best's first signal, if the best is of this second signal
        for start in range(STRIDE):
            for i in range(start, w.shape[1], STRIDE):
                p, r = w[0, i] * w[0, i] + w[1, i] * w[1, i], w[0, i] * f[0, j] + w[1, i] * f[1, j]
                if may_win(limit, safe, p, q, r, a[i], b[j], c[j, i]):
                    wr, wi, fr, fi = exact_w[0, i], exact_w[1, i], exact_f[0, j], exact_f[1, j]
                    found, position = best_on_grid(
                        shares,
                        wr * wr + wi * wi,
                        fr * fr + fi * fi,
                        wr * fr + wi * fi,
                        first_energy[i],
                        second_energy[j],
                        cross[j, i],
                    )
                    if found > score or (found == score and i < lowest):
                        score, lowest = found, i
                        limit, safe = np.float32(score), np.float32(score - slack)
                        entry[0], entry[1], entry[2] = position, i, j
    return score


@njit(cache=True)
def _best_alone(groups: Groups, group: int, y: Float, score: float, work: Work, entry: Int) -> float:
    """Search the signals of the only component, as `best_of_group` does pairs."""
    energy, a, w, exact_w = groups.first_energy[group], groups.rounded_first_energy[group], work.w, work.exact_w
    _project(groups.first[group], y, w)
    is_exact, slack = False, 2 * rounding(groups.first.shape[1])
    for i in range(a.size):
        if np.float32(score - slack) * a[i] <= w[0, i] * w[0, i] + w[1, i] * w[1, i]:
            if not is_exact:
                is_exact = True
                _project(groups.first[group], y.astype(np.float64), exact_w)
            found = (exact_w[0, i] * exact_w[0, i] + exact_w[1, i] * exact_w[1, i]) / energy[i]
            if found > score:
                score = found
                entry[0], entry[1], entry[2] = 0, i, 0
    return score


@njit(parallel=True, cache=True)
def _search(y: Float, groups: Groups, shares: Double) -> tuple[Int, Double]:
    """Best (share, first, second, group) and score of every unit signal; y is (voxels, 2 rank)."""
    n_voxels, n_groups = len(y), len(groups.first)
    entries, scores = np.zeros((n_voxels, 4), np.int64), np.zeros(n_voxels)
    for block in prange((n_voxels + BLOCK - 1) // BLOCK):
        start, stop = block * BLOCK, min((block + 1) * BLOCK, n_voxels)
        bounds = np.empty((stop - start, n_groups), np.float32)
        _bounds(np.ascontiguousarray(y[start:stop].T), groups.space, groups.remainder, bounds)
        work = work_for(groups)
        for v in range(start, stop):
            while True:
                group = int(np.argmax(bounds[v - start]))
                bound = bounds[v - start, group]
                if bound < 0 or bound < scores[v]:
                    break
                bounds[v - start, group] = -1
                found = best_of_group(groups, group, y[v], shares, scores[v], work, entries[v, :3])
                if found > scores[v]:
                    scores[v] = found
                    entries[v, 3] = group
    return entries, scores


def match_exact(coefficients: Complex, dictionary: Dictionary, device: torch.device | None = None) -> Matches:
    """Find the entry with the highest score for every voxel.

    Parameters
    ----------
    coefficients, dictionary, device
        As for `mrfpipe.matching.brute.match_brute`.

    Returns
    -------
        The same as `match_brute`, up to its rounding in float32. Among equal scores in a group, the entry with the
        lowest positions on the axes is returned; scores are equal, for example, where the share of a component is 0.

    Raises
    ------
    ResourceError
        If the device is a GPU that Numba cannot use, or a dictionary is too large for it.
    """
    if device is not None and device.type == "cuda":
        from mrfpipe.matching.cuda import match_exact_cuda  # Numba looks for a GPU when it is imported

        return match_exact_cuda(coefficients, dictionary, device)
    check_shape("coefficients", coefficients, "voxels rank", {"rank": dictionary.rank})
    y, layout = unit_signals(coefficients).view(np.float32), lay_out(dictionary)
    entries, scores = _search(y, layout.groups, dictionary.shares)
    share, first, second, group = entries.T
    return Matches(entry=layout.numbers(group, share, first, second), score=scores.astype(np.float32))
