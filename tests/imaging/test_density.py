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
