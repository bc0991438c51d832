"""Brute-force matching: every entry is compared with every voxel. The reference for the other methods."""

from itertools import product

import numpy as np
import torch
from torch import Tensor

from mrfpipe.arrays import Complex, check_shape
from mrfpipe.dictionary import Dictionary
from mrfpipe.matching.score import Matches, unit_signals
from mrfpipe.progress import UNTOLD, Steps

VOXELS_AT_ONCE = 512
ENTRIES_AT_ONCE = 1 << 14
"""Entries of one point of the shared axes; with as many voxels as above, their scores take 100 MB."""


def match_brute(
    coefficients: Complex,
    dictionary: Dictionary,
    device: torch.device | None = None,
    progress: Steps = UNTOLD,
) -> Matches:
    """Compare every voxel with every entry; among equal scores of a group, the lowest entry number wins.

    Entries are computed for one point of the shared axes at a time and compared block by block, which limits the memory
    for entries and scores. They are computed in double precision, because components may nearly cancel, and compared in
    single precision.

    Parameters
    ----------
    coefficients
        Signals in the dictionary's basis, finite and not zero. Shape `(voxels, rank)`.
    dictionary
        All entries.
    device
        Where to compute; the CPU if not given.
    progress
        Called with the number of points of the shared axes done and the number of all points.
    """
    check_shape("coefficients", coefficients, "voxels rank", {"rank": dictionary.rank})
    unit = torch.from_numpy(unit_signals(coefficients)).to(device or "cpu")
    shares = torch.from_numpy(dictionary.shares.copy()).to(unit.device)[:, None, None, None]
    score = torch.full((len(unit),), -1.0, device=unit.device)
    number = torch.zeros(len(unit), dtype=torch.int64, device=unit.device)
    by_group = dictionary.by_group()
    within = np.indices([len(shares) or 1, *(signals.shape[1] for signals in by_group)]).reshape(1 + len(by_group), -1)
    for group in range(dictionary.n_groups):
        numbers = torch.from_numpy(dictionary.numbers(np.full(within.shape[1], group), *within)).to(unit.device)
        entries = _entries([signals[group] for signals in by_group], shares)
        entries = (entries / torch.linalg.vector_norm(entries, dim=1, keepdim=True)).to(unit.dtype)
        for start, first in product(range(0, len(unit), VOXELS_AT_ONCE), range(0, len(entries), ENTRIES_AT_ONCE)):
            part, some = slice(start, start + VOXELS_AT_ONCE), slice(first, first + ENTRIES_AT_ONCE)
            best, index = (unit[part] @ entries[some].mH).abs().max(dim=1)
            better = best > score[part]
            score[part] = torch.where(better, best, score[part])
            number[part] = torch.where(better, numbers[some][index], number[part])
        progress(group + 1, dictionary.n_groups)
    return Matches(entry=number.cpu().numpy(), score=score.square().cpu().numpy())


def _entries(signals: list[Complex], shares: Tensor) -> Tensor:
    """Compute all entries of a group in double precision, over share and the signals of each component."""
    on_device = [torch.from_numpy(some.astype(np.complex128)).to(shares.device) for some in signals]
    if len(on_device) == 1:
        return on_device[0]
    first, second = on_device
    return ((1 - shares) * first[:, None] + shares * second).reshape(-1, first.shape[-1])
