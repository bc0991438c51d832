"""Exact matching: the best of all entries for every voxel, most of them never visited.

Entries are grouped by (B1, df). All entries of a group nearly lie in a real space of few dimensions, because its
water and fat signals are smooth in T1 and an entry is a real combination of them. Let the columns of U, orthonormal
under the real inner product Re <., .>, span that space, and let every unit water or fat signal of the group be within
``e`` of it. For the entry d = (1 - x) w + x f of unit norm and any phase p,

    Re <d, exp(ip) y> = Re <P d, exp(ip) y> + Re <d - P d, exp(ip) y> <= |P exp(ip) y| + r |y|.

The first term, maximised over p, is ``sqrt((sum |u_k|^2 + |sum u_k^2|) / 2)`` with u = U' y: the squared length of
Re(exp(ip) u) is sum (|u_k|^2 + Re(exp(2ip) u_k^2)) / 2. The remainder r of d is at most ``((1-x)|w| + x|f|) e / |d|``,
and with c the least cosine Re <w, f> / (|w| |f|) of the group, ``|d| >= ((1-x)|w| + x|f|) sqrt((1 + c) / 2)``, so that
``r <= e / sqrt((1 + c) / 2)``. Since |<d, y>| is the maximum of Re <d, exp(ip) y> over p, the sum bounds the square
root of any score in the group. (A cosine near -1 makes the bound useless, never wrong.)

Groups are visited from the highest bound down, until the bound is below the best score found; within a group, pairs of
T1 that cannot beat it for any fat fraction are told by the test of `mrfpipe.matching.score`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numba import njit, prange

from mrfpipe.arrays import Complex, Double, Float, Int, check_shape
from mrfpipe.dictionary import Dictionary
from mrfpipe.matching.score import Matches, best_on_grid, unit_signals

BLOCK = 32
"""Voxels whose bounds are computed together."""
SPACE_TOLERANCE = 5e-4
"""Distance of unit signals from their group's real space that is put up with: a smaller one takes more dimensions, into
which more noise falls, a larger one loosens the bounds. For T1-FF at rank 12 it takes seven dimensions, and about ten
of the 375 groups are visited for a voxel of undersampled frames."""
ROUNDING = 1e-6
"""Of unit vectors in float32; added to their distance from a space."""
MARGIN = np.float32(1e-5)
"""Relative rounding margin: nothing is dropped that might be the best but for float32 arithmetic."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Groups:
    """A dictionary laid out by (B1, df), the way the kernel walks through it."""

    water: Float
    """Real and imaginary parts. Shape `(groups, rank, 2, t1w)`."""
    fat: Float
    """Real and imaginary parts. Shape `(groups, rank, 2, t1f)`."""
    water_energy: Float
    """Shape `(groups, t1w)`."""
    fat_energy: Float
    """Shape `(groups, t1f)`."""
    cross: Float
    """Shape `(groups, t1f, t1w)`."""
    space: Float
    """Real and imaginary parts of each group's real space U. Shape `(groups, dimensions, rank, 2)`."""
    remainder: Float
    """Bound of what of a unit entry is outside its group's space. Shape `(groups)`."""


def group_dictionary(dictionary: Dictionary) -> Groups:
    """Lay out a dictionary by (B1, df) and find the real space of every group."""
    water, fat = _by_group(dictionary.water), _by_group(dictionary.fat)
    water_energy, fat_energy = _by_group(dictionary.water_energy), _by_group(dictionary.fat_energy)
    n_water, n_fat, n_b1, n_df = dictionary.cross.shape
    cross = dictionary.cross.transpose(2, 3, 1, 0).reshape(n_b1 * n_df, n_fat, n_water)
    space, distance = _real_spaces(
        np.concatenate([water / np.sqrt(water_energy)[..., None], fat / np.sqrt(fat_energy)[..., None]], axis=1)
    )
    cosine = cross / np.sqrt(fat_energy[:, :, None] * water_energy[:, None, :])
    least = np.maximum(cosine.min(axis=(1, 2)), -1 + 1e-6)
    return Groups(
        water=_parts(water.transpose(0, 2, 1)),
        fat=_parts(fat.transpose(0, 2, 1)),
        water_energy=np.ascontiguousarray(water_energy),
        fat_energy=np.ascontiguousarray(fat_energy),
        cross=np.ascontiguousarray(cross),
        space=np.stack([space.real, space.imag], axis=-1).astype(np.float32),
        remainder=(distance / np.sqrt((1 + least) / 2)).astype(np.float32),
    )


def _by_group(array: np.ndarray) -> np.ndarray:
    """Shape `(t1, b1, df, ...)` to `(b1 df, t1, ...)`."""
    moved = np.moveaxis(array, 0, 2)
    return moved.reshape(moved.shape[0] * moved.shape[1], *moved.shape[2:])


def _parts(array: Complex) -> Float:
    """Shape `(groups, rank, t1)` to real and imaginary parts `(groups, rank, 2, t1)`."""
    return np.ascontiguousarray(np.stack([array.real, array.imag], axis=2))


def _real_spaces(units: Complex) -> tuple[Complex, Float]:
    """Real space of each group's unit signals `(groups, signals, rank)`, and their greatest distance from it.

    All groups get the least number of dimensions with which the tolerance holds everywhere.
    """
    stacked = np.concatenate([units.real, units.imag], axis=-1).astype(np.float64)
    _, _, directions = np.linalg.svd(stacked, full_matrices=False)
    parts = np.einsum("gsr,gdr->gsd", stacked, directions)
    kept_and_rest = np.cumsum(parts[..., ::-1] ** 2, axis=-1)[..., ::-1]
    outside = np.sqrt(kept_and_rest[..., 1:].max(axis=1))
    enough = np.flatnonzero(outside.max(axis=0) <= SPACE_TOLERANCE)
    n = int(enough[0]) + 1 if enough.size else directions.shape[1]
    distance = outside[:, n - 1] if enough.size else np.zeros(len(units))
    rank = units.shape[-1]
    space = directions[:, :n, :rank] + 1j * directions[:, :n, rank:]
    return space.astype(np.complex64), (distance + ROUNDING).astype(np.float32)


@njit(cache=True)
def _bounds(y: Float, space: Float, remainder: Float, bounds: Float) -> None:
    """Bound the score of every group for a block of unit signals; y is (rank, 2, block), bounds (block, groups)."""
    n_groups, n_dimensions, rank, _ = space.shape
    block = y.shape[2]
    re, im, length, square_re, square_im = np.empty((5, block), np.float32)
    for group in range(n_groups):
        length[:], square_re[:], square_im[:] = 0, 0, 0
        for d in range(n_dimensions):
            re[:], im[:] = 0, 0
            for k in range(rank):
                ur, ui = space[group, d, k, 0], space[group, d, k, 1]
                for v in range(block):
                    re[v] += ur * y[k, 0, v] + ui * y[k, 1, v]
                    im[v] += ur * y[k, 1, v] - ui * y[k, 0, v]
            for v in range(block):
                length[v] += re[v] * re[v] + im[v] * im[v]
                square_re[v] += re[v] * re[v] - im[v] * im[v]
                square_im[v] += np.float32(2) * re[v] * im[v]
        for v in range(block):
            turned = np.sqrt(square_re[v] * square_re[v] + square_im[v] * square_im[v])
            bound = np.sqrt(np.float32(0.5) * (length[v] + turned)) + remainder[group]
            bounds[v, group] = bound * bound


@njit(cache=True)
def project(signals: Float, y: Float, product: Float) -> None:
    """Inner products <signal, y> of a group's signals (rank, 2, t1) with one voxel (rank, 2), to (2, t1)."""
    product[:] = 0
    re, im = product[0], product[1]
    for k in range(signals.shape[0]):
        sr, si = signals[k, 0], signals[k, 1]
        for i in range(re.size):
            re[i] += sr[i] * y[k, 0] + si[i] * y[k, 1]
            im[i] += sr[i] * y[k, 1] - si[i] * y[k, 0]


@njit(cache=True, inline="always")
def may_win(
    limit: np.float32, p: np.float32, q: np.float32, r: np.float32, a: np.float32, b: np.float32, c: np.float32
) -> np.bool_:
    """Whether a pair scores above `limit` for any fat fraction; letters as in `mrfpipe.matching.score`."""
    x, y, z = limit * a - p, limit * b - q, limit * c - r
    return (x * y <= z * z) | (x <= 0) | (y <= 0)


@njit(cache=True)
def best_of_group(
    w: Float, f: Float, water_energy: Float, fat_energy: Float, cross: Float, ff: Double, score: float, entry: Int
) -> float:
    """Search all pairs of a group for a score above `score`.

    w (2, t1w) and f (2, t1f) are the inner products with the voxel; the best entry's (ff, t1w, t1f) is left in `entry`.
    """
    for j in range(f.shape[1]):
        b, q = fat_energy[j], f[0, j] * f[0, j] + f[1, j] * f[1, j]
        limit = np.float32(score * (1 - MARGIN))
        hits = 0
        for i in range(w.shape[1]):
            p, r = w[0, i] * w[0, i] + w[1, i] * w[1, i], w[0, i] * f[0, j] + w[1, i] * f[1, j]
            hits += int(may_win(limit, p, q, r, water_energy[i], b, cross[j, i]))
        if hits == 0:
            continue
        for i in range(w.shape[1]):
            a, c = water_energy[i], cross[j, i]
            p, r = w[0, i] * w[0, i] + w[1, i] * w[1, i], w[0, i] * f[0, j] + w[1, i] * f[1, j]
            if may_win(np.float32(score * (1 - MARGIN)), p, q, r, a, b, c):
                found, position = best_on_grid(
                    ff, np.float64(p), np.float64(q), np.float64(r), np.float64(a), np.float64(b), np.float64(c)
                )
                if found > score:
                    score = found
                    entry[0], entry[1], entry[2] = position, i, j
    return score


@njit(parallel=True, cache=True)
def _search(
    y: Float,
    water: Float,
    fat: Float,
    water_energy: Float,
    fat_energy: Float,
    cross: Float,
    space: Float,
    remainder: Float,
    ff: Double,
) -> tuple[Int, Double]:
    """Best (ff, t1w, t1f, group) and score of every unit signal; y is (voxels, rank, 2)."""
    n_voxels, n_groups = y.shape[0], water.shape[0]
    entries, scores = np.zeros((n_voxels, 4), np.int64), np.zeros(n_voxels)
    for block in prange((n_voxels + BLOCK - 1) // BLOCK):
        start, stop = block * BLOCK, min((block + 1) * BLOCK, n_voxels)
        bounds = np.empty((stop - start, n_groups), np.float32)
        _bounds(np.ascontiguousarray(y[start:stop].transpose(1, 2, 0)), space, remainder, bounds)
        w, f = np.empty((2, water.shape[3]), np.float32), np.empty((2, fat.shape[3]), np.float32)
        for v in range(start, stop):
            while True:
                group = np.argmax(bounds[v - start])
                bound = bounds[v - start, group]
                if bound < 0 or bound < scores[v] * (1 - MARGIN):
                    break
                bounds[v - start, group] = -1
                project(water[group], y[v], w)
                project(fat[group], y[v], f)
                found = best_of_group(
                    w, f, water_energy[group], fat_energy[group], cross[group], ff, scores[v], entries[v, :3]
                )
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
        What `mrfpipe.matching.brute.match_brute` returns, up to float32 rounding. Of entries that score the same, as
        all T1H2O do at FF = 1, that with the lowest positions on the axes of its (B1, df) group is returned.

    Raises
    ------
    ResourceError
        If the device is a GPU that Numba cannot use, or a dictionary is too large for it.
    """
    if device is not None and device.type == "cuda":
        from mrfpipe.matching.cuda import match_exact_cuda  # Numba looks for a GPU when it is imported

        return match_exact_cuda(coefficients, dictionary, device)
    check_shape("coefficients", coefficients, "voxels rank", {"rank": dictionary.rank})
    groups = group_dictionary(dictionary)
    unit = unit_signals(coefficients)
    entries, scores = _search(
        np.stack([unit.real, unit.imag], axis=-1),
        groups.water,
        groups.fat,
        groups.water_energy,
        groups.fat_energy,
        groups.cross,
        groups.space,
        groups.remainder,
        dictionary.protocol.grid.ff,
    )
    ff, t1w, t1f, group = entries.T
    return Matches(
        entry=entry_numbers(dictionary, group=group, ff=ff, t1w=t1w, t1f=t1f), score=scores.astype(np.float32)
    )


def entry_numbers(dictionary: Dictionary, *, group: Int, ff: Int, t1w: Int, t1f: Int) -> Int:
    """Return the numbers of entries given by group and positions within it. Shape `(voxels)`."""
    b1, df = np.divmod(group, dictionary.protocol.grid.df.size)
    numbers: Int = np.ravel_multi_index((ff, t1w, t1f, df, b1), dictionary.protocol.grid.shape)
    return numbers
