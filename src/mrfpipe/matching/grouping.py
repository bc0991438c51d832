"""Grouping: dividing a dictionary's entries into groups of similar entries, for `mrfpipe.matching.group`."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mrfpipe.arrays import Int
from mrfpipe.dictionary import Dictionary, EntryGroups
from mrfpipe.matching.parts import PartsOnDevice
from mrfpipe.progress import UNTOLD, Steps

DEFAULT_GROUPS = 16000
"""Number of groups of a grid of millions of entries; see `default_groups`."""
LEAST_GROUP = 16
"""Least number of entries per group on a small grid, by default."""
BRANCHES = 20
"""Number of parts that a set of entries is divided into at each level of the tree."""
ENTRIES_AT_ONCE = 1 << 18


def default_groups(n_entries: int) -> int:
    """Return the default number of groups that entries are divided into."""
    return max(1, min(DEFAULT_GROUPS, n_entries // LEAST_GROUP))


def build_groups(
    dictionary: Dictionary,
    n_groups: int | None = None,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Steps = UNTOLD,
) -> EntryGroups:
    """Divide a dictionary's entries into groups of similar entries.

    As in the paper, a group consists of a random entry that has no group yet and the entries without a group that
    correlate best with it; all groups have the same size (to within one entry). The paper compares each random entry
    with all remaining ones, N G / 2 products for N entries and G groups: too many for millions of entries. Here,
    entries are first divided by that rule into `BRANCHES` groups, and each of these by the same rule again, until
    groups have the desired size. This takes N `BRANCHES` products per level, and no group extends beyond the larger
    group that it was divided from. All entries take part, whatever their place on the grid.

    The memory is that of all entries in the dictionary's basis, once, and half as much for work.

    Parameters
    ----------
    dictionary
        Whose entries are grouped.
    n_groups
        Number of groups; `default_groups` if not given.
    seed
        Seed of the random entries.
    device
        Where to compute; the CPU if not given.
    progress
        Called with the number of entries grouped and the number of all entries.

    Raises
    ------
    ValueError
        If the number of groups is not from 1 to the number of entries.
    """
    n = dictionary.n_entries
    n_groups = default_groups(n) if n_groups is None else n_groups
    if not 1 <= n_groups <= n:
        raise ValueError(f"Number of groups must be from 1 to the number of entries, {n}, not {n_groups}.")
    device = device or torch.device("cpu")
    offsets = n * np.arange(n_groups + 1) // n_groups
    components, random = PartsOnDevice.of(dictionary, device), np.random.default_rng(seed)
    units = torch.empty((n, dictionary.rank), dtype=torch.complex64, device=device)
    for start in range(0, n, ENTRIES_AT_ONCE):
        part = slice(start, min(start + ENTRIES_AT_ONCE, n))
        units[part] = components.units(torch.arange(part.start, part.stop, device=device))
    entries, representatives = np.empty(n, np.int32), np.empty((n_groups, dictionary.rank), np.complex64)
    for group, members in enumerate(_divided(torch.arange(n, device=device), units, offsets, random)):
        part = slice(offsets[group], offsets[group + 1])
        entries[part] = members.cpu().numpy()
        representatives[group] = _representative(units[members]).cpu().numpy()
        progress(int(part.stop), n)
    return EntryGroups(entries=entries, offsets=offsets, representatives=representatives)


def _divided(members: Tensor, units: Tensor, offsets: Int, random: np.random.Generator) -> Iterator[Tensor]:
    """Divide entries, with their unit signals, into groups between offsets; yield the numbers of each."""
    n_groups = len(offsets) - 1
    if n_groups == 1:
        yield members.sort().values
        return
    branches = min(BRANCHES, n_groups)
    bounds = n_groups * np.arange(branches + 1) // branches
    for part, indices in enumerate(_cauley_groups(units, np.diff(offsets[bounds]), random)):
        inside = offsets[bounds[part] : bounds[part + 1] + 1]
        yield from _divided(members[indices], units[indices] if len(inside) > 2 else units[:0], inside, random)


def _cauley_groups(units: Tensor, sizes: Int, random: np.random.Generator) -> Iterator[Tensor]:
    """Yield the indices of groups: a random unit signal without a group, and those most correlated with it."""
    free = torch.ones(len(units), dtype=torch.bool, device=units.device)
    for size in sizes[:-1].tolist():
        # Draw until an entry is free: the probability is the share that is left, at least that of one group.
        first = int(random.integers(len(units)))
        while not free[first]:
            first = int(random.integers(len(units)))
        correlation = (units @ units[first].conj()).abs()
        correlation[~free] = -1
        members = correlation.topk(size, sorted=False).indices
        free[members] = False
        yield members
    yield free.nonzero()[:, 0]


def _representative(units: Tensor) -> Tensor:
    """Mean of a group's unit signals, each turned to the phase of the first, of unit norm. Shape `(rank)`."""
    phase = torch.sgn(units @ units[0].conj())
    mean = (units * phase.conj()[:, None]).mean(0)
    representative: Tensor = mean / torch.linalg.vector_norm(mean)
    return representative
