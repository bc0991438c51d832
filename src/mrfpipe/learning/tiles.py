"""Tiles: parts of a slice that a network works through one by one, as few as cover its foreground."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mrfpipe.arrays import Bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Rows and columns of a slice's maps."""

    y: slice
    """Rows."""
    x: slice
    """Columns."""


def cover(mask: Bool, size: int) -> list[Tile]:
    """Cover the mask `(y, x)` of a slice by tiles of at most `size` rows and columns.

    The rows that hold foreground are cut into strips, and each strip, from the first to the last column that holds some
    in it, into tiles. As tiles end where the foreground does, a network has less to do beside it than on a fixed grid:
    on a slice through two thighs, with tiles of 128 and a margin of 7, less than half as much in all.

    Tiles do not overlap; every voxel of the mask is in one, and every one holds some.
    """
    return [
        Tile(y=rows, x=columns)
        for rows in _cuts(np.any(mask, axis=1), size)
        for columns in _cuts(np.any(mask[rows], axis=0), size)
        if mask[rows, columns].any()
    ]


def _cuts(line: Bool, size: int) -> Iterator[slice]:
    """Cut what lies between the first and the last true element into parts of nearly one length, at most `size`."""
    found = np.flatnonzero(line)
    if found.size == 0:
        return
    first, stop = int(found[0]), int(found[-1]) + 1
    n_parts = -(-(stop - first) // size)
    ends = [first + (stop - first) * part // n_parts for part in range(n_parts + 1)]
    for start, end in pairwise(ends):
        yield slice(start, end)
