"""Loss: the squared errors that a training makes small, over the voxels where a map counts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mrfpipe.counting import enough
from mrfpipe.learning.patches import Batch
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.maps import PARAMETERS

_FAT, _WATER = ([parameter.field for parameter in PARAMETERS].index(field) for field in ("ff", "t1w"))


def counting(
    batch: Batch, scaling: MapScaling, most_fat: float | None = None, weights: Sequence[float] | None = None
) -> Tensor:
    """Tell how much every map counts: only in the foreground, so that the air a patch holds does not dilute the error.

    Parameters
    ----------
    batch
        Patches with the maps they should give.
    scaling
        How these maps are scaled.
    most_fat
        T1 of water counts only where the fat fraction is at most this; None counts it everywhere, as published.
    weights
        How much each map counts; None for 1, as published.

    Returns
    -------
        The weight where a map counts, 0 elsewhere. Shape `(patches, maps, y, x)`.
    """
    counts = batch.foreground.expand_as(batch.maps)
    if weights is not None:
        counts = counts * torch.tensor(weights, device=counts.device).reshape(-1, 1, 1)
    if most_fat is None:
        return counts
    counts = counts.clone()
    counts[:, _WATER] *= enough(PARAMETERS[_WATER], _fat_fraction(batch, scaling), most_fat=most_fat)
    return counts


def judged(batch: Batch, scaling: MapScaling) -> Tensor:
    """Tell where every map is compared with its reference, by the rule of `mrfpipe.counting`: 1 there, 0 elsewhere.

    Shape `(patches, maps, y, x)`.
    """
    ff = _fat_fraction(batch, scaling)
    return batch.foreground * torch.stack([enough(parameter, ff) for parameter in PARAMETERS], dim=1)


def _fat_fraction(batch: Batch, scaling: MapScaling) -> Tensor:
    low, high = scaling.low[_FAT], scaling.high[_FAT]
    return low + (high - low) * batch.maps[:, _FAT]


def squared_error(estimate: Tensor, batch: Batch, counts: Tensor) -> Tensor:
    """Sum the squared errors of the maps by how much they count, in float32 whatever the estimate is in."""
    return torch.sum((estimate.float() - batch.maps).square() * counts)
