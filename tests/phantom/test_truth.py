"""A body whose maps are known."""

from dataclasses import replace

import pytest

from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.truth import Phantom


@pytest.fixture(scope="module")
def phantom():
    return thigh(matrix=64, fov=0.35, n_slices=2, slice_spacing=0.01, seed=0)


def test_regions_need_names(phantom):
    with pytest.raises(ValueError, match="roi_names"):
        replace(phantom, roi_names=("one",))
    with pytest.raises(ValueError, match="mask"):
        Phantom(maps=phantom.maps, rois=phantom.rois[:1], roi_names=phantom.roi_names)


def test_regions_cannot_be_written_to(phantom):
    with pytest.raises(ValueError, match="read-only"):
        phantom.rois[0, 0, 0] = 1
