"""Where maps count: one rule for voxels and regions, arrays and tensors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import parameter_maps

from mrfpipe.phantom.truth import PARAMETERS

FATS = np.array([0, 0.3, 0.31, 0.7, 0.71, 1], np.float32)
COUNTS = {"T1H2O": [1, 1, 1, 1, 0, 0], "T1fat": [0, 0, 1, 1, 1, 1]}


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_arrays_and_tensors_follow_one_rule(parameter):
    expected = COUNTS.get(parameter.name, [1] * 6)
    assert parameter.counts_where({"FF": FATS, parameter.name: FATS}).tolist() == expected
    if parameter.counts is not None:
        assert parameter.counts.holds(torch.from_numpy(FATS)).tolist() == expected


def test_voxels_and_regions():
    """Region 2 is 0.8 fat on average; in the other slice the same label is not, where its fattest voxel is masked."""
    ff = np.array([[[0.1, 0.9, 0.5, 0.9, 0.9, 0.9]], [[0.1, 0.2, 0.5, 0.5, 0.5, 0.99]]], np.float32)
    rois = np.array([[[1, 1, 2, 2, 2, 0]], [[0, 1, 2, 2, 2, 2]]])
    mask = np.ones(ff.shape, bool)
    mask[1, 0, 5] = False
    ones = np.ones(mask.shape)
    reference = parameter_maps(
        mask=mask, FF=ff, **dict.fromkeys(("T1H2O", "T1fat", "df", "B1", "m0", "phase", "match"), ones)
    )
    by_name = {p.name: p for p in PARAMETERS}
    found = {name: reference.counting_regions(p, rois).tolist() for name, p in by_name.items()}
    assert found["T1H2O"] == [[[1, 0, 0, 0, 0, 0]], [[0, 1, 2, 2, 2, 0]]]
    assert found["T1fat"] == [[[0, 1, 2, 2, 2, 0]], [[0, 0, 2, 2, 2, 0]]]
    assert found["FF"] == found["df"] == [[[1, 1, 2, 2, 2, 0]], [[0, 1, 2, 2, 2, 0]]]
    voxels = reference.compared(by_name["T1fat"])
    assert voxels.tolist() == [[[False, True, True, True, True, True]], [[False, False, True, True, True, False]]]


def test_where_standard_deviations_are_known_they_say_what_counts():
    """T1 by its relative deviation, FF by its own; comparisons keep to the protocol, voxels outside never count."""
    ff, t1 = np.full((1, 1, 4), 0.9, np.float32), np.full((1, 1, 4), 1.4, np.float32)
    rest = dict.fromkeys(("T1fat", "df", "B1", "m0", "phase", "match"), np.ones(ff.shape))
    unsure = np.array([[[0.069, 0.071, 0.001, 0.001]]], np.float32)
    sd = {
        p.name: unsure if p.name == "T1H2O" else np.array([[[0.04, 0.04, 0.06, 0.04]]], np.float32) for p in PARAMETERS
    }
    mask = np.array([[[True, True, True, False]]])
    maps = replace(parameter_maps(mask=mask, FF=ff, T1H2O=t1, **rest), sd=sd)
    by_name = {p.name: p for p in PARAMETERS}
    assert maps.counts(by_name["T1H2O"]).tolist() == [[[True, False, True, False]]]
    assert maps.counts(by_name["FF"]).tolist() == [[[True, True, False, False]]]
    assert maps.counting_rule(by_name["T1H2O"]) == "its standard deviation is at most 5 %"
    assert maps.counting_rule(by_name["df"]) == "its standard deviation is at most 5 Hz"
    assert not maps.compared(by_name["T1H2O"]).any()
    assert replace(maps, sd=None).counting_rule(by_name["T1H2O"]) == "FF <= 0.7"
