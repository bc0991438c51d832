"""Brute-force matching: every entry is made and compared with every voxel. The oracle of the other methods."""

from itertools import product

import numpy as np
import torch

from mrfpipe.arrays import Complex, check_shape
from mrfpipe.dictionary import Dictionary
from mrfpipe.matching.score import Matches, unit_signals
from mrfpipe.progress import Steps

VOXELS_AT_ONCE = 512
ENTRIES_AT_ONCE = 1 << 14
"""Of one pair of B1 and df; with as many voxels as above, 100 MB of scores."""


def match_brute(
    coefficients: Complex,
    dictionary: Dictionary,
    device: torch.device | None = None,
    progress: Steps | None = None,
) -> Matches:
    """Compare every voxel with every entry; of entries that score the same the lowest number of a group is returned.

    Entries are made for one (B1, df) at a time and compared block by block, so that neither they nor their scores fill
    the memory. They are made in double precision, as water and fat may nearly cancel, and compared in single.

    Parameters
    ----------
    coefficients
        Signals in the dictionary's basis, finite and not zero. Shape `(voxels, rank)`.
    dictionary
        All entries.
    device
        Where to compute; the CPU if not given.
    progress
        Called with the pairs of B1 and df done and of all.
    """
    check_shape("coefficients", coefficients, "voxels rank", {"rank": dictionary.rank})
    unit = torch.from_numpy(unit_signals(coefficients)).to(device or "cpu")
    ff = torch.from_numpy(dictionary.protocol.grid.ff.copy()).to(unit.device)[:, None, None, None]
    score = torch.full((len(unit),), -1.0, device=unit.device)
    number = torch.zeros(len(unit), dtype=torch.int64, device=unit.device)
    shape = dictionary.protocol.grid.shape
    within = torch.arange(int(np.prod(shape[:3])), device=unit.device) * (shape[3] * shape[4])
    for b1 in range(shape[4]):
        for df in range(shape[3]):
            water = torch.from_numpy(dictionary.water[:, b1, df].astype(np.complex128)).to(unit.device)
            fat = torch.from_numpy(dictionary.fat[:, b1, df].astype(np.complex128)).to(unit.device)
            entries = ((1 - ff) * water[:, None] + ff * fat).reshape(-1, dictionary.rank)
            entries /= torch.linalg.vector_norm(entries, dim=1, keepdim=True)
            entries = entries.to(unit.dtype)
            numbers = within + df * shape[4] + b1
            for start, first in product(range(0, len(unit), VOXELS_AT_ONCE), range(0, len(entries), ENTRIES_AT_ONCE)):
                part, some = slice(start, start + VOXELS_AT_ONCE), slice(first, first + ENTRIES_AT_ONCE)
                best, index = (unit[part] @ entries[some].mH).abs().max(dim=1)
                better = best > score[part]
                score[part] = torch.where(better, best, score[part])
                number[part] = torch.where(better, numbers[some][index], number[part])
            if progress is not None:
                progress(b1 * shape[3] + df + 1, shape[3] * shape[4])
    return Matches(entry=number.cpu().numpy(), score=score.square().cpu().numpy())
