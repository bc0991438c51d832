"""Fast group matching: voxels are compared with groups of similar entries, then with entries of the best groups only.

After Cauley et al., Magn Reson Med 74:523 (2015), on compressed signals (McGivney et al., IEEE Trans Med Imaging
33:2311, 2014). It is an approximation: the best entry is missed if its group is not among those kept. Scores are
those of `mrfpipe.matching.score`.

It differs from the paper in three ways. Groups are built as a tree (`mrfpipe.matching.grouping`), which dictionaries of
millions of entries require. For a voxel, a fixed share of the groups is kept, those whose representative correlates
best with it, so that work and memory are known beforehand; the paper prunes groups by their correlation. Entries are
compared in the basis of the whole dictionary; the paper compresses each group in its own principal components.
"""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from numba import njit, prange

from mrfpipe.arrays import Complex, Double, Float, Int, ShortInt, check_shape
from mrfpipe.dictionary import Dictionary, EntryGroups
from mrfpipe.matching.parts import Parts, PartsOnDevice
from mrfpipe.matching.score import Matches, unit_signals

DEFAULT_KEPT = 0.01
"""Share of the groups whose entries are searched."""
LEAST_KEPT = 20
"""Least number of groups that are searched; it matters on a small grid only."""
SCORES_AT_ONCE = 1 << 24
"""Scores of voxels and entries that a GPU makes at once."""
BLOCK = 256
"""Entries that the CPU makes at once: few enough to stay in the fastest cache."""
PAIR_BYTES = 32
"""Bytes per pair of a voxel and a kept group, while pairs are sorted."""


def pair_bytes(groups: EntryGroups, kept: float = DEFAULT_KEPT) -> int:
    """Return the bytes of memory per voxel in group matching, for the groups that it keeps."""
    return PAIR_BYTES * _n_kept(groups, kept)


def _n_kept(groups: EntryGroups, kept: float) -> int:
    return min(groups.n_groups, max(LEAST_KEPT, math.ceil(kept * groups.n_groups)))


def match_group(
    coefficients: Complex,
    dictionary: Dictionary,
    groups: EntryGroups,
    kept: float = DEFAULT_KEPT,
    device: torch.device | None = None,
) -> Matches:
    """Find the best entry in the groups whose representatives correlate best with each voxel.

    Parameters besides the groups are those of `mrfpipe.matching.brute.match_brute`. A share `kept` of the groups is
    searched, at least `LEAST_KEPT` of them; 1 is brute force. The memory is `pair_bytes` per voxel. ValueError if the
    groups do not match the size of the dictionary, or the share is not above 0 and up to 1.
    """
    check_shape("coefficients", coefficients, "voxels rank", {"rank": dictionary.rank})
    check_shape("representatives", groups.representatives, "groups rank", {"rank": dictionary.rank})
    check_shape("entries", groups.entries, "entries", {"entries": dictionary.n_entries})
    if not 0 < kept <= 1:
        raise ValueError(f"Share of groups to keep must be above 0 and up to 1, not {kept}.")
    unit = unit_signals(coefficients)
    search = _on_cpu if device is None or device.type == "cpu" else partial(_on_device, device=device)
    numbers, scores = search(unit, dictionary, groups, _n_kept(groups, kept))
    return Matches(entry=numbers, score=scores)


def _on_cpu(unit: Complex, dictionary: Dictionary, groups: EntryGroups, n_kept: int) -> tuple[Int, Float]:
    """Find the numbers and scores of the best entries. Shape `(voxels)` each."""
    y, parts = np.stack([unit.real, unit.imag], axis=-1), Parts.of(dictionary)
    representatives = np.stack([groups.representatives.T.real, groups.representatives.T.imag], axis=1)
    shortlist = _shortlist(y, representatives, n_kept).ravel()
    signals = parts.signals.view(np.float32)
    pairs = np.argsort(shortlist, kind="stable")
    ends = np.cumsum(np.bincount(shortlist, minlength=groups.n_groups))
    numbers, scores = _search(
        y, pairs, ends, n_kept, groups.entries, groups.offsets, signals, parts.first, parts.second, parts.share
    )
    of_pair = scores.reshape(-1, n_kept)
    best = np.argmax(of_pair, axis=1)[:, None]
    return np.take_along_axis(numbers.reshape(-1, n_kept), best, 1)[:, 0], np.take_along_axis(of_pair, best, 1)[:, 0]


@njit(cache=True, fastmath={"contract", "reassoc", "nsz"})
def _scores(units: Float, y: Float, re: Float, im: Float) -> np.float32:
    """Write |<unit, y>|^2 of units (rank, 2, entries) and one voxel (rank, 2) to `re`; return the largest."""
    re[:], im[:] = 0, 0
    for k in range(y.shape[0]):
        sr, si, yr, yi = units[k, 0], units[k, 1], y[k, 0], y[k, 1]
        for i in range(re.size):
            re[i] += sr[i] * yr + si[i] * yi
            im[i] += sr[i] * yi - si[i] * yr
    most = np.float32(0)
    for i in range(re.size):
        re[i] = re[i] * re[i] + im[i] * im[i]
        most = max(most, re[i])
    return most


@njit(cache=True)
def _likeliest(y: Float, representatives: Float, kept: ShortInt) -> None:
    """Write to `kept` the groups whose representatives (rank, 2, groups) score best for one voxel (rank, 2)."""
    n_groups = representatives.shape[2]
    scores, work = np.empty(n_groups, np.float32), np.empty(n_groups, np.float32)
    _scores(representatives, y, scores, work)
    least = np.partition(scores, n_groups - kept.size)[n_groups - kept.size]
    # First the groups above the least score that is kept, then as many of those equal to it as fit.
    n = 0
    for group in range(n_groups):
        if scores[group] > least:
            kept[n] = group
            n += 1
    for group in range(n_groups):
        if n < kept.size and scores[group] == least:
            kept[n] = group
            n += 1


@njit(parallel=True, cache=True)
def _shortlist(y: Float, representatives: Float, n_kept: int) -> ShortInt:
    """Find the likeliest groups of every voxel. Shape `(voxels, kept)`."""
    kept = np.empty((len(y), n_kept), np.int32)
    for v in prange(len(y)):
        _likeliest(y[v], representatives, kept[v])
    return kept


@njit(cache=True)
def _make_units(
    numbers: ShortInt, signals: Float, first: ShortInt, second: ShortInt, share: Double, units: Float
) -> None:
    """Make entries of unit norm; signals are (signals, 2 rank), units (rank, 2, entries).

    They are mixed in double precision, as components may nearly cancel.
    """
    rank = units.shape[0]
    for i in range(numbers.size):
        w, f, v = signals[first[numbers[i]]], signals[second[numbers[i]]], share[numbers[i]]
        u, energy = 1 - v, 0.0
        for k in range(2 * rank):
            part = u * w[k] + v * f[k]
            units[k // 2, k % 2, i] = part
            energy += part * part
        scale = np.float32(1 / np.sqrt(energy))
        for k in range(rank):
            units[k, 0, i] *= scale
            units[k, 1, i] *= scale


@njit(cache=True)
def _search_block(
    y: Float, pairs: Int, n_kept: int, block: ShortInt, units: Float, numbers: Int, scores: Float
) -> None:
    """Search a block of entries, made in `units`, for the voxels of some pairs; keep what beats `scores`."""
    found, work = np.empty(block.size, np.float32), np.empty(block.size, np.float32)
    for pair in pairs:
        best = _scores(units, y[pair // n_kept], found, work)
        if best > scores[pair]:
            scores[pair] = best
            numbers[pair] = block[np.argmax(found)]


@njit(parallel=True, cache=True)
def _search(
    y: Float,
    pairs: Int,
    ends: Int,
    n_kept: int,
    entries: ShortInt,
    offsets: Int,
    signals: Float,
    first: ShortInt,
    second: ShortInt,
    share: Double,
) -> tuple[Int, Float]:
    """Search the entries of each group for all voxels that keep it; the entries are made once, a block at a time.

    Pair p is of voxel ``p // n_kept``; those of group g are ``pairs[ends[g - 1]:ends[g]]``. Return the best entry of
    every pair and its score.
    """
    numbers, scores = np.zeros(pairs.size, np.int64), np.full(pairs.size, -1, np.float32)
    for group in prange(ends.size):
        of_group = pairs[(ends[group - 1] if group else 0) : ends[group]]
        if of_group.size > 0:
            for start in range(offsets[group], offsets[group + 1], BLOCK):
                block = entries[start : min(start + BLOCK, offsets[group + 1])]
                units = np.empty((y.shape[1], 2, block.size), np.float32)
                _make_units(block, signals, first, second, share, units)
                _search_block(y, of_group, n_kept, block, units, numbers, scores)
    return numbers, scores


def _on_device(
    unit: Complex, dictionary: Dictionary, groups: EntryGroups, n_kept: int, device: torch.device
) -> tuple[Int, Float]:
    """Do the same as `_on_cpu` with torch, many groups at a time.

    Groups are ordered by how many voxels keep them, so that those processed together are kept by similar numbers.
    """
    y, made = torch.from_numpy(unit).to(device), PartsOnDevice.of(dictionary, device)
    entries, representatives = (
        torch.from_numpy(array.copy()).to(device) for array in (groups.entries, groups.representatives)
    )
    kept = [
        (part @ representatives.mH).abs().topk(n_kept, dim=1, sorted=False).indices
        for part in torch.split(y, max(1, SCORES_AT_ONCE // groups.n_groups))
    ]
    by_group, pairs = torch.cat(kept).flatten().sort(stable=True)
    counts = torch.bincount(by_group, minlength=groups.n_groups)
    order = counts.argsort(stable=True)
    first_pair, first_entry = counts.cumsum(0) - counts, torch.from_numpy(groups.offsets.copy()).to(device)
    size = int(np.diff(groups.offsets).max())
    correlation = torch.full((pairs.numel(),), -1.0, device=device)
    number = torch.zeros(pairs.numel(), dtype=torch.int64, device=device)
    for start, stop in _batches(counts[order].cpu().numpy(), size):
        some = order[start:stop]
        # Padding: shorter groups repeat their last entry, and groups kept by fewer voxels their last pair.
        members = torch.minimum(
            first_entry[some, None] + torch.arange(size, device=device), first_entry[some + 1, None] - 1
        )
        most = torch.arange(int(counts[some].max()), device=device)
        chosen = pairs[first_pair[some, None] + torch.minimum(most, counts[some, None] - 1)]
        numbers = entries[members].long()
        units = made.units(numbers.flatten()).view(*numbers.shape, -1)
        best, index = (y[chosen // n_kept] @ units.mH).abs().max(dim=2)
        correlation[chosen], number[chosen] = best, numbers.gather(1, index)
    of_pair, which = correlation.view(-1, n_kept).max(dim=1)
    found = number.view(-1, n_kept).gather(1, which[:, None])[:, 0]
    return found.cpu().numpy(), of_pair.square().cpu().numpy()


def _batches(counts: Int, size: int) -> Iterator[tuple[int, int]]:
    """Split groups, sorted by how many voxels keep each, into parts of at most `SCORES_AT_ONCE` scores or one group."""
    start = int(np.searchsorted(counts, 1))
    while start < counts.size:
        n_scores = np.arange(1, counts.size - start + 1) * counts[start:] * size
        stop = start + max(1, int(np.searchsorted(n_scores, SCORES_AT_ONCE, side="right")))
        yield start, stop
        start = stop
