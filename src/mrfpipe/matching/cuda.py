"""Exact matching on an NVIDIA GPU: the search of `mrfpipe.matching.exact`, with one block of threads per voxel.

The threads of a block divide the work: first the bounds of all groups; then, group by group from the highest bound
down, the inner products of the group's signals with the voxel, and the pairs of signals. The functions that decide
whether a pair can win, and that find its best share, are the same as on the CPU.

Every voxel has its own block and every reduction a fixed order, so that results do not depend on how many voxels are
matched together. Among equal scores in a group, the entry with the lowest positions in the group wins; among groups,
the one visited first, which has the higher bound or, if bounds are equal, the lower number.

Bounds and tests of pairs are in single precision, with fused multiply-adds, which round less than the CPU does.
Candidates are scored in double precision, as on the CPU, by the thread that found them. Scores differ from those of the
CPU by rounding in double precision, which may decide differently between entries of nearly equal score.

Numba's simulator (``NUMBA_ENABLE_CUDASIM=1``) runs this without a GPU, slowly.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numba import cuda, float32, float64, int64

from mrfpipe.arrays import Complex, Double, Float, Int, check_numba_gpu, check_shape
from mrfpipe.dictionary import Dictionary
from mrfpipe.errors import ResourceError
from mrfpipe.matching.layout import Layout, lay_out
from mrfpipe.matching.score import Matches, best_on_grid, may_win, rounding, unit_signals

THREADS = 128
"""Threads per block, a power of two; a few more than the number of signals in a group of T1-FF (122)."""
VOXELS_AT_ONCE = 65_536
"""Voxels on the GPU at a time."""
SHARED_BYTES = 48 * 1024 - 16 * THREADS
"""Shared memory that a block can have on every GPU, less the work space of `_highest`."""

single: Any = float32
"""Turns a number into single precision."""
double: Any = float64
"""Turns a number into double precision; in Numba, float() of a single-precision number stays single."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tables:
    """A dictionary in the layout of the kernel: neighbouring threads read neighbouring numbers."""

    signals: Float
    """First signals, then second, in real and imaginary parts. Shape `(groups, rank, 2, firsts + seconds)`."""
    energy: Double
    """Shape `(groups, firsts + seconds)`."""
    cross: Double
    """Shape `(groups, seconds, firsts)`."""
    rounded_energy: Float
    """`energy` in single precision, to rule out pairs; `rounded_cross` likewise."""
    rounded_cross: Float
    space: Float
    """Shape `(dimensions, rank, 2, groups)`."""
    remainder: Float
    """Shape `(groups)`."""
    shares: Double
    """Shares of the grid, or a single 0 for one component. Shape `(shares)`."""

    @property
    def shared_bytes(self) -> int:
        """Shared memory a block needs: shares, the voxel, inner products and bounds."""
        n_groups, rank, _, n_signals = self.signals.shape
        return int(8 * self.shares.size + 4 * (2 * rank + 2 * n_signals + n_groups))


@cuda.jit(device=True)
def _highest(value: float, number: int, values: Double, numbers: Int) -> tuple[float, int]:
    """Highest value of all threads, with its number; the lowest number among equal values."""
    thread = cuda.threadIdx.x
    values[thread], numbers[thread] = value, number
    half = THREADS // 2
    while half > 0:
        cuda.syncthreads()
        if thread < half:
            theirs, ours = values[thread + half], values[thread]
            if theirs > ours or (theirs == ours and numbers[thread + half] < numbers[thread]):
                values[thread], numbers[thread] = theirs, numbers[thread + half]
        half //= 2
    cuda.syncthreads()
    highest, its_number = values[0], numbers[0]
    cuda.syncthreads()  # all have read before anyone writes again
    return highest, its_number


@cuda.jit(device=True)
def _bound(voxel: Float, space: Float, remainder: Float, bounds: Float) -> None:
    """Bound the score of every group, one thread per group; voxel is (2 rank)."""
    for group in range(cuda.threadIdx.x, bounds.size, THREADS):
        length, square_re, square_im = single(0), single(0), single(0)
        for d in range(space.shape[0]):
            re, im = single(0), single(0)
            for k in range(space.shape[1]):
                ur, ui, yr, yi = space[d, k, 0, group], space[d, k, 1, group], voxel[2 * k], voxel[2 * k + 1]
                re += ur * yr + ui * yi
                im += ur * yi - ui * yr
            length += re * re + im * im
            square_re += re * re - im * im
            square_im += re * im + re * im
        turned = math.sqrt(square_re * square_re + square_im * square_im)
        bound = math.sqrt(single(0.5) * (length + turned)) + remainder[group]
        bounds[group] = bound * bound


@cuda.jit(device=True)
def _project(signals: Float, voxel: Float, product: Float) -> None:
    """Inner products <signal, y> of a group's signals with the voxel, one thread per signal, to (2 signals)."""
    n_signals = signals.shape[2]
    for i in range(cuda.threadIdx.x, n_signals, THREADS):
        re, im = single(0), single(0)
        for k in range(signals.shape[0]):
            sr, si, yr, yi = signals[k, 0, i], signals[k, 1, i], voxel[2 * k], voxel[2 * k + 1]
            re += sr * yr + si * yi
            im += sr * yi - si * yr
        product[i], product[n_signals + i] = re, im


@cuda.jit(device=True)
def _exact(signals: Float, i: int, voxel: Float) -> tuple[float, float]:
    """Inner product <signal, y> of one of a group's signals with the voxel, in double precision."""
    re, im = 0.0, 0.0
    for k in range(signals.shape[0]):
        sr, si = double(signals[k, 0, i]), double(signals[k, 1, i])
        yr, yi = double(voxel[2 * k]), double(voxel[2 * k + 1])
        re += sr * yr + si * yi
        im += sr * yi - si * yr
    return re, im


@cuda.jit(device=True)
def _visit(
    signals: Float,
    voxel: Float,
    product: Float,
    energy: Double,
    cross: Double,
    rounded_energy: Float,
    rounded_cross: Float,
    shares: Double,
    score: float,
) -> tuple[float, int]:
    """Search this thread's pairs of a group for a score above `score`; its first signals are every `THREADS`-th.

    Return the score, and the entry's number within the group, counted over second signals, first signals and shares.
    """
    n_second, n_first = cross.shape
    number, slack = 0, 2 * rounding(signals.shape[0])
    if n_second == 0:
        for i in range(cuda.threadIdx.x, n_first, THREADS):
            wr, wi = product[i], product[n_first + i]
            if single(score - slack) * rounded_energy[i] <= wr * wr + wi * wi:
                w_re, w_im = _exact(signals, i, voxel)
                found = (w_re * w_re + w_im * w_im) / energy[i]
                if found > score:
                    score, number = found, i
    for j in range(n_second):
        fr, fi = product[n_first + j], product[2 * n_first + n_second + j]
        b, q = rounded_energy[n_first + j], fr * fr + fi * fi
        for i in range(cuda.threadIdx.x, n_first, THREADS):
            wr, wi = product[i], product[n_first + n_second + i]
            a, c, p, r = rounded_energy[i], rounded_cross[j, i], wr * wr + wi * wi, wr * fr + wi * fi
            if may_win(single(score), single(score - slack), p, q, r, a, b, c):
                w_re, w_im = _exact(signals, i, voxel)
                f_re, f_im = _exact(signals, n_first + j, voxel)
                found, position = best_on_grid(
                    shares,
                    w_re * w_re + w_im * w_im,
                    f_re * f_re + f_im * f_im,
                    w_re * f_re + w_im * f_im,
                    energy[i],
                    energy[n_first + j],
                    cross[j, i],
                )
                if found > score:
                    score = found
                    number = (j * n_first + i) * shares.size + position
    return score, number


@cuda.jit
def _search(
    y: Float,
    signals: Float,
    energy: Double,
    cross: Double,
    rounded_energy: Float,
    rounded_cross: Float,
    space: Float,
    remainder: Float,
    shares: Double,
    entries: Int,
    scores: Double,
) -> None:
    """Best (group, number within it) and score of every unit signal, one block per signal; y is (voxels, 2 rank)."""
    values = cuda.shared.array(THREADS, float64)
    numbers = cuda.shared.array(THREADS, int64)
    # Two views of the dynamic shared memory: its start is in double precision, the rest in single.
    doubles = cuda.shared.array(0, float64)
    singles = cuda.shared.array(0, float32)
    n_products = 2 * signals.shape[3]
    grid = doubles[: shares.size]
    singles = singles[2 * shares.size :]
    voxel = singles[: y.shape[1]]
    product = singles[y.shape[1] : y.shape[1] + n_products]
    bounds = singles[y.shape[1] + n_products : y.shape[1] + n_products + remainder.size]
    thread, block = cuda.threadIdx.x, cuda.blockIdx.x
    for i in range(thread, grid.size, THREADS):
        grid[i] = shares[i]
    for i in range(thread, voxel.size, THREADS):
        voxel[i] = y[block, i]
    cuda.syncthreads()
    _bound(voxel, space, remainder, bounds)
    score, best_group, best_number = 0.0, 0, 0
    while True:
        # Each thread reads only the bounds that it wrote; then all threads agree on the highest.
        own, number = -1.0, 0
        for i in range(thread, bounds.size, THREADS):
            if bounds[i] > own:
                own, number = double(bounds[i]), i
        bound, group = _highest(own, number, values, numbers)
        if bound < 0 or bound < score:
            break
        if group % THREADS == thread:
            bounds[group] = -1
        _project(signals[group], voxel, product)
        cuda.syncthreads()
        own, number = _visit(
            signals[group],
            voxel,
            product,
            energy[group],
            cross[group],
            rounded_energy[group],
            rounded_cross[group],
            grid,
            score,
        )
        found, number = _highest(own, number, values, numbers)
        if found > score:
            score, best_group, best_number = found, group, number
    if thread == 0:
        entries[block, 0], entries[block, 1], scores[block] = best_group, best_number, score


def match_exact_cuda(coefficients: Complex, dictionary: Dictionary, device: torch.device) -> Matches:
    """Find the entry with the highest score for every voxel; see `mrfpipe.matching.exact.match_exact`.

    ResourceError if Numba cannot use the GPU, or a group of the dictionary does not fit its shared memory.
    """
    check_numba_gpu("match")
    check_shape("coefficients", coefficients, "voxels rank", {"rank": dictionary.rank})
    layout = lay_out(dictionary)
    tables = _tables(layout)
    unit = unit_signals(coefficients).view(np.float32)
    entries, scores = np.empty((len(unit), 2), np.int64), np.empty(len(unit))
    with cuda.gpus[device.index or 0]:
        on_gpu = [cuda.to_device(getattr(tables, field.name)) for field in fields(tables)]
        for start in range(0, len(unit), VOXELS_AT_ONCE):
            some = slice(start, start + VOXELS_AT_ONCE)
            y = cuda.to_device(unit[some])
            found = cuda.device_array((len(y), 2), np.int64), cuda.device_array(len(y), np.float64)
            _search[len(y), THREADS, 0, tables.shared_bytes](y, *on_gpu, *found)
            entries[some], scores[some] = (array.copy_to_host() for array in found)
    group, number = entries.T
    n_second, n_first = tables.cross.shape[1:]
    second, first, share = np.unravel_index(number, (max(1, n_second), n_first, tables.shares.size))
    return Matches(entry=layout.numbers(group, share, first, second), score=scores.astype(np.float32))


def _tables(layout: Layout) -> _Tables:
    """Convert a layout to the tables of the kernel.

    ResourceError if a block would need more shared memory than it can have.
    """
    groups, shares = layout.groups, layout.dictionary.shares
    tables = _Tables(
        signals=np.concatenate([groups.first, groups.second], axis=3),
        energy=np.concatenate([groups.first_energy, groups.second_energy], axis=1),
        cross=groups.cross,
        rounded_energy=np.concatenate([groups.rounded_first_energy, groups.rounded_second_energy], axis=1),
        rounded_cross=groups.rounded_cross,
        space=np.ascontiguousarray(groups.space.transpose(1, 2, 3, 0)),
        remainder=groups.remainder,
        shares=np.ascontiguousarray(shares) if shares.size else np.zeros(1),
    )
    if tables.shared_bytes > SHARED_BYTES:
        raise ResourceError(
            f"A block of the GPU would need {tables.shared_bytes:,} bytes of shared memory for this dictionary's "
            f"{groups.remainder.size:,} groups of {tables.energy.shape[1]:,} signals, and has {SHARED_BYTES:,}; "
            "match with --device cpu."
        )
    return tables
