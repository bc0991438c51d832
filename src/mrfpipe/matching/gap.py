"""Gap: how far the second-best explanation of a voxel falls behind the best.

The best score of every point of the axes that components share makes a landscape, as over B1 and off-resonance.
Its peaks are the points that no neighbour, along any of the axes or several, outdoes; all but the highest are
explanations of another kind, as a swap of two components would be, and not the slope of the best. The gap is the
correlation of the highest peak less that of the second, or all of it where there is only one: a small gap means that
noise might have chosen otherwise. (Of two components there is nothing of that kind to look for at one point: over
shares the score has a single peak, see `mrfpipe.matching.score`.)

Every signal, or pair of signals, of every point is looked at, about a thousand times the work of exact matching.
"""

import math

import numpy as np
from numba import njit, prange

from mrfpipe.arrays import Complex, Double, Float, Int, check_shape
from mrfpipe.dictionary import Dictionary
from mrfpipe.matching.exact import best_of_group, work_for
from mrfpipe.matching.layout import Groups, lay_out
from mrfpipe.matching.score import unit_signals


@njit(cache=True)
def _is_peak(landscape: Double, sizes: Int, point: int) -> bool:
    """Whether no neighbour scores higher; of equal neighbours the one with the lowest number is the peak.

    The landscape has the points of a grid of these sizes, the last axis varying fastest.
    """
    here = landscape[point]
    for step in range(3**sizes.size):
        other, stride, rest, at, inside = 0, 1, step, point, True
        for axis in range(sizes.size - 1, -1, -1):
            position = at % sizes[axis] + rest % 3 - 1
            inside = inside and 0 <= position < sizes[axis]
            other += position * stride
            stride *= sizes[axis]
            rest //= 3
            at //= sizes[axis]
        if inside and (landscape[other] > here or (other < point and landscape[other] == here)):
            return False
    return True


@njit(cache=True)
def peak_gap(landscape: Double, sizes: Int) -> float:
    """Correlation of the highest peak less that of the second, of a landscape of scores `(points)` of a grid."""
    first, second = 0.0, 0.0
    for point in range(landscape.size):
        if landscape[point] > second and _is_peak(landscape, sizes, point):
            if landscape[point] > first:
                first, second = landscape[point], first
            else:
                second = landscape[point]
    return math.sqrt(first) - math.sqrt(second)


@njit(parallel=True, cache=True)
def _gaps(y: Float, groups: Groups, of_point: Int, shares: Double, sizes: Int) -> Double:
    """Gap of every unit signal; y is (voxels, 2 rank)."""
    gaps = np.empty(len(y))
    for v in prange(len(y)):
        landscape, entry = np.zeros(int(np.prod(sizes))), np.empty(3, np.int64)
        work = work_for(groups)
        for group in range(len(groups.first)):
            point = of_point[group]
            landscape[point] = best_of_group(groups, group, y[v], shares, landscape[point], work, entry)
        gaps[v] = peak_gap(landscape, sizes)
    return gaps


def correlation_gap(coefficients: Complex, dictionary: Dictionary) -> Float:
    """Find how far the second-best peak of every voxel's landscape over the shared axes falls behind.

    It is the difference of the correlations with the signals in the basis, 0 to 1. Shape `(voxels)`. Parameters are
    those of `mrfpipe.matching.brute.match_brute`.
    """
    check_shape("coefficients", coefficients, "voxels rank", {"rank": dictionary.rank})
    protocol, y, layout = dictionary.protocol, unit_signals(coefficients).view(np.float32), lay_out(dictionary)
    sizes = np.array([protocol.grid[name].size for name in protocol.shared_axes], np.int64)
    gaps = _gaps(y, layout.groups, layout.point, dictionary.shares, sizes)
    return gaps.astype(np.float32)
