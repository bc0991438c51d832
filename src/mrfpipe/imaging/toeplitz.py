"""The normal operator of a scan whose signals lie in a temporal subspace, as convolutions: no NUFFT per iteration.

For each pair of basis vectors, the normal operator is a convolution with a point spread function. On a grid of 2N x 2N,
it is a product with the Fourier transform of that function, the kernel, which is the same for all slices and coils
(Asslaender et al., Magn Reson Med 79:83, 2018; Tamir et al., Magn Reson Med 77:180, 2017)::

    psf_rq(d) = sum over samples j of w_j conj(basis_r(j)) basis_q(j) exp(+2 pi i k_j d / N),   -N < d < N
"""

import torch
from torch import Tensor

from mrfpipe.arrays import Complex, Float, check_shape
from mrfpipe.imaging.nufft import Backend
from mrfpipe.imaging.nufft_torch import modulated_adjoint

CPU = torch.device("cpu")


def toeplitz_kernels(
    trajectory: Float,
    weights: Float,
    basis: Complex,
    matrix: int,
    *,
    backend: Backend = "sigpy",
    device: torch.device = CPU,
) -> Tensor:
    """Compute the kernels of all pairs of basis vectors, once for a trajectory.

    Parameters
    ----------
    trajectory, matrix, backend
        As for `mrfpipe.imaging.nufft.nufft_adjoint`.
    weights
        Weight of each sample. Shape `(readouts, samples)`.
    basis
        Basis vectors at every readout. Shape `(readouts, rank)`.
    device
        Where to compute them; on a GPU, torch is used whatever the backend.

    Returns
    -------
        For every spatial frequency a Hermitian matrix. Complex64 on the device, shape `(rank, rank, 2 y, 2 x)`.
    """
    sizes = check_shape("trajectory", trajectory, "readouts samples 2")
    check_shape("weights", weights, "readouts samples", sizes)
    rank = check_shape("basis", basis, "readouts rank", sizes)["rank"]
    kernels = torch.empty((rank, rank, 2 * matrix, 2 * matrix), dtype=torch.complex64, device=device)
    for r in range(rank):
        pairs = basis[:, r:].T * basis[:, r].conj()
        row = _row(trajectory, weights, pairs, matrix, backend, device)
        kernels[r, r] = row[0].real
        kernels[r, r + 1 :] = row[1:]
        kernels[r + 1 :, r] = row[1:].conj()
    return kernels


def spread_kernels(
    trajectory: Float,
    weights: Float,
    basis: Complex,
    trains: Complex,
    matrix: int,
    *,
    backend: Backend = "sigpy",
    device: torch.device = CPU,
) -> Tensor:
    """Compute the kernels that map coefficients in the object's basis to coefficients in another basis.

    Parameters
    ----------
    trajectory, weights, basis, matrix, backend, device
        As for `toeplitz_kernels`; samples are summed into coefficients of this basis.
    trains
        Basis of the object's signals at every readout. Shape `(readouts, trains)`.

    Returns
    -------
        Complex64 on the device, shape `(rank, trains, 2 y, 2 x)`.
    """
    rank, n_trains = basis.shape[1], trains.shape[1]
    kernels = torch.empty((rank, n_trains, 2 * matrix, 2 * matrix), dtype=torch.complex64, device=device)
    for r in range(rank):
        kernels[r] = _row(trajectory, weights, trains.T * basis[:, r].conj(), matrix, backend, device)
    return kernels


def _row(
    trajectory: Float, weights: Float, pairs: Complex, matrix: int, backend: Backend, device: torch.device
) -> Tensor:
    """Kernels of pairs of basis vectors `(pairs, readouts)`. Shape `(pairs, 2 y, 2 x)`."""
    spread = modulated_adjoint(pairs, weights, 2 * trajectory, 2 * matrix, backend=backend, device=device)
    # Distance -N has no partner +N on the grid; no two voxels are that far apart.
    spread[:, 0, :] = spread[:, :, 0] = 0
    kernels: Tensor = torch.fft.fft2(torch.fft.ifftshift(spread, dim=(-2, -1)))
    return kernels
