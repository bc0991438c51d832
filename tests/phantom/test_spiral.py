"""Spirals that a scanner could play."""

import numpy as np
import pytest
from helpers import small_protocol

from mrfpipe.acquisition.trajectory import GYROMAGNETIC_RATIO
from mrfpipe.phantom.spiral import MOST_GRADIENT, MOST_SLEW, golden_angle_spirals


@pytest.mark.parametrize(
    ("matrix", "n_samples", "dwell", "denser"), [(220, 1500, 4e-6, 2.0), (128, 1200, 2e-6, 4.0), (64, 500, 4e-6, 1.0)]
)
def test_a_scanner_could_play_it(matrix, n_samples, dwell, denser):
    sequence = small_protocol(matrix=matrix, fov_mm=220.0).sequence
    k = golden_angle_spirals(sequence, n_samples=n_samples, dwell=dwell, denser=denser)
    assert k.shape == (sequence.n_readouts, n_samples, 2)
    assert k.dtype == np.float32
    first = k[0].astype(float)
    gradient = np.diff(first, axis=0) / (dwell * GYROMAGNETIC_RATIO * sequence.fov)  # T/m
    assert np.hypot(*gradient.T).max() < 1.005 * MOST_GRADIENT
    # Where a limit takes over from another, a step of the integration is too large by a little.
    assert np.hypot(*np.diff(gradient, axis=0).T).max() / dwell < 1.02 * MOST_SLEW
    assert np.hypot(*np.diff(first, axis=0).T).max() < 1.005  # cycles/FOV from sample to sample: no aliasing along it
    radius, angle = np.hypot(*first.T), np.unwrap(np.arctan2(first[1:, 1], first[1:, 0]))
    assert radius[0] == 0
    assert radius[-1] == pytest.approx(matrix / 2, rel=1e-5)
    assert np.abs(k).max() <= matrix / 2
    assert np.all(np.diff(radius) > 0)
    assert np.all(np.diff(angle) > 0)
    # It turns by 2 pi where the radius grows by the spacing, which is that many times as wide at the edge.
    spacing = 2 * np.pi * np.diff(radius[1:]) / np.diff(angle)
    assert np.interp(matrix / 2, radius[2:], spacing) / np.interp(2.0, radius[2:], spacing) == pytest.approx(
        denser / (1 + (denser - 1) * 4 / matrix), rel=0.02
    )


def test_readouts_are_one_that_turns_by_the_golden_angle():
    k = golden_angle_spirals(small_protocol(matrix=64).sequence, n_samples=300)
    turn = np.exp(1j * 2 * np.pi * (2 - (1 + np.sqrt(5)) / 2))
    complex_k = k[..., 0] + 1j * k[..., 1]
    # float32 positions of up to 32 cycles/FOV
    np.testing.assert_allclose(complex_k[7], complex_k[0] * turn**7, atol=1e-4)
    np.testing.assert_allclose(np.angle(complex_k[0, 1]), 0, atol=0.05)  # off along +kx


def test_too_short_a_readout_is_refused():
    with pytest.raises(ValueError, match=r"In 0\.04 ms no spiral reaches the edge of k-space"):
        golden_angle_spirals(small_protocol(matrix=220).sequence, n_samples=10)
