"""Non-uniform Fourier transform between images and k-space samples, by sigpy. The only module that knows sigpy.

Convention, for images `(..., y, x)` with N voxels along either axis and x, y counted from the centre voxel ``N // 2``,
and for k in cycles/FOV given as (kx, ky)::

    nufft:          s(k)    = sum over x, y of m(y, x) exp(-2 pi i (kx x + ky y) / N)
    nufft_adjoint:  m(y, x) = sum over k    of s(k)    exp(+2 pi i (kx x + ky y) / N)

Neither is scaled. sigpy scales both by 1 / N and takes (ky, kx); that is undone here.
"""

import numpy as np
import scipy.fft
import sigpy

from mrfpipe.arrays import Complex, Float, check_shape

KERNEL_WIDTH = 4
LEAST_OVERSAMPLING = 1.25


def oversampled_grid(matrix: int) -> int:
    """Least grid of at least 1.25 times the matrix whose FFT is fast (even, small prime factors); 440 for 350."""
    half = int(np.ceil(matrix * LEAST_OVERSAMPLING / 2))
    return 2 * int(scipy.fft.next_fast_len(half))


def nufft(images: Complex, trajectory: Float) -> Complex:
    """Sample the Fourier transform of images.

    Parameters
    ----------
    images
        Shape `(coils, y, x)` with as many rows as columns.
    trajectory
        (kx, ky) in cycles/FOV. Shape `(spokes, samples, 2)`.

    Returns
    -------
        Samples. Shape `(coils, spokes, samples)`.
    """
    matrix = check_shape("images", images, "coils y x", {"y": images.shape[-1]})["x"]
    samples = sigpy.nufft(images, _coordinates(trajectory, matrix), oversamp=_oversampling(matrix), width=KERNEL_WIDTH)
    unscaled: Complex = (samples * np.float32(matrix)).astype(np.complex64, copy=False)
    return unscaled


def nufft_adjoint(samples: Complex, trajectory: Float, matrix: int) -> Complex:
    """Sum samples into images: the adjoint of `nufft`.

    Parameters
    ----------
    samples
        Shape `(coils, spokes, samples)`.
    trajectory
        (kx, ky) in cycles/FOV. Shape `(spokes, samples, 2)`.
    matrix
        Voxels along x and along y.

    Returns
    -------
        Images. Shape `(coils, y, x)`.
    """
    check_shape("samples", samples, "coils spokes samples", check_shape("trajectory", trajectory, "spokes samples 2"))
    shape = (samples.shape[0], matrix, matrix)
    coordinates = _coordinates(trajectory, matrix)
    images = sigpy.nufft_adjoint(samples, coordinates, oshape=shape, oversamp=_oversampling(matrix), width=KERNEL_WIDTH)
    unscaled: Complex = (images * np.float32(matrix)).astype(np.complex64, copy=False)
    return unscaled


def _oversampling(matrix: int) -> float:
    return oversampled_grid(matrix) / matrix


def _coordinates(trajectory: Float, matrix: int) -> Float:
    """(ky, kx) as sigpy wants it, refused beyond the grid where sigpy would silently wrap around."""
    check_shape("trajectory", trajectory, "spokes samples 2")
    furthest = float(np.abs(trajectory).max())
    if not furthest <= matrix / 2 + 1e-3:
        raise ValueError(f"trajectory reaches {furthest:g} cycles/FOV, a matrix of {matrix} holds {matrix / 2:g}.")
    return np.ascontiguousarray(trajectory[..., ::-1])
