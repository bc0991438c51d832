"""Normal equations of all samples of a slice, for coefficient images, and their solvers.

The normal operator is a convolution for each pair of coefficients. It is applied as a product with the kernels of
`mrfpipe.imaging.toeplitz`, on a grid twice as large.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mrfpipe.arrays import Bool

Operator = Callable[[Tensor], Tensor]
Box = tuple[slice, slice]
"""Part of an image: voxels along y and along x."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Equations:
    """Normal equations ``N x = b`` of all samples of a slice, N being ``A' W A`` and b ``A' W s``."""

    right: Tensor
    """b: coefficient images from the adjoint of the weighted samples. Complex64, shape `(rank, y, x)`."""
    maps: Tensor
    """Coil sensitivities. Complex64, shape `(coils, y, x)`."""
    kernels: Tensor
    """Kernels of N, from `mrfpipe.imaging.toeplitz.toeplitz_kernels`. Shape `(rank, rank, 2 y, 2 x)`."""
    noise: float
    """Variance of the noise of b, for white noise of unit variance in k-space unless stated. It is the mean over the
    coefficients, between which it hardly differs."""
    matrix: int
    """Voxels along either side of the image."""
    box: Box = (slice(None), slice(None))
    """The part of the image that the equations describe."""

    def normal(self, coefficients: Tensor) -> Tensor:
        """Apply N to coefficient images. Shape `(rank, y, x)`."""
        return apply_normal(coefficients, self.maps, self.kernels)

    def leading(self, rank: int) -> "Equations":
        """Return the equations of the leading coefficients alone."""
        return replace(self, right=self.right[:rank], kernels=self.kernels[:rank, :rank].contiguous())

    def with_noise(self, variance: float) -> "Equations":
        """Return the equations for k-space whose noise has this variance instead of 1."""
        return replace(self, noise=self.noise * variance)

    @property
    def support(self) -> Bool:
        """Voxels that some coil sees; there is no signal elsewhere. Shape `(matrix, matrix)`."""
        found: Bool = np.zeros((self.matrix, self.matrix), np.bool_)
        found[self.box] = (self.maps != 0).any(dim=0).cpu().numpy()
        return found

    def inside(self, mask: Bool, box: Box, kernels: Tensor) -> "Equations":
        """Restrict the equations to the voxels of a mask, in a box around it; there is no signal elsewhere.

        `kernels` are the kernels for the box, see `cropped_kernels`.
        """
        inside = torch.from_numpy(mask[box]).to(self.right.device)
        right, maps = self.right[:, *box] * inside, self.maps[:, *box] * inside
        return replace(self, right=right, maps=maps, kernels=kernels, box=box)


def apply_normal(coefficients: Tensor, maps: Tensor, kernels: Tensor, back: Tensor | None = None) -> Tensor:
    """Sample coefficient images `(rank, y, x)` with all coils, weight the samples and apply the adjoint.

    `maps` are coil sensitivities `(coils, y, x)`, and `kernels` come from `toeplitz_kernels` or `spread_kernels`.
    `back` gives the sensitivities of the adjoint if they differ from those of the measurement.
    """
    n_y, n_x = coefficients.shape[-2:]
    total = coefficients.new_zeros((len(kernels), n_y, n_x))
    for coil, own in zip(maps, maps if back is None else back, strict=True):  # one by one, to save memory
        spectra = torch.fft.fft2(coil * coefficients, s=(2 * n_y, 2 * n_x))
        mixed = spectra.new_zeros((len(kernels), *spectra.shape[1:]))
        for kernel, spectrum in zip(kernels.unbind(dim=1), spectra, strict=True):  # einsum takes twice as long
            mixed.addcmul_(kernel, spectrum)
        total += own.conj() * torch.fft.ifft2(mixed)[:, :n_y, :n_x]
    return total


def cropped_kernels(kernels: Tensor, n_y: int, n_x: int) -> Tensor:
    """Crop kernels to images of `n_y` x `n_x` voxels, along neither side more than those they were computed for.

    Voxels of a smaller image lie less far apart, so that the point spread functions can be cropped. The result has
    shape `(rank, rank, 2 n_y, 2 n_x)`.
    """
    near = [
        torch.cat([torch.arange(n), torch.arange(2 * large - n, 2 * large)])
        for n, large in zip((n_y, n_x), (kernels.shape[-2] // 2, kernels.shape[-1] // 2), strict=True)
    ]
    rows = []
    for row in kernels:  # one by one, which bounds the memory
        spread = torch.fft.ifft2(row)[:, near[0].to(row.device)][..., near[1].to(row.device)]
        spread[:, n_y] = spread[..., n_x] = 0
        rows.append(torch.fft.fft2(spread))
    return torch.stack(rows)


def conjugate_gradients(operator: Operator, right: Tensor) -> Iterator[Tensor]:
    """Solve ``operator(x) = right`` by conjugate gradients from x = 0, and yield the solution after each iteration.

    The operator must be Hermitian and positive definite. The iterations end when the residual is zero.
    """
    solution = torch.zeros_like(right)
    residual = direction = right
    energy = _inner(right, right)
    while energy > 0:
        image = operator(direction)
        step = energy / _inner(direction, image)
        solution = solution + step * direction
        residual = residual - step * image
        yield solution
        previous, energy = energy, _inner(residual, residual)
        direction = residual + (energy / previous) * direction


def solve_by_blocks(operator: Operator, blocks: Tensor, right: Tensor, start: Tensor, *, n_iterations: int) -> Tensor:
    """Solve ``operator(x) = right`` by conjugate gradients from `start`, with a block-diagonal preconditioner.

    `blocks` has one block per voxel, shape `(voxels, unknowns, unknowns)`; the preconditioner is their inverse.
    Operator and blocks must be symmetric and positive definite. All other arrays have shape `(voxels, unknowns)`.
    """
    inverse = torch.linalg.inv(blocks)
    solution, left = start, right - operator(start)
    direction = times(inverse, left)
    energy = torch.sum(left * direction)
    for _ in range(n_iterations):
        if energy <= 0:
            break
        applied = operator(direction)
        length = energy / torch.sum(direction * applied)
        solution, left = solution + length * direction, left - length * applied
        ahead = times(inverse, left)
        energy, before = torch.sum(left * ahead), energy
        direction = ahead + energy / before * direction
    return solution


def times(blocks: Tensor, values: Tensor) -> Tensor:
    """Multiply the values of each voxel by its own matrix. Shapes `(voxels, m, n)` and `(voxels, n)`.

    Written out, because GPU libraries are not made for so many small matrices.
    """
    product: Tensor = (blocks * values[:, None, :]).sum(dim=2)
    return product


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return torch.vdot(a.flatten(), b.flatten()).real
