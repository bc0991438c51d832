"""Layout: a dictionary by groups, in the memory layout of exact matching, with the bounds of each group.

See `mrfpipe.matching.exact` for the bounds.
"""

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from mrfpipe.arrays import Double, Float, Int
from mrfpipe.dictionary import Dictionary, real_parts
from mrfpipe.matching.score import UNIT_ROUNDOFF

SPACE_TOLERANCE = 5e-4
"""Largest distance of unit signals from their group's real space. A smaller tolerance needs more dimensions, which
contain more noise; a larger one makes the bounds looser. T1-FF at rank 12 needs seven dimensions, and about ten of the
375 groups are visited for a voxel of undersampled frames."""
TILE = 8
"""Neighbours along each axis that share a bound if there is a single component."""


class Groups(NamedTuple):
    """A dictionary's signals by group, as kernels take them; with one component there are no second signals."""

    first: Float
    """Signals of the first component, real and imaginary parts. Shape `(groups, rank, 2, firsts)`."""
    second: Float
    """Signals of the second. Shape `(groups, rank, 2, seconds)`."""
    first_energy: Double
    """Shape `(groups, firsts)`."""
    second_energy: Double
    """Shape `(groups, seconds)`."""
    cross: Double
    """Shape `(groups, seconds, firsts)`."""
    rounded_first_energy: Float
    """`first_energy` in single precision, to rule out pairs; the next two likewise."""
    rounded_second_energy: Float
    rounded_cross: Float
    space: Float
    """Real and imaginary parts of each group's real space U. Shape `(groups, dimensions, rank, 2)`."""
    remainder: Float
    """Bound of the part of a unit entry outside its group's space, plus rounding. Shape `(groups)`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """A dictionary by groups, and the mapping back to its entry numbers."""

    groups: Groups
    """The signals."""
    point: Int
    """Point on the shared axes that each group belongs to. Shape `(groups)`."""
    first: Int
    """Number, in the first component, of each first signal of a group. Shape `(groups, firsts)`."""
    dictionary: Dictionary
    """The dictionary."""

    def numbers(self, group: Int, share: Int, first: Int, second: Int) -> Int:
        """Return the numbers of entries given by group and positions within it. Shape `(entries)`."""
        signals = (self.first[group, first], second)
        return self.dictionary.numbers(self.point[group], share, *signals[: len(self.dictionary.components)])


def lay_out(dictionary: Dictionary) -> Layout:
    """Arrange a dictionary by groups and compute the real space of each."""
    return _lay_out_two(dictionary) if len(dictionary.components) == 2 else _lay_out_one(dictionary)


def _lay_out_two(dictionary: Dictionary) -> Layout:
    first, second = (real_parts(signals) for signals in dictionary.by_group())
    products = dictionary.products()
    first_energy, second_energy = products.energies
    units = [first / np.sqrt(first_energy)[..., None], second / np.sqrt(second_energy)[..., None]]
    space, distance = _real_spaces(np.concatenate(units, axis=1))
    half = (1 + products.cosines().min(axis=(1, 2))) / 2
    outside = np.divide(distance, np.sqrt(np.abs(half)), out=np.ones_like(half), where=half > distance**2)
    groups = _groups(first, second, (first_energy, second_energy), products.cross, space, outside)
    n_groups, n_first = first_energy.shape
    return Layout(
        groups=groups,
        point=np.arange(n_groups),
        first=np.broadcast_to(np.arange(n_first), (n_groups, n_first)),
        dictionary=dictionary,
    )


def _lay_out_one(dictionary: Dictionary) -> Layout:
    """Divide each group into tiles; the last tile of an axis is padded with the axis's last value."""
    protocol = dictionary.protocol
    sizes = [protocol.grid[name].size for name in protocol.own_axes(protocol.components[0])]
    tiles = _tiles(sizes)
    (signals,) = (real_parts(signals) for signals in dictionary.by_group())
    n_points, n_tiles = len(signals), len(tiles)
    tiled = signals[:, tiles].reshape(n_points * n_tiles, tiles.shape[1], -1)
    energy = np.sum(tiled**2, axis=-1)
    space, distance = _real_spaces(tiled / np.sqrt(energy)[..., None])
    no_second, cross = tiled[:, :0], np.zeros((len(tiled), 0, tiles.shape[1]))
    groups = _groups(tiled, no_second, (energy, energy[:, :0]), cross, space, distance)
    return Layout(
        groups=groups,
        point=np.repeat(np.arange(n_points), n_tiles),
        first=np.tile(tiles, (n_points, 1)),
        dictionary=dictionary,
    )


def _groups(
    first: Double, second: Double, energies: tuple[Double, Double], cross: Double, space: Float, outside: Double
) -> Groups:
    """Convert signals `(groups, signals, 2 rank)` and their products to the precision and layout of the search."""
    return Groups(
        first=_parts(first),
        second=_parts(second),
        first_energy=energies[0],
        second_energy=energies[1],
        cross=cross,
        rounded_first_energy=energies[0].astype(np.float32),
        rounded_second_energy=energies[1].astype(np.float32),
        rounded_cross=cross.astype(np.float32),
        space=space,
        remainder=(outside + _bound_rounding(first.shape[-1] // 2, space.shape[1])).astype(np.float32),
    )


def _tiles(sizes: list[int]) -> Int:
    """Return the numbers of the points of each tile of a grid. Shape `(tiles, points)`."""
    if not sizes:
        return np.zeros((1, 1), np.int64)
    edges = [min(TILE, size) for size in sizes]
    along = [
        np.minimum(np.arange(-(-size // edge) * edge), size - 1).reshape(-1, edge)
        for size, edge in zip(sizes, edges, strict=True)
    ]
    meshes = (np.meshgrid(*tile, indexing="ij") for tile in product(*along))
    return np.stack([np.ravel_multi_index(mesh, sizes).ravel() for mesh in meshes])


def _parts(signals: Double) -> Float:
    """Rearrange interleaved parts, shape `(groups, signals, 2 rank)`, to `(groups, rank, 2, signals)`."""
    n_groups, n_signals, n_parts = signals.shape
    apart = signals.reshape(n_groups, n_signals, n_parts // 2, 2).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(apart, np.float32)


def _bound_rounding(rank: int, n_dimensions: int) -> float:
    """Bound how far the root of a bound is off in single precision.

    Each u_k is a complex number of two sums of 2 rank products of unit vectors, off by at most 2 sqrt(2) rank u, u
    being the unit roundoff, and the vector of them by sqrt(dimensions) times that. U is rounded by u a dimension, too;
    the length of a vector of at most unit length by fewer than (dimensions + 8) / 2 of them.
    """
    return float(4 * (rank + 2) * np.sqrt(n_dimensions) * UNIT_ROUNDOFF)


def _real_spaces(units: Double) -> tuple[Float, Double]:
    """Real space of each group's unit signals `(groups, signals, 2 rank)`, and their greatest distance from it.

    All groups have the same, least number of dimensions with which every group meets the tolerance. The spaces have
    shape `(groups, dimensions, rank, 2)`.
    """
    _, _, directions = np.linalg.svd(units, full_matrices=False)
    parts = np.einsum("gsr,gdr->gsd", units, directions)
    kept_and_rest = np.cumsum(parts[..., ::-1] ** 2, axis=-1)[..., ::-1]
    outside = np.sqrt(kept_and_rest[..., 1:].max(axis=1))
    enough = np.flatnonzero(outside.max(axis=0) <= SPACE_TOLERANCE)
    n = int(enough[0]) + 1 if enough.size else directions.shape[1]
    distance = outside[:, n - 1] if enough.size else np.zeros(len(units))
    return directions[:, :n].reshape(len(units), n, -1, 2).astype(np.float32), distance
