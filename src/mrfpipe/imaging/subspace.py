"""Subspace reconstruction: the few coefficient images that explain all readouts of a slice, instead of its frames.

Signals lie in the span of the dictionary's basis, so that the unknowns are a few coefficient images x, measured by all
readouts together. The normal equations ``A' W A x = A' W s`` are solved by conjugate gradients (Zhao et al., Magn Reson
Med 79:933, 2018; Asslaender et al., Magn Reson Med 79:83, 2018). A combines the basis, the coil sensitivity maps and
the Fourier transform; W is the density compensation. Stopping after a few iterations regularises, because well-sampled
components converge first. Locally low-rank denoising follows; see `mrfpipe.imaging.lowrank`.
"""

from itertools import islice

import numpy as np
import torch
from torch import Tensor

from mrfpipe.arrays import Complex, Float, check_shape
from mrfpipe.imaging import nufft_torch
from mrfpipe.imaging.lowrank import denoise_low_rank
from mrfpipe.imaging.normal import Equations, conjugate_gradients
from mrfpipe.imaging.nufft import Backend, nufft_adjoint
from mrfpipe.imaging.toeplitz import toeplitz_kernels

N_ITERATIONS = 16
"""Iterations of conjugate gradients.

More iterations resolve more detail and amplify noise. On phantoms, within their support, errors with 24 iterations were
1 to 3 % smaller in a scan with the usual noise and 2 to 5 % larger in one with four times as much; with 12, they were 1
to 5 % larger and 1 to 3 % smaller, respectively. `benchmarks/subspace_settings.py` chose the rank of T1-FF, with 24
iterations and without a support.
"""
HEAP = 256 << 20
"""Bytes of freed memory that the allocator keeps: blocks below 32 MB fragment. 200 to 450 MB were seen."""
CPU = torch.device("cpu")


def subspace_kernels(
    trajectory: Float,
    density: Float,
    basis: Complex,
    readouts_per_frame: int,
    matrix: int,
    *,
    backend: Backend = "sigpy",
    device: torch.device = CPU,
) -> Tensor:
    """Compute the kernels for `normal_equations` on a device; they are the same for all slices.

    Parameters are those of that function. Shape `(rank, rank, 2 y, 2 x)`, complex64: 250 MB for rank 8 and a matrix of
    350.
    """
    weights = _weights(density, readouts_per_frame)
    return toeplitz_kernels(trajectory, weights, basis, matrix, backend=backend, device=device)


def subspace_memory(rank: int, matrix: int, n_samples: int) -> int:
    """Count the bytes that the reconstruction of coefficients takes at its peak, beside k-space and coil maps.

    Besides the kernels, this is the largest of three stages, which hold for every coefficient: two sets of samples and
    four grids to compute a row of kernels; three sets of samples to compute the right-hand side; six grids and eight
    images to iterate.

    `n_samples` are those of all readouts of a coil.
    """
    image, grid, samples = (np.dtype(np.complex64).itemsize * n for n in (matrix**2, (2 * matrix) ** 2, n_samples))
    return HEAP + rank**2 * grid + rank * max(2 * samples + 4 * grid, 3 * samples, 6 * grid + 8 * image)


def solve_subspace(equations: Equations, n_iterations: int = N_ITERATIONS, *, denoised: bool = True) -> Complex:
    """Solve normal equations by conjugate gradients; by default, denoise the solution by `denoise_low_rank`.

    Returns
    -------
        Coefficients ``c`` such that the frames are ``basis c``, in the units of frames; zero outside the box of the
        equations. Shape `(rank, y, x)`.
    """
    solution = torch.zeros_like(equations.right)
    for solution in islice(conjugate_gradients(equations.normal, equations.right), n_iterations):  # noqa: B007 - the last
        pass
    if denoised:
        solution = denoise_low_rank(solution)
    coefficients = np.zeros((len(solution), equations.matrix, equations.matrix), np.complex64)
    coefficients[:, *equations.box] = solution.cpu().numpy()
    return coefficients


def normal_equations(
    kspace: Complex,
    trajectory: Float,
    density: Float,
    maps: Complex,
    basis: Complex,
    readouts_per_frame: int,
    *,
    kernels: Tensor | None = None,
    backend: Backend = "sigpy",
    device: torch.device = CPU,
) -> Equations:
    """Set up the equations for the coefficients of a slice.

    Parameters
    ----------
    kspace, trajectory, density, maps, readouts_per_frame, backend
        As for `mrfpipe.imaging.frames.reconstruct_frames`.
    basis
        Temporal basis, whose means over the readouts of each frame are orthonormal. Shape `(readouts, rank)`.
    kernels
        From `subspace_kernels`, on the device; computed if not given.
    device
        Where to compute; on a GPU torch computes the NUFFT, too, whatever the backend.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    sizes = check_shape("trajectory", trajectory, "readouts samples 2")
    matrix = maps.shape[-1]
    sizes = check_shape("maps", maps, "coils y x", sizes | {"y": matrix})
    check_shape("density", density, "readouts samples", sizes)
    check_shape("kspace", kspace, "coils readouts samples", sizes)
    rank = check_shape("basis", basis, "readouts rank", sizes)["rank"]
    if kernels is None:
        kernels = subspace_kernels(
            trajectory, density, basis, readouts_per_frame, matrix, backend=backend, device=device
        )
    elif kernels.shape != (rank, rank, 2 * matrix, 2 * matrix):
        raise ValueError(f"Kernels have shape {tuple(kernels.shape)}, rank {rank} and matrix {matrix} need others.")
    weights = _weights(density, readouts_per_frame)
    sensitivities = torch.from_numpy(np.array(maps, np.complex64)).to(device)
    if nufft_torch.runs_on(device):
        right = _gathered_on(device, kspace, trajectory, weights, sensitivities, basis)
    else:
        right = torch.from_numpy(_gathered(kspace, trajectory, weights, maps, basis, backend))
    noise = summed_noise(weights, basis)
    return Equations(right=right, maps=sensitivities, kernels=kernels, noise=noise, matrix=matrix)


def summed_noise(weights: Float, basis: Complex) -> float:
    """Noise variance of the right-hand side, mean over coefficients, for white noise of unit variance in k-space.

    Shapes `(readouts, samples)` and `(readouts, rank)`.
    """
    return float(np.mean(np.sum(weights.astype(np.float64) ** 2, axis=1) @ np.abs(basis) ** 2))


def _weights(density: Float, readouts_per_frame: int) -> Float:
    """Weights of all samples, such that the normal operator of a slowly varying signal is about 1.

    All readouts together sample an image fully. Basis vectors have unit norm over the frames, so that a coefficient
    gets on average 1 over the number of frames of that sampling, which these weights make up for.
    """
    weights: Float = density * np.float32(len(density) // readouts_per_frame)
    return weights


def _gathered(
    kspace: Complex, trajectory: Float, weights: Float, maps: Complex, basis: Complex, backend: Backend
) -> Complex:
    """Right-hand side of the normal equations: weighted samples summed into coefficients. Shape `(rank, y, x)`."""
    matrix = maps.shape[-1]
    shares = basis.conj().T[:, :, None] * weights
    total = np.zeros((basis.shape[1], matrix, matrix), np.complex64)
    for samples, sensitivity in zip(kspace, maps, strict=True):  # one by one, which bounds the memory to that of a coil
        parts = (shares * samples).astype(np.complex64, copy=False)
        images = nufft_adjoint(parts, trajectory, matrix, backend=backend)
        total += sensitivity.conj() * images
    return total


def _gathered_on(
    device: torch.device, kspace: Complex, trajectory: Float, weights: Float, maps: Tensor, basis: Complex
) -> Tensor:
    """Compute the same on a GPU."""
    points = torch.tensor(trajectory, device=device).reshape(1, -1, 2)
    factors = torch.tensor(basis.conj().T, dtype=torch.complex64, device=device)
    shares = (factors[:, :, None] * torch.tensor(weights, device=device)).flatten(1)
    total = torch.zeros((len(shares), *maps.shape[1:]), dtype=torch.complex64, device=device)
    for samples, sensitivity in zip(torch.tensor(kspace, device=device).flatten(1), maps, strict=True):
        total += sensitivity.conj() * nufft_torch.adjoint((shares * samples)[None], points, maps.shape[-1])[0]
    return total
