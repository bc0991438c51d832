"""Locally low-rank denoising of coefficient images.

A small block contains few tissues, so that the coefficients of its voxels span few directions, whereas noise and
aliasing span all (Zhang et al., Magn Reson Med 73:655, 2015). The singular values of each block `(voxels, rank)` are
shrunk optimally for a low-rank matrix in white noise (Gavish and Donoho, IEEE Trans Inf Theory 63:2137, 2017, Eq. 7):
values that noise alone explains become zero, large ones hardly change. The results for all positions of the grid of
blocks are averaged, so that no borders show and every voxel is denoised together with all of its neighbours.

The noise level is estimated from the images, as the median over the blocks of the smallest singular value. That value
is noise where the rank exceeds what the tissues of a block need, and zero in images without noise.
"""

from itertools import product
from math import ceil

import torch
from torch import Tensor

BLOCK = 4
"""Voxels along either side of a block. On phantoms of thigh and leg, with the usual and four times the noise, errors
are 2 to 6 % higher by blocks of 5, and 1.3 to 2.6 times as high without denoising (rank 6, mean over the maps)."""


def denoise_low_rank(coefficients: Tensor, block: int = BLOCK) -> Tensor:
    """Denoise coefficients `(rank, y, x)` in blocks of `block` voxels along either side.

    Blocks are enlarged if they would have fewer than twice as many voxels as there are coefficients.
    """
    block = max(block, ceil((2 * len(coefficients)) ** 0.5))
    aspect = len(coefficients) / block**2
    noise = _least(coefficients, block) / (1 - aspect**0.5)
    shifted = (_shrunk(coefficients, block, top, left, noise) for top, left in product(range(block), repeat=2))
    return sum(shifted, torch.zeros_like(coefficients)) / block**2


def _least(coefficients: Tensor, block: int) -> Tensor:
    """Median of the smallest singular value over all blocks with signal; zero if no block has signal."""
    values = _principal(_blocks(coefficients, block, 0, 0))[0]
    seen = values[:, -1] > 0
    return values[seen, 0].median() if seen.any() else values.new_zeros(())


def _shrunk(coefficients: Tensor, block: int, top: int, left: int, noise: Tensor) -> Tensor:
    """Shrink the singular values of all blocks; `noise` is that of a voxel times the root of the voxels per block."""
    blocks = _blocks(coefficients, block, top, left)
    values, directions = _principal(blocks)
    kept = (directions * _share(values, noise, len(coefficients) / block**2)[:, None, :]) @ directions.mH
    n_rank, n_y, n_x = coefficients.shape
    down, across = -(-(top + n_y) // block), -(-(left + n_x) // block)
    tiles = (blocks @ kept).reshape(down, across, block, block, n_rank)
    image = tiles.permute(4, 0, 2, 1, 3).reshape(n_rank, down * block, across * block)
    return image[:, top : top + n_y, left : left + n_x].to(coefficients.dtype)


def _share(values: Tensor, noise: Tensor, aspect: float) -> Tensor:
    """Optimal share of each singular value that is kept, for the least squared error."""
    squares = values**2
    above = (squares - (1 + aspect) * noise**2).clamp(min=0)
    return (above**2 - 4 * aspect * noise**4).clamp(min=0).sqrt() / squares.clamp(min=torch.finfo(squares.dtype).tiny)


def _blocks(coefficients: Tensor, block: int, top: int, left: int) -> Tensor:
    """Cut into blocks, with `top` rows and `left` columns of zeros added before. Shape `(blocks, voxels, rank)`.

    In double precision, since singular values come from their squares.
    """
    n_rank, n_y, n_x = coefficients.shape
    padding = (left, -(left + n_x) % block, top, -(top + n_y) % block)
    padded = torch.nn.functional.pad(coefficients.to(torch.complex128), padding)
    tiles = padded.reshape(n_rank, padded.shape[1] // block, block, padded.shape[2] // block, block)
    return tiles.permute(1, 3, 2, 4, 0).reshape(-1, block**2, n_rank)


def _principal(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values of all blocks, rising, and right singular vectors. Shapes `(blocks, rank)` and `(..., rank)`."""
    energies, directions = torch.linalg.eigh(blocks.mH @ blocks)
    return energies.clamp(min=0).sqrt(), directions
