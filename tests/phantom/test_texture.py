"""Texture varies every map by itself, within the grid and the mask, and nothing else."""

import numpy as np
import pytest

from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.texture import STRONGEST, WEAKEST, textured
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.protocol import load_protocol

GRID = load_protocol("t1ff").grid


@pytest.fixture(scope="module")
def phantom():
    return thigh(matrix=64, fov=0.35, n_slices=2, slice_spacing=0.01, seed=0)


def test_every_map_varies_by_itself_and_by_no_more_than_said(phantom):
    rough = textured(phantom, GRID, seed=3)
    mask, changes = phantom.maps.mask, []
    for parameter in PARAMETERS:
        before, after = (maps.si[parameter.name][mask] for maps in (phantom.maps, rough.maps))
        axis = GRID[parameter.name]
        assert after.min() >= np.float32(axis[0])
        assert after.max() <= np.float32(axis[-1])
        changes.append(after - before)
        # Clipping takes from it, and a field's coarse parts need not have their full variance inside the mask.
        spread = (after - before).std() / STRONGEST[parameter.name]
        assert WEAKEST / 3 < spread < 1.5, parameter.name
    correlation = np.corrcoef(changes) - np.eye(len(PARAMETERS))
    assert np.abs(correlation).max() < 0.5  # coarse fields in a small mask correlate by chance; equal ones by 1


def test_slices_differ_and_what_is_no_parameter_stays(phantom):
    rough = textured(phantom, GRID, seed=3)
    change = np.where(phantom.maps.mask, rough.maps.si["df"] - phantom.maps.si["df"], 0)
    both = phantom.maps.mask.all(axis=0)
    assert abs(np.corrcoef(change[0][both], change[1][both])[0, 1]) < 0.6
    np.testing.assert_array_equal(rough.maps.mask, phantom.maps.mask)
    np.testing.assert_array_equal(rough.maps.m0, phantom.maps.m0)
    np.testing.assert_array_equal(rough.rois, phantom.rois)
    assert np.isnan(rough.maps.si["df"][~phantom.maps.mask]).all()


def test_seed_decides(phantom):
    first, again, other = (textured(phantom, GRID, seed=seed).maps.si["T1H2O"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.nanmax(np.abs(first - other)) > 0.01
