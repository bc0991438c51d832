"""Gap: how much worse the second-best explanation of a voxel is than the best.

The best scores at all points of the shared axes, such as B1 and off-resonance, form a landscape. Its peaks are the
points that no neighbour exceeds, diagonal neighbours included. All peaks but the highest are explanations of another
kind, such as a swap of the two components, rather than the slope of the best one. The gap is the correlation at the
highest peak minus that at the second, or the whole correlation if there is only one peak. A small gap means that noise
might have decided otherwise. (At one point of the shared axes, two components have no second peak: over shares, the
score has a single one, see `mrfpipe.matching.score`.)

Every signal, or pair of signals, at every point is visited, about a thousand times the work of exact matching.
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
    """Whether no neighbour scores higher; among equal neighbours, the one with the lowest number is the peak.

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
    """Correlation at the highest peak minus that at the second, in a landscape of scores `(points)` on a grid."""
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
    """Compute the gap of every voxel: the best minus the second-best peak over the shared axes.

    It is the difference of the correlations with the signals in the basis, 0 to 1. Shape `(voxels)`. Parameters are
    those of `mrfpipe.matching.brute.match_brute`.
    """
    check_shape("coefficients", coefficients, "voxels rank", {"rank": dictionary.rank})
    protocol, y, layout = dictionary.protocol, unit_signals(coefficients).view(np.float32), lay_out(dictionary)
    sizes = np.array([protocol.grid[name].size for name in protocol.shared_axes], np.int64)
    gaps = _gaps(y, layout.groups, layout.point, dictionary.shares, sizes)
    return gaps.astype(np.float32)
