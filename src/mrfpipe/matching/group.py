"""Fast group matching: voxels meet groups of alike entries first, and the entries of only the likeliest groups.

After Cauley et al., Magn Reson Med 74:523 (2015), on compressed signals (McGivney et al., IEEE Trans Med Imaging
33:2311, 2014). It is an approximation: the best entry is missed where its group is not among those kept. Scores are
those of `mrfpipe.matching.score`.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mrfpipe.arrays import Complex, Int, check_shape
from mrfpipe.dictionary import Dictionary, EntryGroups
from mrfpipe.matching.score import Matches, unit_signals

DEFAULT_GROUPS = 8000
"""Number of groups of a grid of millions of entries; see `default_groups`."""
LEAST_GROUP = 16
"""Entries a group of a small grid has at least, unless told otherwise."""
DEFAULT_KEPT = 0.01
"""Share of the groups whose entries are searched."""
BRANCHES = 20
"""Into how many parts a set of entries is divided at a time."""
ENTRIES_AT_ONCE = 1 << 18
SCORES_AT_ONCE = 1 << 18
"""Few enough to stay in a cache."""
PAIRS_AT_ONCE = 1 << 24
"""Pairs of a voxel and a group it keeps, about 400 MB with what sorting them takes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Components:
    """A dictionary's components on a device, to make entries there."""

    ff: Tensor
    """Shape `(ff)`."""
    water: Tensor
    """Shape `(t1w, df b1, rank)`."""
    fat: Tensor
    """Shape `(t1f, df b1, rank)`."""

    @classmethod
    def of(cls, dictionary: Dictionary, device: torch.device) -> "_Components":
        water, fat = (
            torch.from_numpy(np.array(signals.swapaxes(1, 2)).reshape(len(signals), -1, dictionary.rank)).to(device)
            for signals in (dictionary.water, dictionary.fat)
        )
        return cls(ff=torch.from_numpy(dictionary.protocol.grid.ff.astype(np.float32)).to(device), water=water, fat=fat)

    def units(self, numbers: Tensor) -> Tensor:
        """Make entries by number, of unit norm. Shape `(entries)` to `(entries, rank)`."""
        n_water, n_cells, rank = self.water.shape
        rest, cell = numbers // n_cells, numbers % n_cells
        rest, t1f = rest // len(self.fat), rest % len(self.fat)
        ff, t1w = rest // n_water, rest % n_water
        water = self.water.view(-1, rank).index_select(0, t1w * n_cells + cell)
        fat = self.fat.view(-1, rank).index_select(0, t1f * n_cells + cell)
        entries = torch.lerp(torch.view_as_real(water), torch.view_as_real(fat), self.ff[ff][:, None, None])
        norm = torch.linalg.vector_norm(entries.flatten(1), dim=1)
        return torch.view_as_complex(entries / norm[:, None, None])


def default_groups(n_entries: int) -> int:
    """Return the number of groups that entries are divided into unless told otherwise."""
    return max(1, min(DEFAULT_GROUPS, n_entries // LEAST_GROUP))


def build_groups(
    dictionary: Dictionary,
    n_groups: int | None = None,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EntryGroups:
    """Divide a dictionary's entries into groups that are alike.

    As in the paper, a group is a random entry not yet in a group together with those not yet in a group that correlate
    best with it, as many as make all groups of one size (but for one entry). The paper compares each such entry with
    all that are left, which for N entries and G groups is N G / 2 products: hours for millions of entries. So here entries
    are divided by that rule into `BRANCHES` groups first, and each of these by the same rule again, until groups have
    the size wanted; that takes N `BRANCHES` products a time, and makes a group end where the larger one it was cut
    from ends. All entries take part, whatever their place on the grid.

    Memory is that of all entries in the dictionary's basis, once, and half as much for work.

    Parameters
    ----------
    dictionary
        Whose entries are grouped.
    n_groups
        Number of groups; `default_groups` if not given.
    seed
        Of the random entries.
    device
        Where to compute; the CPU if not given.
    progress
        Called with the number of entries grouped and of all.

    Raises
    ------
    ValueError
        If there are to be no groups or more than entries.
    """
    n = dictionary.n_entries
    n_groups = default_groups(n) if n_groups is None else n_groups
    if not 1 <= n_groups <= n:
        raise ValueError(f"Number of groups must be from 1 to the number of entries, {n}, not {n_groups}.")
    device = device or torch.device("cpu")
    offsets = n * np.arange(n_groups + 1) // n_groups
    components, random = _Components.of(dictionary, device), np.random.default_rng(seed)
    units = torch.empty((n, dictionary.rank), dtype=torch.complex64, device=device)
    for start in range(0, n, ENTRIES_AT_ONCE):
        part = slice(start, min(start + ENTRIES_AT_ONCE, n))
        units[part] = components.units(torch.arange(part.start, part.stop, device=device))
    entries, representatives = np.empty(n, np.int32), np.empty((n_groups, dictionary.rank), np.complex64)
    for group, members in enumerate(_divided(torch.arange(n, device=device), units, offsets, random)):
        part = slice(offsets[group], offsets[group + 1])
        entries[part] = members.cpu().numpy()
        representatives[group] = _representative(units[members]).cpu().numpy()
        if progress is not None:
            progress(int(part.stop), n)
    return EntryGroups(entries=entries, offsets=offsets, representatives=representatives)


def _divided(members: Tensor, units: Tensor, offsets: Int, random: np.random.Generator) -> Iterator[Tensor]:
    """Divide entries, with their unit signals, into groups between offsets; yield the numbers of one after the other."""
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
    """Yield the indices of groups: a random unit signal not in one yet, and those most correlated with it."""
    free = torch.ones(len(units), dtype=torch.bool, device=units.device)
    for size in sizes[:-1].tolist():
        # Drawn until free: the chance of that is the share that is left, never below that of one group.
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
    return mean / torch.linalg.vector_norm(mean)


def match_group(
    coefficients: Complex,
    dictionary: Dictionary,
    groups: EntryGroups,
    kept: float = DEFAULT_KEPT,
    device: torch.device | None = None,
) -> Matches:
    """Find the best entry of the groups whose representatives correlate best with each voxel.

    Parameters
    ----------
    coefficients
        Signals in the dictionary's basis, finite and not zero. Shape `(voxels, rank)`.
    dictionary
        All entries.
    groups
        The same entries in groups.
    kept
        Share of the groups to search, above 0 and up to 1, which is brute force. At least one is.
    device
        Where to compute; the CPU if not given.

    Raises
    ------
    ValueError
        If the groups are not of this dictionary's size, or the share is not above 0 and up to 1.
    """
    check_shape("coefficients", coefficients, "voxels rank", {"rank": dictionary.rank})
    check_shape("representatives", groups.representatives, "groups rank", {"rank": dictionary.rank})
    check_shape("entries", groups.entries, "entries", {"entries": dictionary.n_entries})
    if not 0 < kept <= 1:
        raise ValueError(f"Share of groups to keep must be above 0 and up to 1, not {kept}.")
    unit = torch.from_numpy(unit_signals(coefficients)).to(device or "cpu")
    components = _Components.of(dictionary, unit.device)
    entries = torch.from_numpy(groups.entries.copy()).to(unit.device)
    representatives = torch.from_numpy(groups.representatives.copy()).to(unit.device)
    n_kept = math.ceil(kept * groups.n_groups)
    found = [
        _search(part, _shortlist(part, representatives, n_kept), components, entries, groups.offsets.tolist())
        for part in unit.split(max(1, PAIRS_AT_ONCE // n_kept))
    ]
    score, number = (torch.cat(values).cpu().numpy() for values in zip(*found, strict=True))
    return Matches(entry=number, score=np.square(score))


def _shortlist(unit: Tensor, representatives: Tensor, n_kept: int) -> Tensor:
    """Find the groups whose representatives correlate best with each voxel. Shape `(voxels, kept)`."""
    at_once = max(1, SCORES_AT_ONCE // len(representatives))
    parts = [
        (part @ representatives.mH).abs().topk(n_kept, dim=1, sorted=False).indices.int() for part in unit.split(at_once)
    ]
    return torch.cat(parts)


def _search(
    unit: Tensor, shortlist: Tensor, components: _Components, entries: Tensor, offsets: list[int]
) -> tuple[Tensor, Tensor]:
    """Search the groups on each voxel's shortlist; each group's entries are made once for all voxels that keep it.

    Returns
    -------
        Correlation of the best entry, and its number. Shape `(voxels)` each.
    """
    correlation = torch.full((len(unit),), -1.0, device=unit.device)
    number = torch.zeros(len(unit), dtype=torch.int64, device=unit.device)
    by_group, pairs = shortlist.flatten().sort(stable=True)
    voxels = pairs // shortlist.shape[1]
    ends = torch.bincount(by_group, minlength=len(offsets) - 1).cumsum(0).tolist()
    for group, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if start == end:
            continue
        numbers = entries[offsets[group] : offsets[group + 1]]
        units = components.units(numbers).mH
        for part in voxels[start:end].split(max(1, SCORES_AT_ONCE // len(numbers))):
            best, index = (unit[part] @ units).abs().max(dim=1)
            before = correlation[part]
            better = best > before
            correlation[part] = torch.where(better, best, before)
            number[part] = torch.where(better, numbers[index].long(), number[part])
    return correlation, number
