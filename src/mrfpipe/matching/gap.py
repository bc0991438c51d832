"""Gap: how far the second-best explanation of a voxel falls behind the best.

The best score of every pair of B1 and df makes a landscape over these two axes. Its peaks are the pairs that no
neighbour, along either axis or both, outdoes; all but the highest are explanations of another kind, as a swap of water
and fat would be, and not the slope of the best. The gap is the correlation of the highest peak less that of the second,
or all of it where there is only one: a small gap means that noise might have chosen otherwise. (Within a pair there is
nothing of that kind to look for: over fat fractions the score has a single peak, see `mrfpipe.matching.score`.)

Every pair of T1 of every pair of B1 and df is looked at, about a thousand times the work of exact matching.
"""

import math

import numpy as np
from numba import njit, prange

from mrfpipe.arrays import Complex, Double, Float, check_shape
from mrfpipe.dictionary import Dictionary
from mrfpipe.matching.exact import Groups, best_of_group, group_dictionary, work_for
from mrfpipe.matching.score import unit_signals


@njit(cache=True)
def _is_peak(landscape: Double, b1: int, df: int) -> bool:
    """Whether no neighbour scores higher; of equal neighbours the one with the lowest numbers is the peak."""
    n_b1, n_df = landscape.shape
    here = landscape[b1, df]
    for i in range(max(b1 - 1, 0), min(b1 + 2, n_b1)):
        for j in range(max(df - 1, 0), min(df + 2, n_df)):
            before = i < b1 or (i == b1 and j < df)
            if landscape[i, j] > here or (before and landscape[i, j] == here):
                return False
    return True


@njit(cache=True)
def peak_gap(landscape: Double) -> float:
    """Correlation of the highest peak less that of the second, of a landscape of scores `(b1, df)`."""
    first, second = 0.0, 0.0
    for b1 in range(landscape.shape[0]):
        for df in range(landscape.shape[1]):
            if landscape[b1, df] > second and _is_peak(landscape, b1, df):
                if landscape[b1, df] > first:
                    first, second = landscape[b1, df], first
                else:
                    second = landscape[b1, df]
    return math.sqrt(first) - math.sqrt(second)


@njit(parallel=True, cache=True)
def _gaps(y: Float, groups: Groups, ff: Double, n_df: int) -> Double:
    """Gap of every unit signal; y is (voxels, 2 rank)."""
    n_groups = len(groups.water)
    gaps = np.empty(len(y))
    for v in prange(len(y)):
        landscape, entry = np.empty(n_groups), np.empty(3, np.int64)
        work = work_for(groups)
        for group in range(n_groups):
            landscape[group] = best_of_group(groups, group, y[v], ff, 0.0, work, entry)
        gaps[v] = peak_gap(landscape.reshape(-1, n_df))
    return gaps


def correlation_gap(coefficients: Complex, dictionary: Dictionary) -> Float:
    """Find how far the second-best peak of every voxel's landscape over B1 and df falls behind.

    Parameters
    ----------
    coefficients
        Signals in the dictionary's basis, finite and not zero. Shape `(voxels, rank)`.
    dictionary
        All entries.

    Returns
    -------
        Difference of the correlations with the signals in the basis, 0 to 1. Shape `(voxels)`.
    """
    check_shape("coefficients", coefficients, "voxels rank", {"rank": dictionary.rank})
    grid, y = dictionary.protocol.grid, unit_signals(coefficients).view(np.float32)
    gaps = _gaps(y, group_dictionary(dictionary), grid.ff, grid.df.size)
    return gaps.astype(np.float32)
