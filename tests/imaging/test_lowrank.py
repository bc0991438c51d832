"""Locally low-rank denoising: what it leaves, what it removes, and block by block the slow way."""

import numpy as np
import pytest
import torch
from helpers import complex_normal

from mrfpipe.imaging.lowrank import BLOCK, denoise_low_rank

RANK, N_Y, N_X = 6, 33, 40  # neither a multiple of the block
SHIFTS = range(BLOCK)


def two_tissues() -> np.ndarray:
    """Two fingerprints mixed in smoothly varying shares: rank 2 in every block."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:N_Y, :N_X]
    shares = np.stack([2 + np.sin(x / 9) + 0j, (y > 15) * np.exp(1j * x / 20)])
    return np.einsum("tr,tyx->ryx", complex_normal(rng, 2, RANK), shares).astype(np.complex64)


def denoised(images: np.ndarray) -> np.ndarray:
    return denoise_low_rank(torch.from_numpy(images)).numpy()


def shrunk(value: float, aspect: float) -> float:
    """Equation 7 of Gavish and Donoho (2017), the noise being 1."""
    if value < 1 + np.sqrt(aspect):
        return 0.0
    return np.sqrt((value**2 - aspect - 1) ** 2 - 4 * aspect) / value


def slowly_denoised(images: np.ndarray) -> np.ndarray:
    """One block after the other by singular value decomposition."""

    def starts(n: int, shift: int) -> list[int]:
        return list(range(-shift, n, BLOCK))

    def cut(top: int, left: int) -> tuple[slice, slice]:
        return slice(max(top, 0), top + BLOCK), slice(max(left, 0), left + BLOCK)

    least = []
    for top in starts(N_Y, 0):
        for left in starts(N_X, 0):
            values = np.linalg.svd(images[:, *cut(top, left)].reshape(RANK, -1).T)[1]
            least.append(values[-1] if len(values) == RANK else 0)
    aspect = RANK / BLOCK**2
    noise = np.sort(least)[(len(least) - 1) // 2] / (1 - np.sqrt(aspect))
    total = np.zeros_like(images)
    for top_shift in SHIFTS:
        for left_shift in SHIFTS:
            for top in starts(N_Y, top_shift):
                for left in starts(N_X, left_shift):
                    block = images[:, *cut(top, left)]
                    u, values, v = np.linalg.svd(block.reshape(RANK, -1), full_matrices=False)
                    kept = [noise * shrunk(value / noise, aspect) for value in values]
                    total[:, *cut(top, left)] += ((u * kept) @ v).reshape(block.shape)
    return total / len(SHIFTS) ** 2


def test_images_of_low_rank_without_noise_stay_as_they_are():
    images = two_tissues()
    # Rounding of float32; in blocks without noise the threshold is that, too.
    np.testing.assert_allclose(denoised(images), images, atol=1e-5 * np.abs(images).max())


def test_it_is_the_shrinkage_of_each_block():
    images = two_tissues() + 0.1 * complex_normal(np.random.default_rng(1), RANK, N_Y, N_X)
    # Singular values by their squares and by themselves, single precision: 2e-7 was seen.
    np.testing.assert_allclose(denoised(images), slowly_denoised(images), atol=1e-5 * np.abs(images).max())


def test_noise_becomes_less_and_more_noise_is_removed_from_more_noise():
    truth, noise = two_tissues(), complex_normal(np.random.default_rng(2), RANK, N_Y, N_X)
    for level in (0.03, 0.3):
        before = level * np.linalg.norm(noise)
        # Of six directions two hold signal and keep their noise: sqrt(2 / 6) = 0.58 at best; 0.62 and 0.69 were seen.
        assert np.linalg.norm(denoised(truth + np.float32(level) * noise) - truth) < 0.75 * before


def test_scale_phase_and_basis_do_not_matter():
    rng = np.random.default_rng(3)
    images = two_tissues() + 0.1 * complex_normal(rng, RANK, N_Y, N_X)
    turn = np.linalg.qr(complex_normal(rng, RANK, RANK))[0].astype(np.complex64) * np.complex64(50j)
    turned = np.einsum("qr,ryx->qyx", turn, images).astype(np.complex64)
    expected = np.einsum("qr,ryx->qyx", turn, denoised(images))
    # The turn itself rounds in float32.
    np.testing.assert_allclose(denoised(turned), expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("fill", [0, 1])
def test_air_and_images_without_signal_are_no_trouble(fill):
    images = fill * two_tissues()
    images[:, :20] = 0
    found = denoised(images)
    assert np.all(np.isfinite(found))
    assert not found[:, :20].any()
