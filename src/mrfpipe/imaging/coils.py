"""Receive coils: noise prewhitening, compression, and sensitivity maps from the centre of k-space."""

from functools import partial
from typing import Literal

import numpy as np
import scipy.linalg
import torch

from mrfpipe.arrays import Complex, Float, check_shape
from mrfpipe.errors import InputError
from mrfpipe.imaging.density import Weights, ramp_weights
from mrfpipe.imaging.nufft import Backend, combine_coils, espirit_maps, jsense_maps
from mrfpipe.imaging.nufft_torch import adjoint_on

CPU = torch.device("cpu")
MapMethod = Literal["centre", "espirit", "jsense"]
"""How sensitivities are estimated."""

CALIBRATION_RADIUS = 12.0
"""Radius in cycles/FOV of the part of k-space that coil maps are made from; 38 spokes sample it fully."""

EDGE = 0.04
"""Share of the samples, at the edge of k-space, that serve as noise instead of a noise scan."""

LEAST_NOISE = 1e-6
"""Smallest ratio of least to greatest eigenvalue at which a noise covariance can be inverted in float32."""


def prewhiten(kspace: Complex, noise: Complex | None) -> Complex:
    """Prewhiten the coils to noise of unit variance: return ``L^-1 kspace``, where ``L L'`` is the noise covariance.

    K-space has shape `(coils, readouts, samples)`. `noise` is a measurement without signal, shape `(coils, readings)`;
    without it, k-space is returned unchanged. InputError if the covariance cannot be inverted because there are too few
    readings or a coil is silent.
    """
    if noise is None:
        return kspace
    sizes = check_shape("kspace", kspace, "coils readouts samples")
    n_readings = check_shape("noise", noise, "coils readings", {"coils": sizes["coils"]})["readings"]
    covariance = (noise @ noise.conj().T).astype(np.complex128) / n_readings
    spread = np.linalg.eigvalsh(covariance)
    if n_readings < sizes["coils"] or spread[0] <= LEAST_NOISE * spread[-1]:
        raise InputError(
            f"The noise scan ({n_readings} readings, {sizes['coils']} coils) has a silent coil or too few readings to "
            "prewhiten with; remove it from the file to continue without prewhitening."
        )
    factor = np.linalg.cholesky(covariance)
    unmix = scipy.linalg.solve_triangular(factor, np.eye(sizes["coils"]), lower=True).astype(np.complex64)
    whitened: Complex = np.tensordot(unmix, kspace, 1)
    return whitened


def describe_noise(noise: Complex) -> dict[str, float]:
    """Summarise how unequal and how correlated the noise of the coils is, which prewhitening corrects.

    For a measurement without signal, shape `(coils, readings)`, return the smallest and the largest standard deviation
    of a coil, relative to the mean over the coils, and the largest correlation between two coils.
    """
    covariance = noise @ noise.conj().T / noise.shape[1]
    deviation = np.sqrt(np.diag(covariance).real)
    correlation = np.abs(covariance) / np.outer(deviation, deviation)
    np.fill_diagonal(correlation, 0.0)
    return {
        "least": float(deviation.min() / deviation.mean()),
        "most": float(deviation.max() / deviation.mean()),
        "largest correlation": float(correlation.max()),
    }


def edge_noise(kspace: Complex, trajectory: Float) -> Complex:
    """Return the samples at the edge of k-space, a share `EDGE`, in place of a noise scan. Shape `(coils, readings)`.

    Any signal there, less than anywhere else in k-space, counts as noise. This approximation is good for noisy scans;
    with little noise, it gives the strong coils a little less weight than they should have. K-space and trajectory are
    as for `estimate_coil_maps`.
    """
    check_shape("kspace", kspace, "coils readouts samples", check_shape("trajectory", trajectory, "readouts samples 2"))
    radius = np.hypot(trajectory[..., 0], trajectory[..., 1])
    readings: Complex = kspace[:, radius >= np.quantile(radius, 1 - EDGE)]
    return readings


def compress_coils(kspace: Complex, n_virtual: int) -> tuple[Complex, float]:
    """Compress many coils into few virtual ones by singular value decomposition of all samples.

    White noise stays white. Geometric coil compression (Zhang et al., Magn Reson Med 69:571, 2013) compresses each
    position along a fully sampled readout separately. It does not apply to spokes: each has its own readout direction,
    so that one position along the readout is a different line through the object on every spoke.

    Parameters
    ----------
    kspace
        Prewhitened. Shape `(coils, readouts, samples)`.
    n_virtual
        How many coils to keep.

    Returns
    -------
        The k-space of the virtual coils, the strongest first, shape `(coils, readouts, samples)`, and the share of the
        energy (sum of squares) that they hold.

    Raises
    ------
    ValueError
        If `n_virtual` is not from 1 to the number of coils.
    """
    n_coils = check_shape("kspace", kspace, "coils readouts samples")["coils"]
    if not 1 <= n_virtual <= n_coils:
        raise ValueError(f"{n_coils} coils cannot be compressed into {n_virtual}.")
    flat = kspace.reshape(n_coils, -1)
    energies, mixtures = np.linalg.eigh((flat @ flat.conj().T).astype(np.complex128))
    strongest = mixtures[:, ::-1][:, :n_virtual].conj().T.astype(np.complex64)
    total = energies.sum()
    energy = float(energies[::-1][:n_virtual].sum() / total) if total > 0 else 1.0
    return np.tensordot(strongest, kspace, 1), energy


def estimate_coil_maps(
    kspace: Complex,
    trajectory: Float,
    matrix: int,
    *,
    method: MapMethod = "centre",
    weights: Weights = ramp_weights,
    backend: Backend = "sigpy",
    device: torch.device = CPU,
) -> Complex:
    """Estimate sensitivities from the centre of k-space of all readouts together.

    ``centre`` divides the low-resolution image of each coil, from the Hann-windowed centre of k-space, by the root sum
    of squares of all coils. ``espirit`` (Uecker et al., Magn Reson Med 71:990, 2014) and ``jsense`` (Ying and Sheng,
    Magn Reson Med 57:1196, 2007) are calibrated on the Cartesian centre of k-space, the Fourier transform of the
    gridded readouts. With every method, the common phase of the maps is that of the low-resolution images, so that
    coil-combined images have a smooth phase near zero.

    Parameters
    ----------
    kspace
        All readouts of a slice. Shape `(coils, readouts, samples)`.
    trajectory, matrix, backend
        As for `mrfpipe.imaging.nufft.nufft_adjoint`.
    method
        How to estimate them.
    weights
        Function that computes the density compensation weights.
    device
        Where to compute the NUFFT; on a GPU, torch is used whatever the backend.

    Returns
    -------
        Maps with unit root sum of squares, zero where no coil sees anything. Shape `(coils, y, x)`.
    """
    central = partial(_central_images, kspace, trajectory, matrix, weights=weights, backend=backend, device=device)
    low = central(CALIBRATION_RADIUS, windowed=True)
    if method == "centre" or not low.any():
        return _normalised(low)
    # The corners of the square calibration region lie at this radius.
    full = central(CALIBRATION_RADIUS * np.sqrt(2), windowed=False)
    cartesian = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(full, (-2, -1))), (-2, -1)).astype(np.complex64)
    estimate = espirit_maps if method == "espirit" else jsense_maps
    maps = estimate(cartesian, int(2 * CALIBRATION_RADIUS))
    return _normalised(maps * np.exp(1j * np.angle(combine_coils(low, maps))))


def _central_images(
    kspace: Complex,
    trajectory: Float,
    matrix: int,
    radius: float,
    *,
    windowed: bool,
    weights: Weights,
    backend: Backend,
    device: torch.device,
) -> Complex:
    """Reconstruct coil images from k-space up to a radius in cycles/FOV, with or without a Hann window."""
    distance = np.hypot(trajectory[..., 0], trajectory[..., 1])
    inside = np.flatnonzero(distance.min(axis=0) < radius)
    middle = slice(int(inside[0]), int(inside[-1]) + 1)
    trajectory, distance = trajectory[:, middle], distance[:, middle]
    window = np.where(distance < radius, np.cos(0.5 * np.pi * distance / radius) ** 2 if windowed else 1, 0)
    weighted = np.ascontiguousarray(kspace[:, :, middle] * (window * weights(trajectory, matrix)).astype(np.float32))
    images: Complex = adjoint_on(device, weighted, trajectory, matrix, backend=backend).cpu().numpy()
    return images


def _normalised(maps: Complex) -> Complex:
    """Scale maps to unit root sum of squares, leaving zeros."""
    total = np.sqrt(np.sum(np.abs(maps) ** 2, axis=0))
    scaled: Complex = np.divide(
        maps, total, out=np.zeros(maps.shape, np.complex64), where=total > 0, casting="same_kind"
    )
    return scaled
