"""Scaling of frames and maps against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from mrfpipe.errors import InputError
from mrfpipe.learning.scaling import MapScaling, SignalScaling
from mrfpipe.phantom.truth import PARAMETERS


@pytest.fixture
def scan(make_scan):
    return make_scan(1)[0]


def changed(scan, change):
    images = scan.images.copy()
    change(images)
    return replace(scan, images=images)


def test_foreground_of_the_whole_scan_gets_mean_0_and_deviation_1_part_by_part(scan):
    scan = changed(scan, lambda images: images.imag.__imul__(3))
    scaling = SignalScaling.of(scan)
    windows = np.stack([scaling.window(frames, 0, 0, *scan.mask.shape[1:]) for frames in scan.images])
    foreground = np.moveaxis(windows, 1, 0)[:, scan.mask]
    real, imag = foreground[: scan.n_frames], foreground[scan.n_frames :]
    # float32 values of order 1, whose mean and deviation round by less than 1e-6; a single one by 1e-7 of the largest.
    for part in (real, imag):
        assert part.mean() == pytest.approx(0, abs=1e-5)
        assert part.std() == pytest.approx(1, rel=1e-5)
    slice_means = [windows[number, : scan.n_frames][:, scan.mask[number]].mean() for number in range(2)]
    assert max(np.abs(slice_means)) > 1e-3, "one mean for all slices, not one a slice"
    expected = scan.images[1, 3, 7, 9]
    assert windows[1, 3, 7, 9] == pytest.approx((expected.real - scaling.mean_real) / scaling.std_real, rel=1e-4)
    assert windows[1, 16 + 3, 7, 9] == pytest.approx((expected.imag - scaling.mean_imag) / scaling.std_imag, rel=1e-4)


def test_air_does_not_count(scan):
    def shout(images):
        images[:, :, ~scan.mask[0]] = 1e3

    assert SignalScaling.of(changed(scan, shout)) == SignalScaling.of(scan)


def test_gain_of_the_scan_does_not_matter(scan):
    def amplify(images):
        images *= 1e4

    loud = changed(scan, amplify)
    windows = [SignalScaling.of(s).window(s.images[0], 3, 4, 9, 9) for s in (scan, loud)]
    # float32 differences of values of order 1.
    np.testing.assert_allclose(*windows, rtol=1e-4, atol=1e-5)


def test_window_is_zero_outside_the_slice_and_the_slice_inside(scan):
    scaling = SignalScaling.of(scan)
    whole = scaling.window(scan.images[0], 0, 0, 37, 29)
    padded = np.pad(whole, ((0, 0), (50, 50), (50, 50)))
    for y, x, height, width in [(-3, -5, 12, 10), (30, 20, 12, 20), (5, 6, 7, 8), (-4, -4, 60, 50), (40, 2, 4, 4)]:
        window = scaling.window(scan.images[0], y, x, height, width)
        np.testing.assert_array_equal(window, padded[:, y + 50 : y + 50 + height, x + 50 : x + 50 + width])


def test_frames_that_are_not_finite_are_refused_by_slice(scan):
    def spoil(images):
        images[1, 4, 0, 0] = np.nan

    with pytest.raises(InputError, match="scan1: the frames of slice 2 are not finite"):
        SignalScaling.of(changed(scan, spoil))


def test_scans_without_signal_or_mask_are_refused(scan):
    with pytest.raises(InputError, match="no signal inside the mask"):
        SignalScaling.of(replace(scan, images=np.zeros_like(scan.images)))
    with pytest.raises(InputError, match="mask holds no voxel"):
        SignalScaling.of(replace(scan, mask=np.zeros_like(scan.mask)))


def test_maps_go_to_the_unit_range_and_back(protocol):
    scaling = MapScaling.of(protocol)
    maps = np.array([0.25, 0.875, 0.25, -60, 0.65])[:, None, None] * np.ones((1, 2, 3))
    unit = scaling.to_unit(maps)
    np.testing.assert_allclose(unit[:, 1, 2], [0.25, 0.25, 0.25, 0.25, 0.5], rtol=1e-6)
    np.testing.assert_allclose(scaling.from_unit(unit), maps, rtol=1e-6)


def test_estimates_beyond_the_range_are_clipped_and_known(protocol):
    scaling = MapScaling.of(protocol)
    maps = scaling.from_unit(np.array([[-0.5, 0.0, 0.5, 1.0, 1.5]] * 5, np.float32))
    np.testing.assert_allclose(maps[1], [0.5, 0.5, 1.25, 2.0, 2.0])
    np.testing.assert_array_equal(scaling.at_ends(maps), [[True, True, False, True, True]] * 5)
    assert not scaling.at_ends(np.full((5, 1), np.nan, np.float32)).any()


def test_a_range_of_one_value_gives_that_value():
    scaling = MapScaling(parameters=PARAMETERS, low=(0, 1, 0.3, -10, 1), high=(1, 2, 0.3, 10, 1))
    unit = scaling.to_unit(np.array([0.5, 1.5, 0.3, 0.0, 1.0]))
    np.testing.assert_allclose(unit, [0.5, 0.5, 0, 0.5, 0])
    np.testing.assert_allclose(scaling.from_unit(unit + 0.1)[[2, 4]], [0.3, 1.0], rtol=1e-6)


@pytest.mark.parametrize("low", [(0, 1), (0, 1, np.nan, 0, 0), (0, 1, 9, 0, 0)])
def test_a_scaling_must_be_ranges(low):
    with pytest.raises(ValueError, match="scaling"):
        MapScaling(parameters=PARAMETERS, low=low, high=(1, 2, 3, 4, 5))
