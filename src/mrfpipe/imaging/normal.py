"""Normal equations of all samples of a slice, for coefficient images, and what solves them.

Sampling coefficients and summing the samples back is a convolution for each pair of them, a product on a grid twice as
large with the kernels that `mrfpipe.imaging.toeplitz` makes.
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
    """b: the weighted samples, summed into coefficients. Complex64, shape `(rank, y, x)`."""
    maps: Tensor
    """Coil sensitivities. Complex64, shape `(coils, y, x)`."""
    kernels: Tensor
    """Those of N, from `mrfpipe.imaging.toeplitz.toeplitz_kernels`. Shape `(rank, rank, 2 y, 2 x)`."""
    noise: float
    """Variance of the noise of a coefficient of b; of white noise of unit variance in k-space, unless scaled. It hardly
    differs between the coefficients, whose mean it is."""
    matrix: int
    """Voxels along either side of the image."""
    box: Box = (slice(None), slice(None))
    """The part of the image that they are about."""

    def normal(self, coefficients: Tensor) -> Tensor:
        """Apply N to coefficient images. Shape `(rank, y, x)`."""
        return apply_normal(coefficients, self.maps, self.kernels)

    def leading(self, rank: int) -> "Equations":
        """Return the equations of the leading coefficients alone."""
        return replace(self, right=self.right[:rank], kernels=self.kernels[:rank, :rank].contiguous())

    def scaled(self, factor: float, noise: float) -> "Equations":
        """Return the equations with b so many times as large, of a k-space whose noise has this variance."""
        return replace(self, right=self.right * factor, noise=self.noise * factor**2 * noise)

    @property
    def support(self) -> Bool:
        """Voxels that some coil sees, outside of which there is nothing. Shape `(matrix, matrix)`."""
        found: Bool = np.zeros((self.matrix, self.matrix), np.bool_)
        found[self.box] = (self.maps != 0).any(dim=0).cpu().numpy()
        return found

    def inside(self, mask: Bool, box: Box, kernels: Tensor) -> "Equations":
        """Return the equations of the voxels of a mask, outside of which there is nothing, in a box around it.

        `kernels` are those for the box, see `cropped_kernels`.
        """
        inside = torch.from_numpy(mask[box]).to(self.right.device)
        right, maps = self.right[:, *box] * inside, self.maps[:, *box] * inside
        return replace(self, right=right, maps=maps, kernels=kernels, box=box)


def apply_normal(coefficients: Tensor, maps: Tensor, kernels: Tensor, back: Tensor | None = None) -> Tensor:
    """Sample coefficient images `(rank, y, x)` with all coils, weight the samples and sum them back.

    Coil sensitivities are `(coils, y, x)`, the kernels from `toeplitz_kernels`; or from `spread_kernels`, and samples
    may be summed back with other sensitivities than those they were measured with.
    """
    n_y, n_x = coefficients.shape[-2:]
    total = coefficients.new_zeros((len(kernels), n_y, n_x))
    for coil, own in zip(maps, maps if back is None else back, strict=True):  # a coil's memory, not that of all
        spectra = torch.fft.fft2(coil * coefficients, s=(2 * n_y, 2 * n_x))
        mixed = spectra.new_zeros((len(kernels), *spectra.shape[1:]))
        for kernel, spectrum in zip(kernels.unbind(dim=1), spectra, strict=True):  # einsum takes twice as long
            mixed.addcmul_(kernel, spectrum)
        total += own.conj() * torch.fft.ifft2(mixed)[:, :n_y, :n_x]
    return total


def cropped_kernels(kernels: Tensor, n_y: int, n_x: int) -> Tensor:
    """Return the kernels for images of so many voxels, no more along either side than those they were made for.

    No two voxels of smaller images lie as far apart: the point spread functions are cut. Shape `(rank, rank, 2 n_y,
    2 n_x)`.
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
    """Give ever better solutions of ``operator(x) = right``, one an iteration, starting from x = 0.

    The operator is Hermitian and positive definite. It ends with a solution that leaves no residual.
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
    """Improve the start of ``operator(x) = right`` by conjugate gradients, preconditioned by each voxel's own block.

    The operator is symmetric and positive definite, and so are the blocks, of shape `(voxels, unknowns, unknowns)`; all
    else has shape `(voxels, unknowns)`.
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

    Written out, as a GPU's libraries are not for so many small matrices.
    """
    product: Tensor = (blocks * values[:, None, :]).sum(dim=2)
    return product


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return torch.vdot(a.flatten(), b.flatten()).real
