"""Sharpness against waves whose frequency is known, a transform written out, and blurring."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mrfpipe.evaluation.sharpness import THRESHOLDS, high_frequency_energy


def everywhere(*shape: int) -> np.ndarray:
    return np.ones(shape, bool)


def slow_energy(image: np.ndarray, threshold: float) -> float:
    n_y, n_x = image.shape
    y, x = np.mgrid[:n_y, :n_x]
    high = total = 0.0
    for v in range(-(n_y // 2), (n_y + 1) // 2):
        for u in range(-(n_x // 2), (n_x + 1) // 2):
            energy = abs(np.sum(image * np.exp(-2j * np.pi * (v * y / n_y + u * x / n_x)))) ** 2
            total += energy
            if np.hypot(v / n_y, u / n_x) > threshold / 2:
                high += energy
    return high / total


@pytest.mark.parametrize("shape", [(8, 11), (9, 6)])
def test_energy_is_that_of_a_transform_written_out(shape):
    image = np.random.default_rng(0).normal(1, 1, (1, *shape))
    found = high_frequency_energy(image, everywhere(*image.shape), (0.0, 0.4, 0.7, 1.0))
    # Exact but for rounding: no frequency of these shapes lies on a threshold.
    np.testing.assert_allclose(found[0], [slow_energy(image[0], t) for t in (0.0, 0.4, 0.7, 1.0)], rtol=1e-10)


def test_a_wave_is_high_below_its_frequency_and_low_above():
    """Six waves of unit amplitude over 20 voxels are 60 % of the highest frequency; mean 2 has eight times as much."""
    x = np.arange(20)
    image = np.broadcast_to(2 + np.cos(2 * np.pi * 6 * x / 20), (3, 10, 20))
    for axes in ((0, 1, 2), (0, 2, 1)):
        turned = image.transpose(axes)
        found = high_frequency_energy(turned, everywhere(*turned.shape), (0.55, 0.65))
        np.testing.assert_allclose(found, [[0.5 / 4.5, 0]] * 3, atol=1e-12)


def test_blurring_lowers_it_at_every_threshold():
    rng = np.random.default_rng(1)
    image, mask = rng.normal(size=(2, 40, 33)), everywhere(2, 40, 33)
    sharp, blurred = (high_frequency_energy(i, mask) for i in (image, gaussian_filter(image, (0, 1, 1))))
    assert sharp.shape == (2, len(THRESHOLDS))
    assert np.all(blurred < 0.2 * sharp)
    assert np.all(np.diff(sharp, axis=1) < 0)


def test_scale_does_not_matter_and_neither_does_what_is_outside_or_missing():
    rng = np.random.default_rng(2)
    image, mask = rng.normal(size=(1, 12, 9)), rng.random((1, 12, 9)) > 0.3
    expected = high_frequency_energy(np.where(mask, image, 0), everywhere(1, 12, 9))
    np.testing.assert_array_equal(high_frequency_energy(np.where(mask, image, 99), mask), expected)
    np.testing.assert_array_equal(high_frequency_energy(np.where(mask, image, np.nan), everywhere(1, 12, 9)), expected)
    np.testing.assert_allclose(high_frequency_energy(1e3 * image, mask), expected, rtol=1e-10)


def test_nothing_has_no_sharpness():
    mask = everywhere(2, 5, 5)
    mask[1] = False
    found = high_frequency_energy(np.ones((2, 5, 5)), mask, (0.5,))
    assert found[0, 0] == pytest.approx(0, abs=1e-20)
    assert np.isnan(found[1, 0])


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="mask has shape"):
        high_frequency_energy(np.ones((1, 4, 5)), everywhere(1, 5, 4))
    with pytest.raises(ValueError, match="Thresholds"):
        high_frequency_energy(np.ones((1, 4, 5)), everywhere(1, 4, 5), (-0.1,))
