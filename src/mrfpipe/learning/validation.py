"""Validation: how well a network fits scans that it is not trained on, by which the best weights are chosen."""

import math
from dataclasses import dataclass

import torch

from mrfpipe.errors import InputError
from mrfpipe.learning.distributed import Team
from mrfpipe.learning.loss import counting, judged, squared_error
from mrfpipe.learning.network import MapNetwork
from mrfpipe.learning.patches import TrainingData


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """How well a network fits."""

    loss: float
    """Mean squared error of all maps, scaled to 0..1, as in the training."""
    explained: dict[str, float]
    """Explained variance by the map's name: the fraction of its variance over voxels that the estimate explains; NaN if
    the map does not vary. The R2 in evaluations is that of a regression line, which does not penalise a wrong level.
    """

    @property
    def score(self) -> float:
        """Mean explained variance of the maps that vary."""
        values = [value for value in self.explained.values() if not math.isnan(value)]
        return sum(values) / len(values)


def validate(
    network: MapNetwork,
    data: TrainingData,
    *,
    batch_size: int,
    only_where_counts: bool,
    weighted: bool = False,
    team: Team,
    autocast: torch.autocast,
) -> Validation:
    """Compare a network's maps with those of the data; the patches are divided among a team.

    The network is left in evaluation mode; `only_where_counts` and `weighted` are passed to `counting` for the loss.
    InputError if no map of the data varies, so that there is no variance to explain.
    """
    device = network.output.weight.device
    network.eval()
    errors = torch.zeros(2, dtype=torch.float64, device=device)  # sum of squares, voxels times maps
    sums = torch.zeros(
        4, len(data.map_scaling.parameters), dtype=torch.float64, device=device
    )  # voxels, values, squares, errors
    with torch.inference_mode(), autocast:
        for cut in data.batches(data.positions()[team.rank :: team.size], batch_size):
            batch = cut.to(device)
            estimate = network(batch.frames)
            counts = counting(batch, data.map_scaling, only_where_counts=only_where_counts, weighted=weighted)
            errors += torch.stack([squared_error(estimate, batch, counts), counts.sum()])
            known = judged(batch, data.map_scaling).double()
            values, residual = batch.maps.double(), estimate.double() - batch.maps
            parts = (known, known * values, known * values**2, known * residual**2)
            sums += torch.stack([part.sum((0, 2, 3)) for part in parts])
    team.add(errors)
    team.add(sums)
    n, total, squares, unexplained = sums.cpu()
    variance = squares - total**2 / n
    # If all values are equal, the variance consists of rounding errors alone.
    explained = torch.where(variance > 1e-12 * squares, 1 - unexplained / variance, torch.nan).tolist()
    if all(math.isnan(value) for value in explained):
        raise InputError("No map of the validation scans varies, so they cannot rank networks; use other scans.")
    return Validation(
        loss=float(errors[0] / errors[1]),
        explained={p.name: value for p, value in zip(data.map_scaling.parameters, explained, strict=True)},
    )
