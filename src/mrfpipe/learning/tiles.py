"""Tiles: parts of a slice that a network works through one by one, which leave out what they can of its air."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mrfpipe.arrays import Bool, Int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Rows and columns of a slice's maps."""

    y: slice
    """Rows."""
    x: slice
    """Columns."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns it has."""
        return self.y.stop - self.y.start, self.x.stop - self.x.start


def cover(mask: Bool, size: int, margin: int) -> list[Tile]:
    """Cover the mask `(y, x)` of a slice by tiles of at most `size` rows and columns.

    A network reads `margin` voxels around a tile. So what lies further apart than twice that, as two thighs do, gets
    tiles of its own; each ends where its foreground does, and one that is too large is cut along its longer side, and
    its parts are looked at in the same way. On a slice through two thighs, with tiles of 192 and a margin of 7, a
    network works through 1.5 times the voxels of the mask; on a grid from the first to the last row and column of the
    foreground it was twice.

    Tiles do not overlap; every voxel of the mask is in one, and every one holds some.
    """
    return list(_divided(mask, Tile(y=slice(0, mask.shape[0]), x=slice(0, mask.shape[1])), size, 2 * margin))


def _divided(mask: Bool, tile: Tile, size: int, gap: int) -> Iterator[Tile]:
    """Divide a tile until nothing can be left out of its parts and they are small enough."""
    parts = [
        Tile(y=rows, x=columns)
        for columns in _runs(np.any(mask[tile.y, tile.x], axis=0), tile.x.start, gap)
        for rows in _runs(np.any(mask[tile.y, columns], axis=1), tile.y.start, gap)
    ]
    if parts == [tile]:
        n_y, n_x = tile.shape
        if max(n_y, n_x) <= size:
            yield tile
            return
        rows, columns = (_cuts(tile.y, size), [tile.x]) if n_y > n_x else ([tile.y], _cuts(tile.x, size))
        parts = [Tile(y=y, x=x) for y in rows for x in columns]
    for part in parts:
        yield from _divided(mask, part, size, gap)


def _runs(line: Bool, start: int, gap: int) -> Iterator[slice]:
    """Find where a line that begins at `start` is true, as runs with more than `gap` of nothing between them."""
    found: Int = np.flatnonzero(line) + start
    for run in np.split(found, np.flatnonzero(np.diff(found) > gap + 1) + 1):
        if run.size:
            yield slice(int(run[0]), int(run[-1]) + 1)


def _cuts(run: slice, size: int) -> list[slice]:
    """Cut a run into parts of nearly one length, at most `size`."""
    n_parts = -(-(run.stop - run.start) // size)
    ends = [run.start + (run.stop - run.start) * part // n_parts for part in range(n_parts + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]
