import numpy as np
import pytest
from helpers import complex_normal, exact_dft
from hypothesis import given, settings
from hypothesis import strategies as st

from mrfpipe.imaging.nufft import nufft, nufft_adjoint, oversampled_grid

KERNEL_ERROR = 1e-2
"""A kernel 4 wide on a grid 1.25 times the matrix errs by 6e-3 to 7e-3; on larger grids by less."""


def random_trajectory(rng: np.random.Generator, matrix: int) -> np.ndarray:
    return rng.uniform(-matrix / 2, matrix / 2, (3, 50, 2)).astype(np.float32)


@pytest.mark.parametrize("matrix", [32, 33, 70])
def test_nufft_is_the_exact_transform(matrix):
    """Random images have no symmetry: a flipped sign, swapped axes or a shifted centre would not pass."""
    rng = np.random.default_rng(matrix)
    images, trajectory = complex_normal(rng, 2, matrix, matrix), random_trajectory(rng, matrix)
    exact = exact_dft(images, trajectory)
    assert np.linalg.norm(nufft(images, trajectory) - exact) < KERNEL_ERROR * np.linalg.norm(exact)


@settings(deadline=None, max_examples=15)
@given(matrix=st.integers(16, 60), seed=st.integers(0, 2**16))
def test_nufft_adjoint_is_its_adjoint(matrix, seed):
    rng = np.random.default_rng(seed)
    images, trajectory = complex_normal(rng, 2, matrix, matrix), random_trajectory(rng, matrix)
    samples = complex_normal(rng, 2, 3, 50)
    forward, backward = nufft(images, trajectory), nufft_adjoint(samples, trajectory, matrix)
    assert forward.shape == samples.shape
    assert backward.shape == images.shape
    left, right = np.vdot(samples, forward), np.vdot(backward, images)
    # float32 sums of some thousand products of unit variance
    assert abs(left - right) < 1e-5 * np.linalg.norm(samples) * np.linalg.norm(forward)


def test_a_point_sends_a_plane_wave():
    """A point one voxel right of and two below the centre, by hand: s(k) = exp(-2 pi i (kx + 2 ky) / N)."""
    image = np.zeros((1, 20, 20), np.complex64)
    image[0, 12, 11] = 1
    trajectory = np.array([[[5, 0], [0, 5], [-5, 0], [0, 0]]], np.float32)
    expected = np.exp(-2j * np.pi * np.array([5, 10, -5, 0]) / 20)
    np.testing.assert_allclose(nufft(image, trajectory)[0, 0], expected, atol=KERNEL_ERROR)


def test_the_grid_is_good_for_the_fft():
    assert oversampled_grid(350) == 440
    for matrix in range(10, 400):
        assert matrix * 1.25 <= oversampled_grid(matrix) <= matrix * 1.6


def test_a_trajectory_beyond_the_grid_is_refused():
    images = np.zeros((1, 20, 20), np.complex64)
    for k in (10.5, np.nan):
        with pytest.raises(ValueError, match="cycles/FOV, a matrix of 20 holds 10"):
            nufft(images, np.full((1, 1, 2), k, np.float32))
    with pytest.raises(ValueError, match="samples has shape"):
        nufft_adjoint(np.zeros((1, 2, 3), np.complex64), np.zeros((2, 4, 2), np.float32), 20)
