"""Gridding: summing samples at arbitrary points onto a Cartesian grid, and interpolating from it, by a short kernel.

The kernels, their approximation and the grid points that they cover are the same as in sigpy. Sigpy's own loops are
compiled anew in every process, which takes seconds, and block all other threads. Here, a kernel is evaluated once for
all coils.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from mrfpipe.arrays import Complex, Float, Int, check_shape

# Abramowitz and Stegun, 9.8.1 and 9.8.2: coefficients of powers of (x / 3.75)^2 and of 3.75 / x, highest first.
_SMALL = (0.0045813, 0.0360768, 0.2659732, 1.2067492, 3.0899424, 3.5156229, 1.0)
_LARGE = (
    *(0.00392377, -0.01647633, 0.02635537, -0.02057706),
    *(0.00916281, -0.00157565, 0.00225319, 0.01328592, 0.39894228),
)


class Taps(NamedTuple):
    """Points of a square grid that samples are summed into; a weight is the product of one along y and one along x."""

    first: Int
    """The first point along y and x. Shape `(samples, 2)`."""
    weights: Float
    """Weights of the points from the first on; the last one is mostly 0. Shape `(samples, 2, width + 1)`."""
    size: int
    """Points of the grid along y and along x; indices wrap around."""


def kaiser_bessel(points: Float, size: int, width: int, shape: float) -> Taps:
    """Weight grid points within half a width by ``I0(shape sqrt(1 - u^2))``, where u is 1 at half the width.

    Parameters
    ----------
    points
        (y, x) of the samples in points of the grid. Shape `(samples, 2)`.
    size
        Points of the grid along an axis.
    width
        Width of the kernel in points of the grid.
    shape
        The larger, the narrower the kernel.
    """
    check_shape("points", points, "samples 2")
    return Taps(*_taps(points, size, width, float(shape)), size)


def hat(points: Float, size: int) -> Taps:
    """Weight grid points for linear interpolation; parameters as for `kaiser_bessel`."""
    check_shape("points", points, "samples 2")
    return Taps(*_taps(points, size, 2, 0.0), size)


def grid_samples(samples: npt.NDArray[Any], taps: Taps) -> npt.NDArray[Any]:
    """Sum samples `(coils, samples)`, complex or real, into grids `(coils, y, x)`."""
    check_shape("samples", samples, "coils samples", {"samples": len(taps.first)})
    grids = np.zeros((len(samples), taps.size, taps.size), samples.dtype)
    _grid(samples, taps.first, taps.weights, grids)
    return grids


def interpolate(grids: npt.NDArray[Any], taps: Taps) -> npt.NDArray[Any]:
    """Read grids `(coils, y, x)` at points, the adjoint of `grid_samples`. Shape `(coils, samples)`."""
    check_shape("grids", grids, "coils y x", {"y": taps.size, "x": taps.size})
    samples = np.zeros((len(grids), len(taps.first)), grids.dtype)
    _interpolate(grids, taps.first, taps.weights, samples)
    return samples


@njit(cache=True)
def _bessel(x: float) -> float:
    """Compute the modified Bessel function of the first kind of order 0, to 2e-7 of its value."""
    total = 0.0
    if x < 3.75:
        for factor in _SMALL:
            total = total * (x / 3.75) ** 2 + factor
        return total
    for factor in _LARGE:
        total = total * (3.75 / x) + factor
    return total * math.exp(x) / math.sqrt(x)


@njit(cache=True, nogil=True)
def _taps(points: Float, size: int, width: int, shape: float) -> tuple[Int, Float]:
    """Return the first points and the weights of `Taps`, for a hat kernel if the shape is 0."""
    first = np.empty(points.shape, np.int64)
    weights = np.zeros((*points.shape, width + 1), np.float32)
    for i in range(len(points)):
        for axis in range(2):
            at = points[i, axis]
            start = math.ceil(at - width / 2)
            first[i, axis] = start % size
            for j in range(width + 1):
                u = (start + j - at) / (width / 2)
                if u <= 1:
                    weights[i, axis, j] = _bessel(shape * math.sqrt(1 - u * u)) if shape > 0 else 1 - abs(u)
    return first, weights


@njit(cache=True, nogil=True)
def _grid(samples: Complex | Float, first: Int, weights: Float, grids: Complex | Float) -> None:
    """Add samples to grids. Coils come one after the other, so that a grid stays in the cache."""
    size, width = grids.shape[1], weights.shape[2]
    for coil in range(len(grids)):
        for i in range(len(first)):
            start = first[i, 1]
            for j in range(width):
                row = grids[coil, (first[i, 0] + j) % size]
                part = samples[coil, i] * weights[i, 0, j]
                if start + width <= size:
                    for k in range(width):
                        row[start + k] += part * weights[i, 1, k]
                else:
                    for k in range(width):
                        row[(start + k) % size] += part * weights[i, 1, k]


@njit(cache=True, nogil=True)
def _interpolate(grids: Complex | Float, first: Int, weights: Float, samples: Complex | Float) -> None:
    """Read grids at points, as `_grid` adds to them."""
    size, width = grids.shape[1], weights.shape[2]
    for coil in range(len(grids)):
        for i in range(len(first)):
            for j in range(width):
                row = grids[coil, (first[i, 0] + j) % size]
                for k in range(width):
                    weight = weights[i, 0, j] * weights[i, 1, k]
                    samples[coil, i] += row[(first[i, 1] + k) % size] * weight
