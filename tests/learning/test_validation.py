"""Validation against metrics worked out voxel by voxel over whole maps."""

import numpy as np
import pytest
import torch
from helpers import with_maps
from torch import nn

from mrfpipe.errors import InputError
from mrfpipe.learning.distributed import Team
from mrfpipe.learning.patches import TrainingData
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.learning.validation import validate
from mrfpipe.phantom.truth import PARAMETERS

FLOAT32 = torch.autocast("cpu", torch.bfloat16, enabled=False)


class Sums(nn.Module):
    """Some weighted sums of the frames, as a network without a neighbourhood."""

    margin = 0

    def __init__(self, n_inputs):
        super().__init__()
        self.output = nn.Conv2d(n_inputs, 5, 1)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.output.weight.normal_(0, 0.05, generator=generator)
            self.output.bias.fill_(0.5)

    def forward(self, frames):
        return self.output(frames)


def data_of(scan, protocol, patch_size=8):
    series, labels = scan
    return TrainingData(
        [series], [labels], map_scaling=MapScaling.of(protocol), patch_size=patch_size, receptive_field=1
    )


def measured(network, data, **changes):
    settings = {"batch_size": 3, "only_where_counts": False, "team": Team(), "autocast": FLOAT32} | changes
    return validate(network, data, **settings)


def slow(network, data, scaling):
    """Whole slices at once, float64, a map at a time."""
    series, labels = data.series[0], data.labels[0]
    window = data.signal_scalings[0].window
    frames = np.stack([window(images, 0, 0, *series.mask.shape[1:]) for images in series.images])
    with torch.inference_mode():
        maps = network(torch.from_numpy(frames)).double().numpy().transpose(1, 0, 2, 3)
    explained, squares, n = {}, 0.0, 0
    truth = scaling.to_unit(np.stack([labels.si[p.name] for p in PARAMETERS])).astype(float)
    for i, parameter in enumerate(PARAMETERS):
        error = (maps[i] - truth[i])[labels.mask]
        squares, n = squares + np.sum(error**2), n + error.size
        limits = {"T1H2O": labels.si["FF"] <= 0.7, "T1fat": labels.si["FF"] > 0.3}
        judged = labels.mask & limits.get(parameter.name, True)
        residual = (maps[i] - truth[i])[judged]
        explained[parameter.name] = 1 - np.mean(residual**2) / np.var(truth[i][judged])
    return squares / n, explained


@pytest.fixture(scope="module")
def scan(make_scan):
    return make_scan(3)


@pytest.mark.parametrize("patch_size", [8, 13])
def test_loss_and_explained_variance_are_those_of_whole_maps(scan, protocol, patch_size):
    data = data_of(scan, protocol, patch_size)
    network = Sums(2 * protocol.sequence.n_frames)
    found = measured(network, data)
    loss, explained = slow(network, data, MapScaling.of(protocol))
    # float32 estimates, whose sums are then taken in float64.
    assert found.loss == pytest.approx(loss, rel=1e-5)
    assert found.explained == pytest.approx(explained, rel=1e-5)
    assert found.score == pytest.approx(np.mean(list(explained.values())), rel=1e-5)


def test_a_team_shares_the_patches_out(scan, protocol):
    """The sums of two members would be those of one; without adding, each sees its own half."""
    data, network = data_of(scan, protocol), Sums(2 * protocol.sequence.n_frames)

    seen = []

    class Member(Team):
        def add(self, tensor):
            seen.append(tensor.clone())
            return tensor

    whole = measured(network, data)
    for rank in range(2):
        measured(network, data, team=Member(rank=rank, size=2))
    errors, sums = (seen[i] + seen[i + 2] for i in range(2))
    assert errors[1] == 5 * scan[1].mask.sum()  # nobody's patches twice
    # A batch's errors, some thousand, are summed in float32, in any order; a lost patch would take 1e-3.
    assert float(errors[0] / errors[1]) == pytest.approx(whole.loss, rel=1e-5)
    n = int(scan[1].mask.sum())
    assert sums[0].tolist() == [n, sums[0, 1].item(), sums[0, 2].item(), n, n]


def test_maps_that_do_not_vary_do_not_count(scan, protocol):
    series, labels = scan
    flat = with_maps(labels, df=np.where(labels.mask, 10, np.nan))
    found = measured(Sums(2 * protocol.sequence.n_frames), data_of((series, flat), protocol))
    assert np.isnan(found.explained["df"])
    assert found.score == pytest.approx(np.nanmean(list(found.explained.values())))
    constant = {p.name: np.where(labels.mask, 0.6, np.nan) for p in PARAMETERS}
    with pytest.raises(InputError, match="No map of the validation scans varies"):
        measured(Sums(2 * protocol.sequence.n_frames), data_of((series, with_maps(labels, **constant)), protocol))
