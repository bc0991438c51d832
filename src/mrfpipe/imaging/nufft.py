"""Non-uniform Fourier transform between images and k-space samples, by sigpy or finufft. The only user of sigpy.

Convention, for images `(..., y, x)` with N voxels along either axis and x, y counted from the centre voxel ``N // 2``,
and for k in cycles/FOV given as (kx, ky)::

    nufft:          s(k)    = sum over x, y of m(y, x) exp(-2 pi i (kx x + ky y) / N)
    nufft_adjoint:  m(y, x) = sum over k    of s(k)    exp(+2 pi i (kx x + ky y) / N)

Neither transform is scaled, and both backends follow this convention. The sigpy backend interpolates samples as sigpy
does (Fessler and Sutton, IEEE Trans Signal Process 51:560, 2003, with the kernel of Beatty et al., IEEE Trans Med
Imaging 24:799, 2005), but by `mrfpipe.imaging.gridding`, which evaluates the kernel once for all coils. The FFT is
scipy's, which is multithreaded, on a grid whose size has small prime factors. The zero frequency stays in the corner of
the grid, so that no shift is needed; alternating signs of the kernel weights centre the image. This module is for the
CPU, `mrfpipe.imaging.nufft_torch` for a GPU.

The number of threads is what `numba.set_num_threads` has set for the calling thread. Sigpy is imported where it is
used, because importing it takes as long as importing torch and most scans do not need it.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
import scipy.fft
from numba import get_num_threads, njit

from mrfpipe.arrays import Complex, Float, check_shape
from mrfpipe.imaging import nufft_finufft
from mrfpipe.imaging.gridding import Taps, grid_samples, hat, interpolate, kaiser_bessel

Backend = Literal["sigpy", "finufft"]
"""NUFFT library. The error is 3e-3 for sigpy and 1e-4 for finufft."""

KERNEL_WIDTH = 6
LEAST_OVERSAMPLING = 1.095
"""Least oversampling of the grid. A kernel of width 4 with oversampling 1.25 has twice the error, and its FFT takes a
third longer."""


def oversampled_grid(matrix: int) -> int:
    """Smallest sufficiently large grid with a fast FFT (even, small prime factors); 384 for a matrix of 350."""
    half = int(np.ceil(matrix * LEAST_OVERSAMPLING / 2))
    return 2 * int(scipy.fft.next_fast_len(half))


def nufft(images: Complex, trajectory: Float, *, backend: Backend = "sigpy") -> Complex:
    """Sample the Fourier transform of images.

    Parameters
    ----------
    images
        Shape `(coils, y, x)` with as many rows as columns.
    trajectory
        (kx, ky) in cycles/FOV. Shape `(readouts, samples, 2)`.
    backend
        NUFFT library.

    Returns
    -------
        Shape `(coils, readouts, samples)`.

    Raises
    ------
    ResourceError
        If the backend is not installed.
    """
    matrix = check_shape("images", images, "coils y x", {"y": images.shape[-1]})["x"]
    _check_trajectory(trajectory, matrix)
    if backend == "finufft":
        return nufft_finufft.forward(images, trajectory)
    grids = np.zeros((len(images), *[oversampled_grid(matrix)] * 2), np.complex64)
    _middle(grids, matrix)[:] = images * _apodization(matrix)
    grids = scipy.fft.fft2(grids, overwrite_x=True, workers=get_num_threads())
    samples: Complex = interpolate(grids, _taps(trajectory, matrix))
    return samples.reshape(len(images), *trajectory.shape[:2])


def nufft_adjoint(samples: Complex, trajectory: Float, matrix: int, *, backend: Backend = "sigpy") -> Complex:
    """Sum samples into images: the adjoint of `nufft`.

    Parameters
    ----------
    samples
        Shape `(coils, readouts, samples)`.
    trajectory
        (kx, ky) in cycles/FOV. Shape `(readouts, samples, 2)`.
    matrix
        Voxels along x and along y.
    backend
        NUFFT library.

    Returns
    -------
        Shape `(coils, y, x)`.

    Raises
    ------
    ResourceError
        If the backend is not installed.
    """
    _check_samples(samples, trajectory, matrix)
    if backend == "finufft":
        return nufft_finufft.adjoint(samples, trajectory, matrix)
    grids = _transformed(samples, _taps(trajectory, matrix))
    images: Complex = _middle(grids, matrix) * _apodization(matrix)
    return images


def combined_adjoint(samples: Complex, trajectory: Float, maps: Complex, *, backend: Backend = "sigpy") -> Complex:
    """Coil-combined adjoint: `combine_coils` of `nufft_adjoint`, without the images of all coils in memory.

    Parameters
    ----------
    samples, trajectory, backend
        As for `nufft_adjoint`, with the same errors.
    maps
        Coil sensitivities. Shape `(coils, y, x)` with as many rows as columns.

    Returns
    -------
        Shape `(y, x)`.
    """
    matrix = maps.shape[-1]
    check_shape("maps", maps, "coils y x", {"coils": len(samples), "y": matrix})
    _check_samples(samples, trajectory, matrix)
    if backend == "finufft":
        return combine_coils(nufft_finufft.adjoint(samples, trajectory, matrix), maps)
    taps, image = _taps(trajectory, matrix), np.zeros((matrix, matrix), np.complex64)
    for coil, sensitivity in zip(samples, maps, strict=True):  # one by one, so that a grid stays in the cache
        _combine(_transformed(coil[None], taps), sensitivity[None], image)
    image *= _apodization(matrix)
    return image


def combine_coils(images: Complex, maps: Complex) -> Complex:
    """Project coil images on the maps: ``sum over coils of conj(map) image``. Shape `(coils, y, x)` to `(y, x)`."""
    check_shape("maps", maps, "coils y x", check_shape("images", images, "coils y x"))
    combined = np.zeros(images.shape[1:], np.complex64)
    _combine(np.ascontiguousarray(images), np.ascontiguousarray(maps), combined)
    return combined


def cell_sums(weights: Float, trajectory: Float, matrix: int) -> Float:
    """Sum the weights of the samples within about a cycle/FOV of every sample.

    Weights are gridded with a hat kernel on the Cartesian grid of the matrix and interpolated back. If they are areas
    of k-space, in (cycles/FOV)^2 over the matrix squared, the sums are 1 where samples lie no further apart than that
    grid.

    Parameters
    ----------
    weights
        Shape `(readouts, samples)`.
    trajectory
        (kx, ky) in cycles/FOV. Shape `(readouts, samples, 2)`.
    matrix
        Voxels along x and along y.

    Returns
    -------
        Shape `(readouts, samples)`.
    """
    check_shape("weights", weights, "readouts samples", check_shape("trajectory", trajectory, "readouts samples 2"))
    # Opposite edges are neighbours: for an image of this matrix, they are the same frequency.
    taps = hat(trajectory.reshape(-1, 2)[:, ::-1], matrix)
    sums: Float = interpolate(grid_samples(weights.reshape(1, -1), taps), taps)
    return sums.reshape(weights.shape) * np.float32(matrix**2)


def espirit_maps(kspace: Complex, calibration: int) -> Complex:
    """Compute sensitivities from Cartesian k-space by ESPIRiT: one set of maps, not cropped.

    Parameters
    ----------
    kspace
        K-space with the zero frequency at sample ``N // 2`` of either axis. Shape `(coils, ky, kx)`.
    calibration
        Samples along kx and ky of the fully sampled centre.

    Returns
    -------
        Maps of arbitrary scale and common phase in every voxel. Shape `(coils, y, x)`.
    """
    from sigpy.mri import app

    maps: Complex = app.EspiritCalib(kspace, calib_width=calibration, crop=0, show_pbar=False).run()
    return maps


def jsense_maps(kspace: Complex, calibration: int) -> Complex:
    """Compute sensitivities by JSENSE, which fits image and smooth coil maps jointly to the centre of k-space.

    Parameters
    ----------
    kspace
        As for `espirit_maps`. Shape `(coils, ky, kx)`.
    calibration
        Samples along kx and ky of the central calibration region.

    Returns
    -------
        Maps of arbitrary scale and common phase in every voxel. Shape `(coils, y, x)`.
    """
    from sigpy.mri import app

    maps: Complex = app.JsenseRecon(kspace, ksp_calib_width=calibration, show_pbar=False).run()
    return maps


def _check_samples(samples: Complex, trajectory: Float, matrix: int) -> None:
    check_shape(
        "samples", samples, "coils readouts samples", check_shape("trajectory", trajectory, "readouts samples 2")
    )
    _check_trajectory(trajectory, matrix)


def _check_trajectory(trajectory: Float, matrix: int) -> None:
    check_shape("trajectory", trajectory, "readouts samples 2")
    check_reach(float(np.abs(trajectory).max()), matrix)


def check_reach(furthest: float, matrix: int) -> None:
    """Raise ValueError if k-space reaches beyond the grid, where it would wrap; `furthest` is in cycles/FOV."""
    if not furthest <= matrix / 2 + 1e-3:
        raise ValueError(f"trajectory reaches {furthest:g} cycles/FOV, a matrix of {matrix} holds {matrix / 2:g}.")


def _transformed(samples: Complex, taps: Taps) -> Complex:
    """Return grids with the images in the middle, still multiplied by the Fourier transform of the kernel."""
    grids = grid_samples(samples.reshape(len(samples), -1), taps)
    transformed: Complex = scipy.fft.ifft2(grids, norm="forward", overwrite_x=True, workers=get_num_threads())
    return transformed


def _middle(grids: Complex, matrix: int) -> Complex:
    """Return the central part of the grids, which holds the images."""
    first = grids.shape[-1] // 2 - matrix // 2
    return grids[:, first : first + matrix, first : first + matrix]


def _points(trajectory: Float, matrix: int) -> Float:
    """(ky, kx) of all samples in points of the grid, whose zero frequency is in the corner. Shape `(samples, 2)`."""
    return trajectory.reshape(-1, 2)[:, ::-1] * np.float32(oversampled_grid(matrix) / matrix)


def _taps(trajectory: Float, matrix: int) -> Taps:
    """Return the kernel at all samples, with signs that alternate over the grid and so centre the image."""
    first, weights, size = kaiser_bessel(
        _points(trajectory, matrix), oversampled_grid(matrix), KERNEL_WIDTH, _shape(matrix)
    )
    signs = np.float32(1) - 2 * (np.arange(KERNEL_WIDTH + 1, dtype=np.float32) % 2)
    return Taps(first, weights * np.where(first[..., None] % 2 == 0, signs, -signs), size)


def _shape(matrix: int) -> float:
    """Shape of the Kaiser-Bessel kernel with the least error (Beatty et al., equation 5)."""
    oversampling = oversampled_grid(matrix) / matrix
    return float(np.pi * np.sqrt((KERNEL_WIDTH / oversampling * (oversampling - 0.5)) ** 2 - 0.8))


@lru_cache(maxsize=8)
def _apodization(matrix: int) -> Float:
    """Invert the Fourier transform of the kernel. Shape `(y, x)`."""
    voxel = np.arange(matrix) - matrix // 2
    root = np.sqrt(_shape(matrix) ** 2 - (np.pi * KERNEL_WIDTH * voxel / oversampled_grid(matrix)) ** 2)
    inverse = root / np.sinh(root) / KERNEL_WIDTH
    apodization: Float = np.outer(inverse, inverse).astype(np.float32)
    apodization.flags.writeable = False
    return apodization


@njit(cache=True, nogil=True)
def _combine(grids: Complex, maps: Complex, combined: Complex) -> None:
    """Add coil images, which are in the middle of the grids or fill them, to the coil combination."""
    n_y, n_x = combined.shape
    above, left = grids.shape[1] // 2 - n_y // 2, grids.shape[2] // 2 - n_x // 2
    for y in range(n_y):
        row = combined[y]
        for coil in range(len(maps)):
            image, sensitivity = grids[coil, above + y, left : left + n_x], maps[coil, y]
            for x in range(n_x):
                row[x] += sensitivity[x].conjugate() * image[x]
