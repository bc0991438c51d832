"""Searched: components and parameters to search for with a protocol that is derived from a file.

Components and grids are taken from the protocols that come with mrfpipe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.errors import MismatchError
from mrfpipe.protocol import Excitations, Grid, Protocol, load_protocol

Components = Literal["tissue", "water-fat"]
_MOST_PER_FRAME = 8  # readouts per frame, which differ only in their position in k-space
_BASES = {"tissue": ("fisp", False), "water-fat": ("t1ff", True)}
"""Protocol that provides components and grid, and whether all its parameters are searched for by default, or those that
the components need."""
_OTHER = "t1ff"
"""Protocol that provides off-resonance and B1 if the protocol of the components has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """Components and parameters to search for."""

    components: Components = "tissue"
    """Components whose sum is the signal of a voxel."""
    parameters: tuple[str, ...] = ()
    """Names of the parameters: at least those that the components need; off-resonance and B1 are optional. Empty: the
    default."""
    ranges: Mapping[str, Sequence[tuple[float, ...]]] | None = None
    """Start, stop and step of the grid of each parameter, by name, in the units of files."""


TISSUE = Searched()
"""The default: the relaxation times of one tissue."""


def base_protocol(searched: Searched) -> Protocol:
    """Return the protocol with these components, and a grid of the parameters to search for.

    Raises
    ------
    MismatchError
        If the parameters do not fit the components, or a range does not increase.
    """
    base, all_usual = _BASES[searched.components]
    known, other = load_protocol(base), load_protocol(_OTHER)
    possible = {p.name: (p, known.grid[p.name]) for p in known.parameters}
    of_components = {known.share, *(name for component in known.components for name in component.parameters)}
    needed = [name for name in possible if name in of_components]
    names = searched.parameters or tuple(possible if all_usual else needed)
    optional = {other.off_resonance, other.b1} - set(possible)
    possible |= {p.name: (p, other.grid[p.name]) for p in other.parameters if p.name in optional}
    for name in {*names, *(searched.ranges or {})}:
        if name not in possible:
            raise MismatchError(
                f"Parameter {name} does not exist for {searched.components}; choose from {', '.join(possible)}."
            )
    missing = [name for name in needed if name not in names]
    if missing:
        raise MismatchError(f"Parameter {missing[0]} is missing; {searched.components} needs it.")
    axes: dict[str, Double] = {}
    for name in (name for name in possible if name in names):
        parameter, axis = possible[name]
        given = (searched.ranges or {}).get(name)
        axes[name] = axis if given is None else _axis(name, given) / parameter.scale
    try:
        return replace(
            known, parameters=tuple(possible[name][0] for name in axes), grid=Grid(axes=axes), subspace_rank=None
        )
    except ValueError as e:
        raise MismatchError(str(e)) from e


def _axis(name: str, ranges: Sequence[tuple[float, ...]]) -> Double:
    """Expand ranges to grid values; both ends are included."""
    parts = []
    for start, stop, step in ranges:
        if not (step > 0 and start <= stop < np.inf) or not (stop - start) / step < 1e5:
            raise MismatchError(f"Range {start:g}:{stop:g}:{step:g} of {name} does not rise, or has too many steps.")
        parts.append(start + step * np.arange(int((stop - start) / step + 1e-6) + 1))
    return np.concatenate(parts)


def readouts_per_frame(trains: Sequence[Excitations]) -> int:
    """Return the largest number of readouts per frame such that flip angle and TE are constant within each frame."""
    rows = [row for train in trains for row in zip(train.flip.tolist(), train.te.tolist(), strict=True)]
    lengths = np.gcd.reduce([len(list(run)) for _, run in groupby(rows)])
    return max(n for n in range(1, _MOST_PER_FRAME + 1) if lengths % n == 0)
