"""The adjoint transform of `mrfpipe.imaging.nufft`, by torch, for a GPU.

Samples are gridded on twice the matrix with the kernel ``exp(beta (sqrt(1 - u^2) - 1))``, where u is 1 at half its
width (Barnett et al., SIAM J Sci Comput 41:C479, 2019). The points of the kernel are processed one after the other, so
that each thread of the GPU adds one number of one sample. The order of the additions is undefined, which changes the
last digits of float32 from run to run. On the CPU, the same code takes many times as long as the libraries.
"""

from itertools import product

import numpy as np
import torch
from torch import Tensor

from mrfpipe.arrays import Complex, Float, check_shape
from mrfpipe.imaging.nufft import Backend, check_reach, nufft_adjoint

WIDTH = 6
"""Points of the grid that the kernel covers along an axis.

The error of the transform is 1e-5; with the settings used here, the error of finufft is up to 1.3e-4. A width of 5
would have an error of 9e-5, and 25 instead of 36 points a sample.
"""
BETA = 2.3 * WIDTH
NODES = 60
"""Nodes of the quadrature of the kernel's Fourier transform, which is then exact to rounding."""


def runs_on(device: torch.device) -> bool:
    """Return whether torch replaces the NUFFT libraries on a device: on every device but the CPU."""
    return device.type != "cpu"


def adjoint(samples: Tensor, trajectory: Tensor, matrix: int) -> Tensor:
    """Sum sets of samples into images, each set along a trajectory of its own.

    Parameters
    ----------
    samples
        Shape `(sets, images, samples)`.
    trajectory
        (kx, ky) in cycles/FOV, on the same device. Shape `(sets, samples, 2)`.
    matrix
        Voxels along x and along y.

    Returns
    -------
        Complex64, shape `(sets, images, y, x)`.
    """
    check_reach(float(trajectory.abs().max()), matrix)
    (n_sets, n_images, n_samples), size, device = samples.shape, 2 * matrix, samples.device
    # The numbers that are added to one point of all images lie side by side, as do the threads that add them.
    numbers = torch.view_as_real(samples.to(torch.complex64).transpose(1, 2).contiguous()).flatten(0, 1).flatten(1)
    grids = numbers.new_zeros((n_sets * size**2, 2 * n_images))
    first = (torch.arange(n_sets, device=device) * size**2).repeat_interleave(n_samples)
    along_x, along_y = (_taps(k.flatten(), matrix) for k in trajectory.unbind(dim=-1))
    for (row, above), (column, beside) in product(along_y, along_x):
        grids.index_add_(0, first + row * size + column, numbers * (above * beside)[:, None])
    spectra = torch.view_as_complex(grids.reshape(n_sets, size, size, n_images, 2)).permute(0, 3, 1, 2)
    transformed: Tensor = torch.fft.ifft2(spectra, norm="forward")
    voxel = torch.arange(matrix, device=device) - matrix // 2  # the centre is in the corner; negative positions wrap
    inverse = torch.tensor(_inverse(matrix), device=device)
    return transformed[..., voxel[:, None], voxel] * inverse[:, None] * inverse


def adjoint_on(
    device: torch.device, samples: Complex, trajectory: Float, matrix: int, *, backend: Backend = "sigpy"
) -> Tensor:
    """Compute `mrfpipe.imaging.nufft.nufft_adjoint` on a device: parameters and errors as there.

    The backend is used on the CPU only.
    """
    if not runs_on(device):
        return torch.from_numpy(nufft_adjoint(samples, trajectory, matrix, backend=backend))
    sizes = check_shape("trajectory", trajectory, "readouts samples 2")
    check_shape("samples", samples, "coils readouts samples", sizes)
    points = torch.tensor(trajectory, device=device).flatten(0, 1)
    return adjoint(torch.tensor(samples, device=device).flatten(1)[None], points[None], matrix)[0]


def modulated_adjoint(
    factors: Complex,
    samples: Complex | Float,
    trajectory: Float,
    matrix: int,
    *,
    backend: Backend,
    device: torch.device,
) -> Tensor:
    """Sum samples into images, after multiplying them by one factor per image and readout.

    Parameters
    ----------
    factors
        Shape `(images, readouts)`.
    samples
        Shape `(readouts, samples)`.
    trajectory, matrix
        As for `mrfpipe.imaging.nufft.nufft_adjoint`.
    backend
        NUFFT library on the CPU.
    device
        Where to compute it.

    Returns
    -------
        Complex64 on the device, shape `(images, y, x)`.
    """
    sizes = check_shape("samples", samples, "readouts samples", check_shape("factors", factors, "images readouts"))
    check_shape("trajectory", trajectory, "readouts samples 2", sizes)
    if not runs_on(device):
        parts = (factors[:, :, None] * samples).astype(np.complex64, copy=False)
        return torch.from_numpy(nufft_adjoint(parts, trajectory, matrix, backend=backend))
    products = torch.tensor(factors, device=device)[:, :, None] * torch.tensor(samples, device=device)
    return adjoint(products.flatten(1)[None], torch.tensor(trajectory, device=device).flatten(0, 1)[None], matrix)[0]


def _taps(k: Tensor, matrix: int) -> list[tuple[Tensor, Tensor]]:
    """Return the points of the grid around samples along one axis, and their weights. Shape `(samples)` each."""
    at = 2 * k.double()
    points = torch.ceil(at - WIDTH / 2) + torch.arange(WIDTH, device=k.device)[:, None]
    u = (points - at) / (WIDTH / 2)
    weights = torch.exp(BETA * (torch.sqrt((1 - u**2).clamp(min=0)) - 1)).to(torch.float32)
    return list(zip(points.long() % (2 * matrix), weights, strict=True))


def _inverse(matrix: int) -> Float:
    """Return 1 over the Fourier transform of the kernel along one axis. Shape `(voxels)`."""
    u, shares = np.polynomial.legendre.leggauss(NODES)
    kernel = WIDTH / 2 * shares * np.exp(BETA * (np.sqrt(1 - u**2) - 1))
    position = (np.arange(matrix) - matrix // 2) / (2 * matrix)
    inverse: Float = (1 / (np.cos(np.pi * WIDTH * np.outer(position, u)) @ kernel)).astype(np.float32)
    return inverse
