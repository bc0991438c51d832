"""Subspace reconstruction against the explicit matrices it stands for: every sign, conjugate and axis."""

from itertools import islice

import numpy as np
import pytest
import torch
from helpers import complex_normal, exact_dft, small_protocol
from sequences import first_readouts

from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.imaging.density import ramp_weights
from mrfpipe.imaging.normal import apply_normal, conjugate_gradients
from mrfpipe.imaging.subspace import normal_equations, solve_subspace, subspace_kernels

MATRIX, N_FRAMES, RANK, N_COILS, SPOKES_PER_FRAME = 16, 20, 3, 2, 8
NUFFT_ERROR = 2e-2
"""Relative: the NUFFT is good to half a percent of its samples' norm, and errors of all frames add up."""


@pytest.fixture(scope="module")
def trajectory() -> np.ndarray:
    full = small_protocol(matrix=MATRIX).sequence
    return golden_angle_spokes(first_readouts(full, N_FRAMES * SPOKES_PER_FRAME))


@pytest.fixture(scope="module")
def basis() -> np.ndarray:
    """Complex, orthonormal and smooth over the train, as that of a dictionary."""
    t = np.linspace(0, 1, N_FRAMES)
    signals = np.exp(np.outer(t, [-1.5, 0.5 + 4j, -3 - 2j]))
    return np.linalg.qr(signals)[0].astype(np.complex64)


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    """Neither real nor alike after a flip or transposition."""
    y, x = np.mgrid[:MATRIX, :MATRIX] / MATRIX
    return np.stack([1 - 0.6 * x + 0.5j * y, (0.3 + 0.7 * x * y) * np.exp(2j * x - 1j * y)]).astype(np.complex64)


def explicit_sampling(trajectory, maps, basis) -> np.ndarray:
    """Write the forward model as a matrix. Shape `(coils readouts samples, rank y x)`."""
    voxels = np.eye(MATRIX**2).reshape(-1, MATRIX, MATRIX)
    fourier = exact_dft(voxels, trajectory)  # (voxels, spokes, samples)
    repeated = np.repeat(basis, SPOKES_PER_FRAME, axis=0)
    sampling = np.einsum("cv,sr,vsk->cskrv", maps.reshape(N_COILS, -1), repeated, fourier, optimize=True)
    return sampling.reshape(-1, RANK * MATRIX**2)


@pytest.fixture(scope="module")
def sampling(trajectory, maps, basis) -> np.ndarray:
    return explicit_sampling(trajectory, maps, basis)


@pytest.fixture(scope="module")
def density(trajectory) -> np.ndarray:
    return ramp_weights(trajectory, MATRIX)


@pytest.fixture(scope="module")
def weights(density) -> np.ndarray:
    return np.broadcast_to(N_FRAMES * density, (N_COILS, *density.shape)).ravel()


@pytest.fixture(scope="module")
def repeated(basis) -> np.ndarray:
    """The basis with a value for every readout."""
    return np.repeat(basis, SPOKES_PER_FRAME, axis=0)


@pytest.fixture(scope="module")
def kernels(trajectory, density, repeated) -> torch.Tensor:
    return subspace_kernels(trajectory, density, repeated, SPOKES_PER_FRAME, MATRIX)


def normal(images: np.ndarray, maps: np.ndarray, kernels: torch.Tensor) -> np.ndarray:
    return apply_normal(torch.from_numpy(images), torch.from_numpy(maps), kernels).numpy()


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_normal_operator_is_that_of_the_explicit_matrix(sampling, weights, maps, kernels):
    images = complex_normal(np.random.default_rng(0), RANK, MATRIX, MATRIX)
    expected = (sampling.conj().T @ (weights * (sampling @ images.ravel()))).reshape(images.shape)
    assert relative_error(normal(images, maps, kernels), expected) < NUFFT_ERROR
    # Each basis vector by itself, so that a small coefficient's error is not lost in a large one's norm.
    for r in range(RANK):
        single = np.zeros_like(images)
        single[r] = images[r]
        expected = (sampling.conj().T @ (weights * (sampling @ single.ravel()))).reshape(images.shape)
        found = normal(single, maps, kernels)
        for q in range(RANK):
            assert np.linalg.norm(found[q] - expected[q]) < NUFFT_ERROR * np.linalg.norm(expected), (r, q)


def test_normal_operator_is_hermitian_and_positive(maps, kernels):
    rng = np.random.default_rng(1)
    a, b = complex_normal(rng, 2, RANK, MATRIX, MATRIX)
    there, back = np.vdot(a, normal(b, maps, kernels)), np.vdot(normal(a, maps, kernels), b)
    # float32 sums of some thousand products
    assert there == pytest.approx(back, abs=1e-4 * float(np.linalg.norm(a) * np.linalg.norm(b)))
    assert np.vdot(a, normal(a, maps, kernels)).real > 0
    np.testing.assert_array_equal(kernels.numpy(), np.conj(np.swapaxes(kernels.numpy(), 0, 1)))


def test_scale_of_the_operator_is_one(trajectory, kernels):
    """Of constant sensitivity and an image that all spokes see."""
    y, x = np.mgrid[:MATRIX, :MATRIX] - MATRIX // 2
    images = np.zeros((RANK, MATRIX, MATRIX), np.complex64)
    images[0] = np.exp(-(x**2 + y**2) / 8)
    ones = np.ones((1, MATRIX, MATRIX), np.complex64)
    found = normal(images, ones, kernels)
    # Weighted by a basis vector, golden-angle spokes are not quite evenly spread: 1.013 was seen.
    assert np.vdot(images, found).real / np.vdot(images, images).real == pytest.approx(1, abs=0.05)


def test_solution_is_the_least_squares_one(sampling, weights, trajectory, density, maps, repeated):
    """Of samples that no coefficients explain: what is left of the explicit normal equations."""
    samples = complex_normal(np.random.default_rng(2), N_COILS, *trajectory.shape[:2])
    right = sampling.conj().T @ (weights * samples.ravel())
    equations = normal_equations(samples, trajectory, density, maps, repeated, SPOKES_PER_FRAME)
    found = solve_subspace(equations, 60, denoised=False)
    assert relative_error(sampling.conj().T @ (weights * (sampling @ found.ravel())), right) < NUFFT_ERROR


def smooth_images() -> np.ndarray:
    """Coefficients whose k-space is within the disc that spokes reach."""
    y, x = np.mgrid[:MATRIX, :MATRIX] - MATRIX // 2
    spots = [(-2, 3, 2.0), (3, -1, 1.0j), (1, 2, -0.5 + 0.3j)]
    return np.array([scale * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 6) for a, b, scale in spots]).astype(np.complex64)


def test_noise_free_phantom_is_recovered(trajectory, density, maps, repeated, kernels):
    """In the units of frames, and the same with kernels that are given."""
    truth = smooth_images()
    samples = np.einsum("sr,crsk->csk", repeated, exact_dft(maps[:, None] * truth, trajectory)).astype(np.complex64)
    equations = normal_equations(samples, trajectory, density, maps, repeated, SPOKES_PER_FRAME)
    found = solve_subspace(equations, 40, denoised=False)
    assert relative_error(found, truth) < NUFFT_ERROR
    equations = normal_equations(samples, trajectory, density, maps, repeated, SPOKES_PER_FRAME, kernels=kernels)
    again = solve_subspace(equations, 40, denoised=False)
    # Libraries add in an order that depends on where arrays lie; some iterations of float32 make 1e-6 of it.
    np.testing.assert_allclose(again, found, atol=1e-4 * np.abs(found).max())


def test_each_iteration_gives_the_best_solution_so_far():
    """Conjugate gradients of n steps minimise the error's energy over the span of n powers of the operator."""
    scales = torch.linspace(1, 100, 50, dtype=torch.float64).to(torch.complex128)
    right = torch.linspace(1, 2, 50, dtype=torch.float64) * torch.exp(0.3j * torch.arange(50))
    calls: list[int] = []

    def operator(images):
        calls.append(1)
        return scales * images

    powers = torch.stack([scales**n * right for n in range(4)], dim=1)
    for n, solution in enumerate(islice(conjugate_gradients(operator, right), 4), start=1):
        assert len(calls) == n
        span, _ = torch.linalg.qr(powers[:, :n])
        best = span @ torch.linalg.solve(span.mH @ (scales[:, None] * span), span.mH @ right)
        # rounding of double precision, times the condition of the powers
        torch.testing.assert_close(solution, best, rtol=0, atol=1e-9 * float(best.abs().max()))


def test_iterations_end_where_nothing_is_left():
    def operator(images):
        return 2 * images

    right = torch.ones(5, dtype=torch.complex128)
    assert [solution.tolist() for solution in conjugate_gradients(operator, right)] == [[0.5] * 5]
    assert not list(conjugate_gradients(operator, 0 * right))


def test_shapes_that_do_not_fit_are_refused(trajectory, density, maps, repeated, kernels):
    samples = np.zeros((N_COILS, *trajectory.shape[:2]), np.complex64)
    with pytest.raises(ValueError, match="basis has shape"):
        normal_equations(samples, trajectory, density, maps, repeated[1:], 8)
    with pytest.raises(ValueError, match="kspace has shape"):
        normal_equations(samples[:1], trajectory, density, maps, repeated, 8)
    with pytest.raises(ValueError, match="maps has shape"):
        normal_equations(samples, trajectory, density, maps[:, 1:], repeated, 8)
    with pytest.raises(ValueError, match="rank 2 and matrix 16 need others"):
        normal_equations(samples, trajectory, density, maps, repeated[:, :2], 8, kernels=kernels)
