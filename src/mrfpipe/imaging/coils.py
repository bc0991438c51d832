"""Receive coils: noise prewhitening, and sensitivity maps from the centre of k-space."""

import numpy as np
import scipy.linalg

from mrfpipe.arrays import Complex, Float, check_shape
from mrfpipe.errors import InputError
from mrfpipe.imaging.density import ramp_weights
from mrfpipe.imaging.nufft import nufft_adjoint

CALIBRATION_RADIUS = 12.0
"""Radius in cycles/FOV of the part of k-space that coil maps are made from; 38 spokes sample it fully."""

LEAST_NOISE = 1e-6
"""Least over greatest eigenvalue of a noise covariance that can be inverted in float32."""


def prewhiten(kspace: Complex, noise: Complex | None) -> Complex:
    """Mix the coils so that their noise is white and of unit variance.

    Parameters
    ----------
    kspace
        Shape `(coils, spokes, samples)`.
    noise
        A measurement without signal, shape `(coils, readings)`; without one the k-space is returned as it is.

    Returns
    -------
        ``L^-1 kspace`` with ``L L' `` the noise covariance. Shape `(coils, spokes, samples)`.

    Raises
    ------
    InputError
        If the noise has too few readings or a coil is silent, so that its covariance cannot be inverted.
    """
    if noise is None:
        return kspace
    sizes = check_shape("kspace", kspace, "coils spokes samples")
    n_readings = check_shape("noise", noise, "coils readings", {"coils": sizes["coils"]})["readings"]
    covariance = (noise @ noise.conj().T).astype(np.complex128) / n_readings
    spread = np.linalg.eigvalsh(covariance)
    if n_readings < sizes["coils"] or spread[0] <= LEAST_NOISE * spread[-1]:
        raise InputError(
            f"The noise scan ({n_readings} readings, {sizes['coils']} coils) has a silent coil or too few readings to "
            "whiten with; remove it from the file to go on without prewhitening."
        )
    factor = np.linalg.cholesky(covariance)
    unmix = scipy.linalg.solve_triangular(factor, np.eye(sizes["coils"]), lower=True).astype(np.complex64)
    whitened: Complex = np.tensordot(unmix, kspace, 1)
    return whitened


def estimate_coil_maps(kspace: Complex, trajectory: Float, matrix: int) -> Complex:
    """Estimate sensitivities from the low-resolution image of all spokes together.

    Each coil's image of the Hann-windowed centre of k-space is divided by their root sum of squares. The phase of that
    image stays in the maps, so that coil-combined images have a smooth phase near zero.

    Parameters
    ----------
    kspace
        All spokes of a slice. Shape `(coils, spokes, samples)`.
    trajectory
        (kx, ky) in cycles/FOV. Shape `(spokes, samples, 2)`.
    matrix
        Voxels along x and along y.

    Returns
    -------
        Maps with unit root sum of squares, zero where no coil sees anything. Shape `(coils, y, x)`.
    """
    middle = _central_samples(trajectory)
    trajectory = trajectory[:, middle]
    radius = np.hypot(trajectory[..., 0], trajectory[..., 1])
    window = np.where(radius < CALIBRATION_RADIUS, np.cos(0.5 * np.pi * radius / CALIBRATION_RADIUS) ** 2, 0)
    weights = (window * ramp_weights(trajectory, matrix)).astype(np.float32)
    images = nufft_adjoint(np.ascontiguousarray(kspace[:, :, middle] * weights), trajectory, matrix)
    total = np.sqrt(np.sum(np.abs(images) ** 2, axis=0))
    maps: Complex = np.divide(images, total, out=np.zeros_like(images), where=total > 0)
    return maps


def _central_samples(trajectory: Float) -> slice:
    """Find the samples of a spoke that any spoke has within the calibration radius."""
    radius = np.hypot(trajectory[..., 0], trajectory[..., 1]).min(axis=0)
    inside = np.flatnonzero(radius < CALIBRATION_RADIUS)
    return slice(int(inside[0]), int(inside[-1]) + 1)


def combine_coils(images: Complex, maps: Complex) -> Complex:
    """Project coil images on the maps: ``sum over coils of conj(map) image``. Shape `(coils, y, x)` to `(y, x)`."""
    combined: Complex = np.einsum("cyx,cyx->yx", maps.conj(), images)
    return combined
