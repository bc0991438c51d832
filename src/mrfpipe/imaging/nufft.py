"""Non-uniform Fourier transform between images and k-space samples, by sigpy or finufft. The only user of sigpy.

Convention, for images `(..., y, x)` with N voxels along either axis and x, y counted from the centre voxel ``N // 2``,
and for k in cycles/FOV given as (kx, ky)::

    nufft:          s(k)    = sum over x, y of m(y, x) exp(-2 pi i (kx x + ky y) / N)
    nufft_adjoint:  m(y, x) = sum over k    of s(k)    exp(+2 pi i (kx x + ky y) / N)

Neither is scaled, and both backends keep to it. By sigpy samples are interpolated as sigpy does (Fessler and Sutton,
IEEE Trans Signal Process 51:560, 2003, with the kernel of Beatty et al., IEEE Trans Med Imaging 24:799, 2005), by
`mrfpipe.imaging.gridding`. The FFT is scipy's, which has threads, on a grid with small prime factors; its zero
frequency stays in the corner, so that nothing is shifted, and an alternating sign of the weights puts the image in the
middle. The kernel is evaluated once for all coils. This is for the CPU; `mrfpipe.imaging.nufft_torch` is for a GPU.

Threads are those that `numba.set_num_threads` gives the calling thread. Sigpy is imported where it is used: with all
that it imports it takes as long as torch, and most scans need none of it.
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
"""What computes the transform: sigpy errs by 3e-3, finufft by 1e-4."""

KERNEL_WIDTH = 6
LEAST_OVERSAMPLING = 1.095
"""Of the grid. A kernel 4 wide on a grid 1.25 times the matrix errs twice as much, and its FFT takes a third longer."""


def oversampled_grid(matrix: int) -> int:
    """Least grid large enough for the matrix whose FFT is fast (even, small prime factors); 384 for 350."""
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
        What computes it.

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
        What computes it.

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
    """Sum samples into one image of all coils: `combine_coils` of `nufft_adjoint`, without images of every coil.

    Parameters
    ----------
    samples, trajectory, backend
        As for `nufft_adjoint`, and so are errors.
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

    Gridding with a hat on the Cartesian grid of the matrix, and interpolation back. Weights that are areas of k-space,
    in (cycles/FOV)^2 over the matrix squared, sum to 1 where samples lie no further apart than on that grid.

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
    # Opposite edges are neighbours, as to an image of so many voxels they are the same frequency.
    taps = hat(trajectory.reshape(-1, 2)[:, ::-1], matrix)
    sums: Float = interpolate(grid_samples(weights.reshape(1, -1), taps), taps)
    return sums.reshape(weights.shape) * np.float32(matrix**2)


def espirit_maps(kspace: Complex, calibration: int) -> Complex:
    """Compute sensitivities from Cartesian k-space by ESPIRiT, one set of maps, nowhere cropped.

    Parameters
    ----------
    kspace
        Its zero frequency is the sample ``N // 2`` of either axis. Shape `(coils, ky, kx)`.
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
    """Compute sensitivities by JSENSE: the image and the smooth coils that together explain the centre of k-space.

    Parameters
    ----------
    kspace
        As for `espirit_maps`. Shape `(coils, ky, kx)`.
    calibration
        Samples along kx and ky of the centre that is looked at.

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
    """Refuse k-space beyond the grid, where a transform would silently wrap around; it reaches so many cycles/FOV."""
    if not furthest <= matrix / 2 + 1e-3:
        raise ValueError(f"trajectory reaches {furthest:g} cycles/FOV, a matrix of {matrix} holds {matrix / 2:g}.")


def _transformed(samples: Complex, taps: Taps) -> Complex:
    """Return grids in whose middle the images are, but times the Fourier transform of the kernel."""
    grids = grid_samples(samples.reshape(len(samples), -1), taps)
    transformed: Complex = scipy.fft.ifft2(grids, norm="forward", overwrite_x=True, workers=get_num_threads())
    return transformed


def _middle(grids: Complex, matrix: int) -> Complex:
    """Return the part of grids that holds images, whose centre is theirs."""
    first = grids.shape[-1] // 2 - matrix // 2
    return grids[:, first : first + matrix, first : first + matrix]


def _points(trajectory: Float, matrix: int) -> Float:
    """(ky, kx) of all samples in points of the grid, whose zero frequency is in the corner. Shape `(samples, 2)`."""
    return trajectory.reshape(-1, 2)[:, ::-1] * np.float32(oversampled_grid(matrix) / matrix)


def _taps(trajectory: Float, matrix: int) -> Taps:
    """Return the points of the kernel, with signs that alternate over the grid: they move its image to the middle."""
    first, weights, size = kaiser_bessel(
        _points(trajectory, matrix), oversampled_grid(matrix), KERNEL_WIDTH, _shape(matrix)
    )
    signs = np.float32(1) - 2 * (np.arange(KERNEL_WIDTH + 1, dtype=np.float32) % 2)
    return Taps(first, weights * np.where(first[..., None] % 2 == 0, signs, -signs), size)


def _shape(matrix: int) -> float:
    """Shape of the Kaiser-Bessel kernel that errs least (Beatty et al., equation 5)."""
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
    """Add to the combination of coils, whose images are in the middle of grids or fill them."""
    n_y, n_x = combined.shape
    above, left = grids.shape[1] // 2 - n_y // 2, grids.shape[2] // 2 - n_x // 2
    for y in range(n_y):
        row = combined[y]
        for coil in range(len(maps)):
            image, sensitivity = grids[coil, above + y, left : left + n_x], maps[coil, y]
            for x in range(n_x):
                row[x] += sensitivity[x].conjugate() * image[x]
