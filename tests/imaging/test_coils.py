"""Coil compression, and maps against the coils of the phantom's scanner."""

import numpy as np
import pytest
from helpers import complex_normal, small_protocol

from mrfpipe.imaging.coils import compress_coils, describe_noise, estimate_coil_maps, prewhiten
from mrfpipe.imaging.nufft import combine_coils
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.scanner import coil_maps, scan

MATRIX, N_COILS = 64, 4


@pytest.fixture(scope="module")
def scanned():
    protocol = small_protocol(matrix=MATRIX)
    phantom = thigh(matrix=MATRIX, fov=protocol.sequence.fov, n_slices=1, slice_spacing=0.012, seed=3)
    return scan(phantom, protocol, n_coils=N_COILS, snr=np.inf), phantom.maps.mask[0]


# Root mean square distance of unit vectors up to their phase. The low-resolution image of 12 cycles/FOV blurs what is
# at the skin, 0.03 here; the calibrations know that coils are smooth, 0.008 and 0.012 here. A third is left as margin.
@pytest.mark.parametrize(("method", "most"), [("centre", 0.04), ("espirit", 0.011), ("jsense", 0.016)])
def test_maps_are_the_coils_up_to_a_common_phase(scanned, method, most):
    raw, mask = scanned
    maps = estimate_coil_maps(raw.kspace[0], raw.trajectory, MATRIX, method=method)
    assert maps.dtype == np.complex64
    true = coil_maps(N_COILS, MATRIX)
    true /= np.linalg.norm(true, axis=0)
    alike = np.abs(np.sum(maps.conj() * true, axis=0))[mask]
    assert np.sqrt(np.mean(np.maximum(0, 2 - 2 * alike))) < most
    np.testing.assert_allclose(np.linalg.norm(maps, axis=0)[mask], 1, atol=1e-5)  # rounding of float32, ten times over
    # The common phase is that of the low-resolution image, which it therefore takes away.
    low = estimate_coil_maps(raw.kspace[0], raw.trajectory, MATRIX)
    assert np.abs(np.angle(combine_coils(low, maps)))[mask].max() < 1e-5  # rounding of float32: 2e-7 was seen


@pytest.mark.parametrize("method", ["centre", "espirit", "jsense"])
def test_an_empty_slice_has_no_maps(scanned, method):
    raw, _ = scanned
    assert not estimate_coil_maps(np.zeros_like(raw.kspace[0]), raw.trajectory, MATRIX, method=method).any()


def test_compression_keeps_the_energy_it_says_and_noise_white(scanned):
    raw, _ = scanned
    compressed, energy = compress_coils(raw.kspace[0], 2)
    assert compressed.shape == (2, *raw.kspace.shape[2:])
    values = np.linalg.svd(raw.kspace[0].reshape(N_COILS, -1).astype(complex), compute_uv=False) ** 2
    # float32 sums of 180,000 products: 2e-7 was seen, of which libraries that add in another order may make more.
    assert energy == pytest.approx(values[:2].sum() / values.sum(), rel=1e-5)
    assert np.sum(np.abs(compressed) ** 2) == pytest.approx(energy * np.sum(np.abs(raw.kspace) ** 2), rel=1e-4)
    # Virtual coils are uncorrelated mixtures of the coils, the strongest first; all of them together are the coils.
    flat = compress_coils(raw.kspace[0], N_COILS)[0].reshape(N_COILS, -1).astype(complex)
    np.testing.assert_allclose(flat @ flat.conj().T, np.diag(values), atol=1e-5 * values[0])
    noise = complex_normal(np.random.default_rng(0), 6, 10, 2000)
    white = compress_coils(prewhiten(noise, noise.reshape(6, -1)), 4)[0].reshape(4, -1)
    # 20,000 readings know a covariance to 1 / 141.
    np.testing.assert_allclose(white @ white.conj().T / white.shape[1], np.eye(4), atol=0.03)


def test_all_virtual_coils_are_a_rotation_of_the_coils(scanned):
    raw, _ = scanned
    virtual, energy = compress_coils(raw.kspace[0], N_COILS)
    assert energy == pytest.approx(1)  # to 1e-6: a ratio of sums of the same numbers in double precision
    unmix = np.linalg.lstsq(raw.kspace[0].reshape(N_COILS, -1).T, virtual.reshape(N_COILS, -1).T, rcond=None)[0].T
    # float32 least squares, with a margin for other libraries: 6e-8 was seen.
    np.testing.assert_allclose(unmix @ unmix.conj().T, np.eye(N_COILS), atol=1e-4)


@pytest.mark.parametrize("n_virtual", [0, 5])
def test_compression_into_impossible_numbers_is_refused(n_virtual):
    with pytest.raises(ValueError, match="4 coils cannot be compressed"):
        compress_coils(np.zeros((4, 2, 3), np.complex64), n_virtual)


def test_noise_is_described_by_what_the_coils_were_mixed_of():
    """Deviations 1, 2 and 3; the second coil hears the first at a correlation of 0.6, turned by a phase."""
    white = complex_normal(np.random.default_rng(3), 3, 200_000)
    noise = np.stack([white[0], 2 * (0.6j * white[0] + 0.8 * white[1]), 3 * white[2]])
    found = describe_noise(noise)
    # 200,000 readings tell deviations and correlations to 0.3 %.
    assert found["least"] == pytest.approx(0.5, rel=0.01)
    assert found["most"] == pytest.approx(1.5, rel=0.01)
    assert found["largest correlation"] == pytest.approx(0.6, rel=0.01)
