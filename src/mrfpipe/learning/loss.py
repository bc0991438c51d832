"""Loss: the squared errors that a training makes small, over the voxels where a map counts."""

import torch
from torch import Tensor

from mrfpipe.learning.patches import Batch
from mrfpipe.learning.scaling import MapScaling


def counting(batch: Batch, scaling: MapScaling, *, only_where_counts: bool = False, weighted: bool = False) -> Tensor:
    """Tell how much every map counts: only in the foreground, so that the air a patch holds does not dilute the error.

    As published, maps count everywhere and all alike; or only where their parameter does, and as much as it declares.
    The weight where a map counts, 0 elsewhere. Shape `(patches, maps, y, x)`.
    """
    counts = judged(batch, scaling) if only_where_counts else batch.foreground.expand_as(batch.maps)
    if weighted:
        weights = [parameter.weight for parameter in scaling.parameters]
        counts = counts * torch.tensor(weights, device=counts.device).reshape(-1, 1, 1)
    return counts


def judged(batch: Batch, scaling: MapScaling) -> Tensor:
    """Tell where every map is compared with its reference, by its parameter's condition: 1 there, 0 elsewhere.

    Shape `(patches, maps, y, x)`.
    """
    return batch.foreground * scaling.counted(batch.maps)


def squared_error(estimate: Tensor, batch: Batch, counts: Tensor) -> Tensor:
    """Sum the squared errors of the maps by how much they count, in float32 whatever the estimate is in."""
    return torch.sum((estimate.float() - batch.maps).square() * counts)
