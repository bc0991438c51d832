"""The truth generator's Fourier transform against the exact sum."""

import numpy as np
import pytest

from mrfpipe.imaging.nufft import nufft
from mrfpipe.phantom.fourier import sample_spokes

ACCURACY = 3e-5
"""What the module promises: six taps at twofold oversampling, and single precision."""
COARSE_ACCURACY = 1e-2
"""Of the reconstruction's transform, with four taps at 1.25-fold oversampling."""


def numbers(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def exact(coils, images, weights, trajectory):
    n = coils.shape[-1]
    place = np.arange(n) - n // 2
    kx, ky = (trajectory[..., i].astype(np.float64)[..., None] for i in (0, 1))
    along_x, along_y = np.exp(-2j * np.pi * kx * place / n), np.exp(-2j * np.pi * ky * place / n)
    samples = np.empty((len(coils), *trajectory.shape[:2]), complex)
    for i, weight in enumerate(weights):
        seen = coils * np.tensordot(weight, images, 1)
        samples[:, i] = np.einsum("cyx,jx,jy->cj", seen, along_x[i], along_y[i])
    return samples


def problem(n, rank=5, n_coils=3):
    rng = np.random.default_rng(n)
    trajectory = ((rng.random((7, 40, 2)) - 0.5) * n).astype(np.float32)
    trajectory[0, :3] = [[0.0, 0.0], [n / 2, -n / 2], [-n / 2, n / 2]]
    return numbers(rng, n_coils, n, n), numbers(rng, rank, n, n), numbers(rng, 7, rank), trajectory


@pytest.mark.parametrize("n", [8, 31, 32, 45, 50])
def test_agrees_with_the_exact_sum(n):
    args = problem(n)
    expected = exact(*args)
    error = np.linalg.norm(sample_spokes(*args) - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    assert error.max() < ACCURACY


@pytest.mark.parametrize(("rank", "n_coils"), [(1, 1), (9, 4), (3, 40)])
def test_any_number_of_images_and_coils(rank, n_coils):
    args = problem(24, rank, n_coils)
    expected = exact(*args)
    assert np.linalg.norm(sample_spokes(*args) - expected) < ACCURACY * np.linalg.norm(expected)


def test_a_point_off_centre_turns_the_phase_the_right_way():
    n, x, y = 16, 11, 5
    image = np.zeros((1, n, n), np.complex64)
    image[0, y, x] = 1j
    trajectory = np.array([[[1.0, 0.0], [0.0, 1.0], [2.5, -1.5]]], np.float32)
    samples = sample_spokes(np.ones((1, n, n), np.complex64), image, np.ones((1, 1), np.complex64), trajectory)
    turns = np.array([1.0 * 3, 1.0 * -3, 2.5 * 3 - 1.5 * -3]) / n
    np.testing.assert_allclose(samples[0, 0], 1j * np.exp(-2j * np.pi * turns), atol=ACCURACY)


def test_shares_the_convention_of_the_reconstruction():
    coils, images, _, trajectory = problem(32, 1)
    samples = sample_spokes(coils, images, np.ones((7, 1), np.complex64), trajectory)
    coarse = nufft((coils * images).astype(np.complex64), trajectory)
    assert np.linalg.norm(samples - coarse) < COARSE_ACCURACY * np.linalg.norm(samples)


def test_leaves_its_inputs_alone():
    args = problem(16)
    before = [a.copy() for a in args]
    sample_spokes(*args)
    for a, b in zip(args, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_refuses_shapes_that_do_not_fit():
    coils, images, weights, trajectory = problem(16)
    with pytest.raises(ValueError, match="weights"):
        sample_spokes(coils, images, weights[:, :-1], trajectory)
    with pytest.raises(ValueError, match="images"):
        sample_spokes(coils, images[:, :-1], weights, trajectory)
