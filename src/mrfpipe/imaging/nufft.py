"""Non-uniform Fourier transform between images and k-space samples, by sigpy or finufft. The only user of sigpy.

Convention, for images `(..., y, x)` with N voxels along either axis and x, y counted from the centre voxel ``N // 2``,
and for k in cycles/FOV given as (kx, ky)::

    nufft:          s(k)    = sum over x, y of m(y, x) exp(-2 pi i (kx x + ky y) / N)
    nufft_adjoint:  m(y, x) = sum over k    of s(k)    exp(+2 pi i (kx x + ky y) / N)

Neither is scaled, and both backends keep to it. Of sigpy's transform (Fessler and Sutton, IEEE Trans Signal Process
51:560, 2003, with the kernel of Beatty et al., IEEE Trans Med Imaging 24:799, 2005) the interpolation is used. The FFT
is scipy's, which has threads, on a grid with small prime factors; its zero frequency stays in the corner, so that
nothing is shifted. Arrays of CuPy are transformed on their GPU. All coils are one batch: the kernel is evaluated once.

Threads are those that `numba.set_num_threads` gives the calling thread. Sigpy is imported where it is used: with all
that it imports it takes as long as torch, and what matches ready images needs none of it.
"""

from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.fft
from numba import get_num_threads

from mrfpipe.arrays import Complex, Float, check_shape
from mrfpipe.imaging import nufft_finufft

Backend = Literal["sigpy", "finufft"]
"""What computes the transform: sigpy errs by 6e-3, finufft by 1e-4."""

KERNEL_WIDTH = 4
LEAST_OVERSAMPLING = 1.25


def oversampled_grid(matrix: int) -> int:
    """Least grid of at least 1.25 times the matrix whose FFT is fast (even, small prime factors); 440 for 350."""
    half = int(np.ceil(matrix * LEAST_OVERSAMPLING / 2))
    return 2 * int(scipy.fft.next_fast_len(half))


def nufft(images: Complex, trajectory: Float, *, backend: Backend = "sigpy") -> Complex:
    """Sample the Fourier transform of images.

    Parameters
    ----------
    images
        Shape `(coils, y, x)` with as many rows as columns. NumPy or, for sigpy, CuPy.
    trajectory
        (kx, ky) in cycles/FOV. Shape `(readouts, samples, 2)`.
    backend
        What computes it.

    Returns
    -------
        Samples, where the images are. Shape `(coils, readouts, samples)`.

    Raises
    ------
    ResourceError
        If the backend is not installed.
    """
    import sigpy

    matrix = check_shape("images", images, "coils y x", {"y": images.shape[-1]})["x"]
    _check_reach(trajectory, matrix)
    if backend == "finufft":
        return nufft_finufft.forward(images, trajectory)
    grid = oversampled_grid(matrix)
    xp, apodization = sigpy.get_array_module(images), _apodization(matrix, grid, images)
    padded = xp.zeros((len(images), grid, grid), np.complex64)
    for (rows, from_rows), (columns, from_columns) in _quadrants(matrix, grid):
        part = (slice(None), from_rows, from_columns)
        padded[:, rows, columns] = images[part] * apodization[part[1:]]
    samples: Complex = sigpy.interpolate(
        _fourier(padded, "fft2"), _grid_points(trajectory, matrix, grid, images), **_kernel(matrix)
    )
    return samples


def nufft_adjoint(samples: Complex, trajectory: Float, matrix: int, *, backend: Backend = "sigpy") -> Complex:
    """Sum samples into images: the adjoint of `nufft`.

    Parameters
    ----------
    samples
        Shape `(coils, readouts, samples)`. NumPy or, for sigpy, CuPy.
    trajectory
        (kx, ky) in cycles/FOV. Shape `(readouts, samples, 2)`.
    matrix
        Voxels along x and along y.
    backend
        What computes it.

    Returns
    -------
        Images, where the samples are. Shape `(coils, y, x)`.

    Raises
    ------
    ResourceError
        If the backend is not installed.
    """
    import sigpy

    check_shape(
        "samples", samples, "coils readouts samples", check_shape("trajectory", trajectory, "readouts samples 2")
    )
    _check_reach(trajectory, matrix)
    if backend == "finufft":
        return nufft_finufft.adjoint(samples, trajectory, matrix)
    grid = oversampled_grid(matrix)
    xp, apodization = sigpy.get_array_module(samples), _apodization(matrix, grid, samples)
    points = _grid_points(trajectory, matrix, grid, samples)
    gridded = sigpy.gridding(samples, points, (len(samples), grid, grid), **_kernel(matrix))
    gridded = _fourier(gridded, "ifft2")
    images: Complex = xp.empty((len(samples), matrix, matrix), np.complex64)
    for (rows, to_rows), (columns, to_columns) in _quadrants(matrix, grid):
        part = (slice(None), to_rows, to_columns)
        xp.multiply(gridded[:, rows, columns], apodization[part[1:]], out=images[part])
    return images


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
    import sigpy

    check_shape("weights", weights, "readouts samples", check_shape("trajectory", trajectory, "readouts samples 2"))
    points = np.ascontiguousarray(trajectory[..., ::-1])
    hat = {"kernel": "spline", "width": 2, "param": 1}
    # Opposite edges are neighbours, as to an image of so many voxels they are the same frequency.
    sums: Float = sigpy.interpolate(sigpy.gridding(weights, points, (matrix, matrix), **hat), points, **hat)
    return sums * np.float32(matrix**2)


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


def _check_reach(trajectory: Float, matrix: int) -> None:
    """Refuse k-space beyond the grid, where both backends would silently wrap around."""
    check_shape("trajectory", trajectory, "readouts samples 2")
    furthest = float(np.abs(trajectory).max())
    if not furthest <= matrix / 2 + 1e-3:
        raise ValueError(f"trajectory reaches {furthest:g} cycles/FOV, a matrix of {matrix} holds {matrix / 2:g}.")


def _quadrants(matrix: int, grid: int) -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Say where the four quadrants of the grid, its zero in the corner, lie in the image: (grid, image) for y and x."""
    low, high = matrix // 2, matrix - matrix // 2
    halves = [(slice(0, high), slice(low, None)), (slice(grid - low, None), slice(0, low))]
    return [(rows, columns) for rows in halves for columns in halves]


def _fourier(grid: Complex, name: Literal["fft2", "ifft2"]) -> Complex:
    """Transform the last two axes, unscaled in either direction, where the grid is. Overwrites it."""
    import sigpy

    xp, norm = sigpy.get_array_module(grid), "backward" if name == "fft2" else "forward"
    if xp is np:
        transformed: Complex = getattr(scipy.fft, name)(grid, norm=norm, overwrite_x=True, workers=get_num_threads())
    else:
        transformed = getattr(xp.fft, name)(grid, norm=norm)
    return transformed


def _kernel(matrix: int) -> dict[str, Any]:
    return {"kernel": "kaiser_bessel", "width": KERNEL_WIDTH, "param": _shape(oversampled_grid(matrix) / matrix)}


def _shape(oversampling: float) -> float:
    """Shape of the Kaiser-Bessel kernel that errs least (Beatty et al., equation 5)."""
    return float(np.pi * np.sqrt((KERNEL_WIDTH / oversampling * (oversampling - 0.5)) ** 2 - 0.8))


@lru_cache(maxsize=8)
def _apodization_on_host(matrix: int, grid: int) -> Float:
    """Invert the Fourier transform of the kernel, which the image is multiplied by. Shape `(y, x)`."""
    voxel = np.arange(matrix) - matrix // 2
    root = np.sqrt(_shape(grid / matrix) ** 2 - (np.pi * KERNEL_WIDTH * voxel / grid) ** 2)
    inverse = root / np.sinh(root) / KERNEL_WIDTH
    apodization: Float = np.outer(inverse, inverse).astype(np.float32)
    apodization.flags.writeable = False
    return apodization


def _apodization(matrix: int, grid: int, like: npt.NDArray[Any]) -> Float:
    import sigpy

    apodization: Float = sigpy.to_device(_apodization_on_host(matrix, grid), sigpy.get_device(like))
    return apodization


def _grid_points(trajectory: Float, matrix: int, grid: int, like: npt.NDArray[Any]) -> Float:
    """(ky, kx) in points of the grid; those below zero wrap around, as its zero is in the corner."""
    import sigpy

    points: Float = sigpy.to_device(
        np.ascontiguousarray(trajectory[..., ::-1] * np.float32(grid / matrix)), sigpy.get_device(like)
    )
    return points
