"""Density: the ramp on evenly spread and on golden-angle spokes."""

import numpy as np
import pytest
from helpers import exact_dft

from mrfpipe.imaging.density import ramp_weights
from mrfpipe.imaging.nufft import nufft_adjoint

MATRIX = 32
GOLDEN = np.deg2rad(111.24611797498108)


def spokes(angles):
    k = (np.arange(2 * MATRIX) - MATRIX) / 2
    return (k[None, :, None] * np.stack([np.cos(angles), np.sin(angles)], -1)[:, None]).astype(np.float32)


def imaging_error(weights, trajectory):
    """Of a smooth asymmetric object, whose k-space is inside the sampled disc."""
    y, x = np.mgrid[:MATRIX, :MATRIX] - MATRIX // 2
    image = np.exp(-((x - 4) ** 2 + (y + 2) ** 2) / 18) + 0.5 * np.exp(-((x + 5) ** 2 + (y - 6) ** 2) / 8)
    samples = (exact_dft(image[None], trajectory) * weights).astype(np.complex64)
    found = nufft_adjoint(samples, trajectory, MATRIX)[0]
    return np.linalg.norm(found - image) / np.linalg.norm(image)


@pytest.mark.parametrize(
    "angles", [np.pi * np.arange(60) / 60, GOLDEN * np.arange(60)], ids=["evenly spread", "golden angle"]
)
def test_fully_sampled_data_give_the_image_itself(angles):
    trajectory = spokes(angles)
    # What was seen was 0.02 on even spokes and 0.05 on golden angles, which are not quite even.
    assert imaging_error(ramp_weights(trajectory, MATRIX), trajectory) < 0.06


def test_spokes_that_miss_the_centre_fill_rings_of_their_area():
    """By 0.6 cycles/FOV, shifted along themselves, too. By the radius of samples, rings would be 6 % too large."""
    rng, n_spokes, missed = np.random.default_rng(0), 2000, 0.6
    angles = np.pi * np.arange(n_spokes) / n_spokes
    along, across = (np.stack([np.cos(a), np.sin(a)], axis=-1) for a in (angles, angles + np.pi / 2))
    shift = rng.uniform(-0.25, 0.25, (n_spokes, 1)) * along + missed * across
    trajectory = (spokes(angles) + shift[:, None]).astype(np.float32)
    weights, radius = ramp_weights(trajectory, MATRIX) * MATRIX**2, np.linalg.norm(trajectory, axis=-1)
    for inner, outer in ((1.0, 3.0), (1.0, 12.0), (0.0, 2.0)):
        area = weights[(inner < radius) & (radius < outer)].sum()
        assert area == pytest.approx(np.pi * (outer**2 - inner**2), rel=0.01)
