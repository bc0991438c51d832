"""Density compensation of radial k-space: the area of k-space each sample stands for.

For n spokes evenly spread over half a turn, a sample at radius k stands for a ring segment of ``pi k dk / n``, and the
n samples at the centre share a disc of radius dk / 2. Weights are divided by the matrix squared, so that the adjoint
NUFFT of weighted, fully sampled data is the image itself.
"""

from typing import Literal

import numpy as np

from mrfpipe.arrays import Float, check_shape
from mrfpipe.imaging.nufft import Backend, nufft, nufft_adjoint

DensityMethod = Literal["ramp", "pipe-menon"]
"""How the weights of samples are found."""


def sample_density(trajectory: Float, matrix: int, method: DensityMethod, *, backend: Backend = "sigpy") -> Float:
    """Compute the area of every sample by `ramp_weights` or `pipe_menon_weights`. Shape `(spokes, samples)`."""
    if method == "ramp":
        return ramp_weights(trajectory, matrix)
    return pipe_menon_weights(trajectory, matrix, backend=backend)


def ramp_weights(trajectory: Float, matrix: int) -> Float:
    """Compute the area of every sample of evenly spread straight spokes.

    Parameters
    ----------
    trajectory
        (kx, ky) in cycles/FOV. Shape `(spokes, samples, 2)`.
    matrix
        Voxels along x and along y.

    Returns
    -------
        Area in (cycles/FOV)^2 over the matrix squared. Shape `(spokes, samples)`.
    """
    n_spokes = check_shape("trajectory", trajectory, "spokes samples 2")["spokes"]
    radius = np.hypot(trajectory[..., 0], trajectory[..., 1])
    spacing = np.hypot(*np.moveaxis(trajectory[:, -1] - trajectory[:, 0], -1, 0))[:, None] / (trajectory.shape[1] - 1)
    ring = np.pi * radius * spacing / n_spokes
    centre = np.pi * (spacing / 2) ** 2 / n_spokes
    weights: Float = (np.maximum(ring, centre) / matrix**2).astype(np.float32)
    return weights


def pipe_menon_weights(trajectory: Float, matrix: int, *, n_iterations: int = 10, backend: Backend = "sigpy") -> Float:
    """Compute the area of every sample of any trajectory by iteration (Pipe and Menon, Magn Reson Med 41:179, 1999).

    Weights are divided, time and again, by what they add up to at the samples when seen through the field of view:
    ``w <- w / |nufft(nufft_adjoint(w))|``. They start as those of spokes, which `ramp_weights` knows at once and which
    the iteration hardly changes; it is for trajectories that only resemble evenly spread spokes. With a few spokes it
    ends with weights that are nearly equal away from the centre, as there no sample has a neighbour.

    Parameters
    ----------
    trajectory
        (kx, ky) in cycles/FOV. Shape `(spokes, samples, 2)`.
    matrix
        Voxels along x and along y.
    n_iterations
        How often to divide. Each takes two transforms.
    backend
        What computes the transforms.

    Returns
    -------
        Area in (cycles/FOV)^2 over the matrix squared. Shape `(spokes, samples)`.
    """
    weights = ramp_weights(trajectory, matrix).astype(np.complex64)[None]
    for _ in range(n_iterations):
        blurred = nufft(nufft_adjoint(weights, trajectory, matrix, backend=backend), trajectory, backend=backend)
        weights /= np.abs(blurred)
    areas: Float = weights[0].real
    return areas
