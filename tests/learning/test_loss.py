"""The loss counts what it should, once, and nothing else."""

import dataclasses

import pytest
import torch

from mrfpipe.learning.loss import counting, squared_error
from mrfpipe.learning.patches import Batch
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.phantom.truth import PARAMETERS

SCALING = MapScaling(parameters=PARAMETERS, low=(0.0, 0.5, 0.2, -120.0, 0.3), high=(1.0, 2.0, 0.4, 120.0, 1.0))


@pytest.fixture
def batch():
    foreground = torch.zeros(2, 1, 4, 4)
    foreground[0, 0, 1, 2] = foreground[1, 0, 3, 3] = 1
    return Batch(frames=torch.zeros(0), maps=torch.zeros(2, 5, 4, 4), foreground=foreground)


def test_air_neither_counts_nor_dilutes(batch):
    estimate = torch.full((2, 5, 4, 4), 100.0)
    estimate[0, :, 1, 2] = 2.0
    estimate[1, :, 3, 3] = 4.0
    counts = counting(batch, SCALING)
    assert squared_error(estimate, batch, counts) / counts.sum() == pytest.approx((4 + 16) / 2)


@pytest.mark.parametrize(("here", "there", "number"), [(0.7, 0.71, 1), (0.31, 0.3, 2)])
def test_t1_counts_on_request_only_where_its_parameter_does(batch, here, there, number):
    """T1 of water not in fat, and T1 of fat not in water; all else everywhere."""
    batch.maps[0, 0, 1, 2], batch.maps[1, 0, 3, 3] = here, there
    everywhere, some = counting(batch, SCALING), counting(batch, SCALING, only_where_counts=True)
    assert everywhere.sum() == 10
    lost = everywhere - some
    assert lost.sum() == 1
    assert lost[1, number, 3, 3] == 1
    assert torch.equal(batch.foreground.sum(), torch.tensor(2.0))


def test_whether_it_counts_is_asked_in_si_units(batch):
    """Of a grid from 0.5 to 1, a value of 0.3 is an FF of 0.65 and one of 0.5 is 0.75."""
    batch.maps[0, 0, 1, 2], batch.maps[1, 0, 3, 3] = 0.3, 0.5
    narrow = dataclasses.replace(SCALING, low=(0.5, *SCALING.low[1:]))
    lost = counting(batch, narrow) - counting(batch, narrow, only_where_counts=True)
    assert lost.sum() == 1
    assert lost[1, 1, 3, 3] == 1


def test_a_coarse_estimate_is_compared_in_float32(batch):
    batch.maps[:] = 1 / 3
    estimate = torch.full((2, 5, 4, 4), 1 / 3).bfloat16()
    error = squared_error(estimate, batch, counting(batch, SCALING))
    assert error.dtype == torch.float32
    # 2e-3 of a third is what bfloat16 is off; float32 knows that difference to 1e-4.
    assert error == pytest.approx(10 * (float(torch.tensor(1 / 3).bfloat16()) - 1 / 3) ** 2, rel=1e-3)


def test_maps_weigh_on_request_what_their_parameters_declare(batch):
    weights = (1.0, 2.0, 0.5, 4.0, 3.0)
    declared = tuple(dataclasses.replace(p, weight=w) for p, w in zip(PARAMETERS, weights, strict=True))
    scaling = dataclasses.replace(SCALING, parameters=declared)
    assert counting(batch, scaling)[0, :, 1, 2].tolist() == [1.0] * 5
    counts = counting(batch, scaling, weighted=True)
    assert counts[0, :, 1, 2].tolist() == list(weights)
    assert counts.sum() == 2 * sum(weights)
    batch.maps[0, 0, 1, 2] = 0.71
    both = counting(batch, scaling, only_where_counts=True, weighted=True)
    assert both[0, :, 1, 2].tolist() == [1.0, 0.0, 0.5, 4.0, 3.0]
    estimate = torch.zeros(2, 5, 4, 4)
    estimate[:, 3] = 0.5
    batch.maps[:] = 0
    assert squared_error(estimate, batch, counts) == pytest.approx(2 * 4 * 0.25)
