import numpy as np
import pytest
from helpers import complex_normal, exact_dft
from hypothesis import given, settings
from hypothesis import strategies as st

from mrfpipe.imaging.nufft import combined_adjoint, nufft, nufft_adjoint, oversampled_grid

KERNEL_ERROR = {"sigpy": 4e-3, "finufft": 3e-4}
"""sigpy's kernel, 6 wide on a grid 1.097 times the matrix, errs by 3.4e-3, on larger grids by less; finufft is asked
for 1e-4, of its largest error in one dimension."""
BACKENDS = pytest.mark.parametrize("backend", ["sigpy", "finufft"])


def random_trajectory(rng: np.random.Generator, matrix: int) -> np.ndarray:
    return rng.uniform(-matrix / 2, matrix / 2, (3, 50, 2)).astype(np.float32)


@BACKENDS
@pytest.mark.parametrize("matrix", [32, 33, 70])
def test_both_directions_are_the_exact_transform(matrix, backend):
    """Random images have no symmetry: a flipped sign, swapped axes or a shifted centre would not pass."""
    rng = np.random.default_rng(matrix)
    images, trajectory = complex_normal(rng, 3, matrix, matrix), random_trajectory(rng, matrix)
    exact, samples = exact_dft(images, trajectory), complex_normal(rng, 3, 3, 50)
    found = nufft(images, trajectory, backend=backend)
    assert found.dtype == np.complex64
    assert np.linalg.norm(found - exact) < KERNEL_ERROR[backend] * np.linalg.norm(exact)
    kx, ky = trajectory.reshape(-1, 2).T.astype(float)
    voxel = 2j * np.pi * (np.arange(matrix) - matrix // 2) / matrix
    waves_y, waves_x = np.exp(np.outer(ky, voxel)), np.exp(np.outer(kx, voxel))
    exact = np.array([(waves_y * coil.reshape(-1, 1)).T @ waves_x for coil in samples])
    found = nufft_adjoint(samples, trajectory, matrix, backend=backend)
    assert found.dtype == np.complex64
    assert np.linalg.norm(found - exact) < KERNEL_ERROR[backend] * np.linalg.norm(exact)


@BACKENDS
@settings(deadline=None, max_examples=15)
@given(matrix=st.integers(16, 60), seed=st.integers(0, 2**16))
def test_nufft_adjoint_is_its_adjoint(backend, matrix, seed):
    rng = np.random.default_rng(seed)
    images, trajectory = complex_normal(rng, 2, matrix, matrix), random_trajectory(rng, matrix)
    samples = complex_normal(rng, 2, 3, 50)
    forward = nufft(images, trajectory, backend=backend)
    backward = nufft_adjoint(samples, trajectory, matrix, backend=backend)
    assert forward.shape == samples.shape
    assert backward.shape == images.shape
    left, right = np.vdot(samples, forward), np.vdot(backward, images)
    # float32 sums of some thousand products of unit variance
    assert abs(left - right) < 1e-5 * np.linalg.norm(samples) * np.linalg.norm(forward)


@BACKENDS
def test_a_point_sends_a_plane_wave(backend):
    """A point one voxel right of and two below the centre, by hand: s(k) = exp(-2 pi i (kx + 2 ky) / N)."""
    image = np.zeros((1, 20, 20), np.complex64)
    image[0, 12, 11] = 1
    trajectory = np.array([[[5, 0], [0, 5], [-5, 0], [0, 0]]], np.float32)
    expected = np.exp(-2j * np.pi * np.array([5, 10, -5, 0]) / 20)
    np.testing.assert_allclose(nufft(image, trajectory, backend=backend)[0, 0], expected, atol=KERNEL_ERROR[backend])


@BACKENDS
def test_coils_are_combined_as_their_images_would_be(backend):
    """The maps are conjugated, and no coil's weight is another's."""
    rng = np.random.default_rng(5)
    trajectory, samples, maps = (
        random_trajectory(rng, 33),
        complex_normal(rng, 3, 3, 50),
        complex_normal(rng, 3, 33, 33),
    )
    expected = np.sum(maps.conj() * nufft_adjoint(samples, trajectory, 33, backend=backend), axis=0)
    # float32 sums of the same terms, in another order.
    found = combined_adjoint(samples, trajectory, maps, backend=backend)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_the_grid_is_good_for_the_fft():
    assert oversampled_grid(350) == 384
    for matrix in range(10, 400):
        assert matrix * 1.095 <= oversampled_grid(matrix) <= matrix * 1.4


def test_a_trajectory_beyond_the_grid_is_refused():
    images = np.zeros((1, 20, 20), np.complex64)
    for k in (10.5, np.nan):
        with pytest.raises(ValueError, match="cycles/FOV, a matrix of 20 holds 10"):
            nufft(images, np.full((1, 1, 2), k, np.float32))
    with pytest.raises(ValueError, match="samples has shape"):
        nufft_adjoint(np.zeros((1, 2, 3), np.complex64), np.zeros((2, 4, 2), np.float32), 20)
