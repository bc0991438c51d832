"""Exact matching: the best of all entries for every voxel, most of them never visited.

Entries are grouped by (B1, df). All entries of a group nearly lie in a real space of few dimensions, because its
water and fat signals are smooth in T1 and an entry is a real combination of them. Let the columns of U, orthonormal
under the real inner product Re <., .>, span that space, and let every unit water or fat signal of the group be within
``e`` of it. For the entry d = (1 - x) w + x f of unit norm and any phase p,

    Re <d, exp(ip) y> = Re <P d, exp(ip) y> + Re <d - P d, exp(ip) y> <= |P exp(ip) y| + r |y|.

The first term, maximised over p, is ``sqrt((sum |u_k|^2 + |sum u_k^2|) / 2)`` with u = U' y: the squared length of
Re(exp(ip) u) is sum (|u_k|^2 + Re(exp(2ip) u_k^2)) / 2. The remainder r of d is at most ``((1-x)|w| + x|f|) e / |d|``,
and with c the least cosine Re <w, f> / (|w| |f|) of the group, ``|d| >= ((1-x)|w| + x|f|) sqrt((1 + c) / 2)``, so that
``r <= e / sqrt((1 + c) / 2)``, and at most 1. Since |<d, y>| is the maximum of Re <d, exp(ip) y> over p, the sum bounds
the square root of any score in the group. (A cosine near -1 makes the bound useless, never wrong.)

Groups are visited from the highest bound down, until the bound is below the best score found; within a group, pairs of
T1 that cannot beat it for any fat fraction are told by the test of `mrfpipe.matching.score`. Bounds and tests are in
single precision and give way by all that it may round; what they let through is scored in double precision.
"""

from typing import NamedTuple

import numpy as np
import torch
from numba import njit, prange

from mrfpipe.arrays import Complex, Double, Float, Int, check_shape
from mrfpipe.dictionary import Dictionary, real_parts
from mrfpipe.matching.score import (
    UNIT_ROUNDOFF,
    Matches,
    best_on_grid,
    may_win,
    rounding,
    unit_signals,
)

BLOCK = 32
"""Voxels whose bounds are computed together."""
STRIDE = 8
"""T1H2O are visited so many apart first, and those between them later: the sooner the score is high, the fewer are."""
SPACE_TOLERANCE = 5e-4
"""Distance of unit signals from their group's real space that is put up with: a smaller one takes more dimensions, into
which more noise falls, a larger one loosens the bounds. For T1-FF at rank 12 it takes seven dimensions, and about ten
of the 375 groups are visited for a voxel of undersampled frames."""


class Groups(NamedTuple):
    """A dictionary laid out by (B1, df), the way the kernels walk through it."""

    water: Float
    """Real and imaginary parts. Shape `(groups, rank, 2, t1w)`."""
    fat: Float
    """Real and imaginary parts. Shape `(groups, rank, 2, t1f)`."""
    water_energy: Double
    """Shape `(groups, t1w)`."""
    fat_energy: Double
    """Shape `(groups, t1f)`."""
    cross: Double
    """Shape `(groups, t1f, t1w)`."""
    rounded_water_energy: Float
    """In single precision, to rule pairs out by, as are the next two."""
    rounded_fat_energy: Float
    rounded_cross: Float
    space: Float
    """Real and imaginary parts of each group's real space U. Shape `(groups, dimensions, rank, 2)`."""
    remainder: Float
    """Bound of what of a unit entry is outside its group's space, and of rounding. Shape `(groups)`."""


def group_dictionary(dictionary: Dictionary) -> Groups:
    """Lay out a dictionary by (B1, df) and find the real space of every group."""
    water, fat = (_by_group(real_parts(signals)) for signals in (dictionary.water, dictionary.fat))
    products = dictionary.products()
    water_energy, fat_energy = _by_group(products.water_energy), _by_group(products.fat_energy)
    cross = _by_group(products.cross)
    space, distance = _real_spaces(
        np.concatenate([water / np.sqrt(water_energy)[..., None], fat / np.sqrt(fat_energy)[..., None]], axis=1)
    )
    half = (1 + _by_group(products.cosines()).min(axis=(1, 2))) / 2
    outside = np.divide(distance, np.sqrt(np.abs(half)), out=np.ones_like(half), where=half > distance**2)
    return Groups(
        water=_parts(water),
        fat=_parts(fat),
        water_energy=water_energy,
        fat_energy=fat_energy,
        cross=cross,
        rounded_water_energy=water_energy.astype(np.float32),
        rounded_fat_energy=fat_energy.astype(np.float32),
        rounded_cross=cross.astype(np.float32),
        space=space,
        remainder=(outside + _bound_rounding(dictionary.rank, space.shape[1])).astype(np.float32),
    )


def _by_group(array: Double) -> Double:
    """Shape `(b1, df, ...)` to `(groups, ...)`."""
    return array.reshape(-1, *array.shape[2:])


def _parts(signals: Double) -> Float:
    """Shape `(groups, t1, 2 rank)`, the parts in turns, to `(groups, rank, 2, t1)`."""
    n_groups, n_t1, n_parts = signals.shape
    apart = signals.reshape(n_groups, n_t1, n_parts // 2, 2).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(apart, np.float32)


def _bound_rounding(rank: int, n_dimensions: int) -> float:
    """Bound how far the root of a bound is off in single precision.

    Each u_k is a complex number of two sums of 2 rank products of unit vectors, off by at most 2 sqrt(2) rank u, u
    being the unit roundoff, and the vector of them by sqrt(dimensions) times that. U is rounded by u a dimension, too;
    the length of a vector of at most unit length by fewer than (dimensions + 8) / 2 of them.
    """
    return float(4 * (rank + 2) * np.sqrt(n_dimensions) * UNIT_ROUNDOFF)


def _real_spaces(units: Double) -> tuple[Float, Double]:
    """Real space of each group's unit signals `(groups, signals, 2 rank)`, and their greatest distance from it.

    All groups get the least number of dimensions with which the tolerance holds everywhere. The spaces have shape
    `(groups, dimensions, rank, 2)`.
    """
    _, _, directions = np.linalg.svd(units, full_matrices=False)
    parts = np.einsum("gsr,gdr->gsd", units, directions)
    kept_and_rest = np.cumsum(parts[..., ::-1] ** 2, axis=-1)[..., ::-1]
    outside = np.sqrt(kept_and_rest[..., 1:].max(axis=1))
    enough = np.flatnonzero(outside.max(axis=0) <= SPACE_TOLERANCE)
    n = int(enough[0]) + 1 if enough.size else directions.shape[1]
    distance = outside[:, n - 1] if enough.size else np.zeros(len(units))
    return directions[:, :n].reshape(len(units), n, -1, 2).astype(np.float32), distance


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

    In the precision of y and product.
    """
    product[:] = 0
    re, im = product[0], product[1]
    for k in range(signals.shape[0]):
        sr, si, yr, yi = signals[k, 0], signals[k, 1], y[2 * k], y[2 * k + 1]
        for i in range(re.size):
            re[i] += sr[i] * yr + si[i] * yi
            im[i] += sr[i] * yi - si[i] * yr


class Work(NamedTuple):
    """Inner products of one voxel with a group's signals, to work in. Shapes `(2, t1w)` and `(2, t1f)`."""

    w: Float
    f: Float
    exact_w: Double
    exact_f: Double


@njit(cache=True)
def work_for(groups: Groups) -> Work:
    """Make room to work in."""
    n_water, n_fat = groups.water.shape[3], groups.fat.shape[3]
    return Work(
        np.empty((2, n_water), np.float32),
        np.empty((2, n_fat), np.float32),
        np.empty((2, n_water), np.float64),
        np.empty((2, n_fat), np.float64),
    )


@njit(cache=True)
def best_of_group(groups: Groups, group: int, y: Float, ff: Double, score: float, work: Work, entry: Int) -> float:
    """Search all pairs of a group for a score above `score`; the best entry's (ff, t1w, t1f) is left in `entry`.

    y is the voxel (2 rank). Its inner products are made in double precision as soon as a pair may win.
    """
    water_energy, fat_energy, cross = groups.water_energy[group], groups.fat_energy[group], groups.cross[group]
    a, b, c = groups.rounded_water_energy[group], groups.rounded_fat_energy[group], groups.rounded_cross[group]
    w, f, exact_w, exact_f = work
    _project(groups.water[group], y, w)
    _project(groups.fat[group], y, f)
    is_exact = False
    slack = 2 * rounding(groups.water.shape[1])
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
            _project(groups.water[group], y.astype(np.float64), exact_w)
            _project(groups.fat[group], y.astype(np.float64), exact_f)
        lowest = 0  # T1H2O of this T1fat's best, if the best is of this T1fat
        for start in range(STRIDE):
            for i in range(start, w.shape[1], STRIDE):
                p, r = w[0, i] * w[0, i] + w[1, i] * w[1, i], w[0, i] * f[0, j] + w[1, i] * f[1, j]
                if may_win(limit, safe, p, q, r, a[i], b[j], c[j, i]):
                    wr, wi, fr, fi = exact_w[0, i], exact_w[1, i], exact_f[0, j], exact_f[1, j]
                    found, position = best_on_grid(
                        ff,
                        wr * wr + wi * wi,
                        fr * fr + fi * fi,
                        wr * fr + wi * fi,
                        water_energy[i],
                        fat_energy[j],
                        cross[j, i],
                    )
                    if found > score or (found == score and i < lowest):
                        score, lowest = found, i
                        limit, safe = np.float32(score), np.float32(score - slack)
                        entry[0], entry[1], entry[2] = position, i, j
    return score


@njit(parallel=True, cache=True)
def _search(y: Float, groups: Groups, ff: Double) -> tuple[Int, Double]:
    """Best (ff, t1w, t1f, group) and score of every unit signal; y is (voxels, 2 rank)."""
    n_voxels, n_groups = len(y), len(groups.water)
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
                found = best_of_group(groups, group, y[v], ff, scores[v], work, entries[v, :3])
                if found > scores[v]:
                    scores[v] = found
                    entries[v, 3] = group
    return entries, scores


def match_exact(coefficients: Complex, dictionary: Dictionary, device: torch.device | None = None) -> Matches:
    """Find the entry with the highest score for every voxel.

    Parameters
    ----------
    coefficients
        Signals in the dictionary's basis, finite and not zero. Shape `(voxels, rank)`.
    dictionary
        All entries.
    device
        Where to compute; the CPU if not given.

    Returns
    -------
        What `mrfpipe.matching.brute.match_brute` returns, up to its float32 rounding. Of entries that score the same,
        as all T1H2O do at FF = 1, that with the lowest positions on the axes of its (B1, df) group is returned.

    Raises
    ------
    ResourceError
        If the device is a GPU that Numba cannot use, or a dictionary is too large for it.
    """
    if device is not None and device.type == "cuda":
        from mrfpipe.matching.cuda import match_exact_cuda  # Numba looks for a GPU when it is imported

        return match_exact_cuda(coefficients, dictionary, device)
    check_shape("coefficients", coefficients, "voxels rank", {"rank": dictionary.rank})
    y = unit_signals(coefficients).view(np.float32)
    entries, scores = _search(y, group_dictionary(dictionary), dictionary.protocol.grid.ff)
    ff, t1w, t1f, group = entries.T
    return Matches(
        entry=entry_numbers(dictionary, group=group, ff=ff, t1w=t1w, t1f=t1f), score=scores.astype(np.float32)
    )


def entry_numbers(dictionary: Dictionary, *, group: Int, ff: Int, t1w: Int, t1f: Int) -> Int:
    """Return the numbers of entries given by group and positions within it. Shape `(voxels)`."""
    b1, df = np.divmod(group, dictionary.protocol.grid.df.size)
    numbers: Int = np.ravel_multi_index((ff, t1w, t1f, df, b1), dictionary.protocol.grid.shape)
    return numbers
