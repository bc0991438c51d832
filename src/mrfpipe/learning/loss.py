"""Loss: the squared errors that a training minimises, over the voxels where a map counts."""

import torch
from torch import Tensor

from mrfpipe.learning.patches import Batch
from mrfpipe.learning.scaling import MapScaling


def counting(batch: Batch, scaling: MapScaling, *, only_where_counts: bool = False, weighted: bool = False) -> Tensor:
    """Return the weight of every map in every voxel. Shape `(patches, maps, y, x)`.

    The weight is 0 outside the foreground, so that air in a patch does not dilute the error. By default, as published,
    all maps have weight 1 in the whole foreground. With `only_where_counts`, a map has weight 0 where its parameter's
    condition does not hold; with `weighted`, its weight is the one its parameter declares.
    """
    counts = judged(batch, scaling) if only_where_counts else batch.foreground.expand_as(batch.maps)
    if weighted:
        weights = [parameter.weight for parameter in scaling.parameters]
        counts = counts * torch.tensor(weights, device=counts.device).reshape(-1, 1, 1)
    return counts


def judged(batch: Batch, scaling: MapScaling) -> Tensor:
    """Return 1 where a map is compared with its reference, according to its parameter's condition, and 0 elsewhere.

    Shape `(patches, maps, y, x)`.
    """
    return batch.foreground * scaling.counted(batch.maps)


def squared_error(estimate: Tensor, batch: Batch, counts: Tensor) -> Tensor:
    """Sum the squared errors of the maps, weighted by `counts`, in float32 whatever the precision of the estimate."""
    return torch.sum((estimate.float() - batch.maps).square() * counts)
