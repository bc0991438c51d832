"""Convolution with the point spread, against sampling and summing back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import complex_normal, exact_dft, small_protocol

from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.imaging.density import ramp_weights
from mrfpipe.imaging.nufft import nufft, nufft_adjoint
from mrfpipe.phantom.pointspread import point_spread

CPU = torch.device("cpu")


def short(protocol, n_frames):
    """The first frames of a protocol's train."""
    sequence = protocol.sequence
    some = slice(0, n_frames * sequence.spokes_per_frame)
    return replace(
        protocol,
        sequence=replace(sequence, flip=sequence.flip[some], te=sequence.te[some], tr=sequence.tr[some]),
    )


@pytest.fixture(scope="module", params=[48, 49])
def protocol(request):
    return short(small_protocol(matrix=request.param), 10)


@pytest.fixture(scope="module")
def spread(protocol):
    return point_spread(protocol.sequence, CPU)


@pytest.fixture(scope="module")
def spokes(protocol):
    """Trajectory `(frames, spokes, samples, 2)` and weights of every frame."""
    sequence = protocol.sequence
    trajectory = golden_angle_spokes(sequence).reshape(sequence.n_frames, sequence.spokes_per_frame, -1, 2)
    return trajectory, np.stack([ramp_weights(frame, sequence.matrix) for frame in trajectory])


def images_of(protocol, seed=0):
    n = protocol.sequence.matrix
    return complex_normal(np.random.default_rng(seed), protocol.sequence.n_frames, n, n)


def test_blurring_is_the_exact_sum_over_samples(protocol, spread, spokes):
    images, n = images_of(protocol), protocol.sequence.matrix
    blurred = spread.blur(torch.from_numpy(images)).numpy()
    centred = np.arange(n) - n // 2
    for t in (0, 4, 9):
        k = spokes[0][t].reshape(-1, 2).astype(float)
        weighted = exact_dft(images[t], k) * spokes[1][t].ravel()
        along_x, along_y = (np.exp(2j * np.pi * np.outer(k[:, i], centred) / n) for i in (0, 1))
        explicit = np.einsum("k,ky,kx->yx", weighted, along_y, along_x)
        # Complex64 throughout: sums of some thousand terms, and two FFTs.
        assert np.linalg.norm(blurred[t] - explicit) < 1e-5 * np.linalg.norm(explicit)


def test_frames_are_those_of_the_nufft_for_a_uniform_coil(protocol, spread, spokes):
    n = protocol.sequence.matrix
    true = images_of(protocol)
    made = spread.blur(torch.from_numpy(true)).numpy()
    worst = 0.0
    for t, (trajectory, weights) in enumerate(zip(*spokes, strict=True)):
        frame = nufft_adjoint(nufft(true[t, None], trajectory) * weights, trajectory, n)[0]
        worst = max(worst, np.linalg.norm(made[t] - frame) / np.linalg.norm(frame))
    # Twice the error of sigpy's kernel of width 4 at 1.25 times the matrix, a few 1e-3 forward and adjoint.
    assert worst < 1e-2


def test_noise_has_the_covariance_of_weighted_samples(protocol, spread, spokes):
    generator, n, n_draws = torch.Generator().manual_seed(1), protocol.sequence.matrix, 80
    frame = replace(spread, transfer=spread.transfer[5:6], positions=spread.positions[5:6], weights=spread.weights[5:6])
    draws = torch.cat([frame.noise(2.0, generator) for _ in range(n_draws)]).numpy()
    k, power = spokes[0][5].reshape(-1, 2).astype(float), (2.0 * spokes[1][5].ravel().astype(float)) ** 2
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1), (2, -1), (0, 3), (3, 0)):
        a, b = draws[:, 8:-8, 8:-8], np.roll(draws, (-dy, -dx), (1, 2))[:, 8:-8, 8:-8]
        covariance = np.mean(b * a.conj())
        expected = np.sum(power * np.exp(2j * np.pi * (k[:, 0] * dx + k[:, 1] * dy) / n))
        # Sampling: 80 draws of about a thousand voxels, neighbours correlated. Interpolation: (pi d / N)^2 / 4 = 0.01.
        assert abs(covariance - expected) < 0.04 * power.sum(), (dy, dx)


def test_refuses_images_of_another_shape(protocol, spread):
    n = protocol.sequence.matrix
    with pytest.raises(ValueError, match="expected"):
        spread.blur(torch.zeros((3, n, n), dtype=torch.complex64))
