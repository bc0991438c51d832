"""The truth's file."""

from dataclasses import replace

import numpy as np
import pytest

from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.truth import Phantom, save_truth, truth_arrays


@pytest.fixture(scope="module")
def phantom():
    return thigh(matrix=64, fov=0.35, n_slices=2, slice_spacing=0.01, seed=0)


def test_has_the_units_of_files_and_zeros_outside(phantom):
    arrays = truth_arrays(phantom)
    assert list(arrays) == ["mask", "FF", "T1H2O", "T1fat", "df", "B1", "roi"]
    mask = phantom.maps.mask
    for name, array in arrays.items():
        assert array.shape == (2, 64, 64)
        assert not array[~mask].any()
        assert array.dtype == (np.uint8 if name in ("mask", "roi") else np.float32)
    np.testing.assert_allclose(arrays["T1H2O"][mask], phantom.maps.t1w[mask] * 1000, rtol=1e-6)
    np.testing.assert_allclose(arrays["T1fat"][mask], phantom.maps.t1f[mask] * 1000, rtol=1e-6)
    np.testing.assert_array_equal(arrays["df"][mask], phantom.maps.df[mask])


def test_is_written_to_exactly_the_path(phantom, tmp_path):
    path = tmp_path / "scan.truth.tmp"
    save_truth(phantom, path)
    assert [p.name for p in tmp_path.iterdir()] == ["scan.truth.tmp"]
    with np.load(path) as file:
        assert set(file.files) == set(truth_arrays(phantom))
        for name, array in truth_arrays(phantom).items():
            np.testing.assert_array_equal(file[name], array)


def test_regions_need_names(phantom):
    with pytest.raises(ValueError, match="roi_names"):
        replace(phantom, roi_names=("one",))
    with pytest.raises(ValueError, match="mask"):
        Phantom(maps=phantom.maps, rois=phantom.rois[:1], roi_names=phantom.roi_names)


def test_regions_cannot_be_written_to(phantom):
    with pytest.raises(ValueError, match="read-only"):
        phantom.rois[0, 0, 0] = 1
