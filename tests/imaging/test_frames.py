import dataclasses

import numpy as np
import pytest
from helpers import complex_normal, exact_dft, small_protocol
from sequences import first_readouts

from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.errors import InputError
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.coils import EDGE, edge_noise, estimate_coil_maps, prewhiten
from mrfpipe.imaging.density import ramp_weights
from mrfpipe.imaging.mask import tissue_mask
from mrfpipe.imaging.nufft import combine_coils, nufft_adjoint
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.protocol import Sequence

MATRIX = 48


@pytest.fixture(scope="module")
def sequence() -> Sequence:
    """The first 160 spokes of the train, enough to sample 48 x 48 fully."""
    return first_readouts(small_protocol(matrix=MATRIX).sequence, 160)


def asymmetric_object() -> np.ndarray:
    """A bright block up left, a dim one down right, smooth phase: no flip or transposition leaves it as it is."""
    y, x = np.mgrid[:MATRIX, :MATRIX]
    image = np.where((y > 8) & (y < 20) & (x > 6) & (x < 26), 2.0, 0) + np.where(
        (y > 26) & (y < 42) & (x > 22) & (x < 36), 1.0, 0
    )
    return (image * np.exp(1j * (0.02 * x - 0.01 * y))).astype(np.complex64)


def coils() -> np.ndarray:
    y, x = np.mgrid[:MATRIX, :MATRIX] / MATRIX - 0.5
    maps = np.array(
        [
            np.exp(-((x - cx) ** 2 + (y - cy) ** 2) + 1j * (cx * x - cy * y))
            for cx, cy in ((0.6, 0), (-0.5, 0.4), (0, -0.6))
        ]
    )
    return (maps / np.sqrt((np.abs(maps) ** 2).sum(0))).astype(np.complex64)


def raw_scan(sequence: Sequence, image: np.ndarray, noise: np.ndarray | None = None) -> RawScan:
    trajectory = golden_angle_spokes(sequence)
    kspace = exact_dft(coils() * image, trajectory).astype(np.complex64)
    return RawScan(
        name="block",
        kspace=kspace[None],
        trajectory=trajectory,
        noise=noise,
        affine=np.diag([1.0, 2, 3, 1]),
        matrix=MATRIX,
        fov=sequence.fov,
    )


def test_weights_sum_to_the_disc_that_is_sampled(sequence):
    weights = ramp_weights(golden_angle_spokes(sequence), MATRIX)
    # Area of the disc of radius N / 2, in cycles/FOV squared, over N squared; rings make it up to 1e-4.
    assert weights.sum() == pytest.approx(np.pi / 4, rel=1e-3)
    assert weights.min() > 0
    np.testing.assert_allclose(weights[0], weights[77], rtol=1e-5)  # radii of float32 positions


def test_a_fully_sampled_adjoint_is_the_image(sequence):
    """Orientation, centre, sign and scale at once; the corners of k-space, a fifth of its area, are missing."""
    trajectory, image = golden_angle_spokes(sequence), asymmetric_object()
    kspace = exact_dft(image[None], trajectory)
    adjoint = nufft_adjoint((kspace * ramp_weights(trajectory, MATRIX)).astype(np.complex64), trajectory, MATRIX)[0]
    # The block's edges have 5 % of their norm in the corners; half of what is seen is left as margin.
    assert np.linalg.norm(adjoint - image) < 0.08 * np.linalg.norm(image)
    inside = np.abs(image) > 0
    # The corners take off the energy they hold, 0.3 %; the transform errs by 0.6 %.
    assert np.vdot(image[inside], adjoint[inside]) / np.vdot(image, image) == pytest.approx(1, abs=0.015)


def test_coil_maps_are_the_coils_up_to_a_common_phase(sequence):
    scan, image = raw_scan(sequence, asymmetric_object()), asymmetric_object()
    maps = estimate_coil_maps(scan.kspace[0], scan.trajectory, MATRIX)
    inside = np.abs(image) > 0
    agreement = np.abs(np.sum(maps.conj() * coils(), axis=0))[inside]
    assert np.mean(agreement) > 0.9995  # low-resolution images of smooth coils: 8e-5 was seen
    np.testing.assert_allclose(np.sum(np.abs(maps) ** 2, axis=0), 1, atol=1e-5)  # rounding of float32, ten times over


def test_combination_returns_the_image_of_known_coils():
    image = asymmetric_object()
    # float32 sums of three products of size 2
    np.testing.assert_allclose(combine_coils(coils() * image, coils()), image, atol=1e-6)


def test_prewhitening_makes_noise_white():
    rng = np.random.default_rng(0)
    mixing = np.eye(3) + 0.4 * complex_normal(rng, 3, 3)
    noise = (mixing @ complex_normal(rng, 3, 20_000)).astype(np.complex64)
    more = (mixing @ complex_normal(rng, 3, 20_000)).astype(np.complex64)
    white = prewhiten(more.reshape(3, 100, 200), noise).reshape(3, -1)
    # Twice 20,000 readings know a covariance to 1 / 100.
    np.testing.assert_allclose(white @ white.conj().T / 20_000, np.eye(3), atol=0.03)
    kspace = more.reshape(3, 100, 200)
    assert prewhiten(kspace, None) is kspace


def test_the_edge_of_kspace_stands_in_for_a_noise_scan(sequence):
    """Of a noisy scan it is whitened as by the noise itself; which samples are the edge is told by the trajectory."""
    rng = np.random.default_rng(3)
    scan = raw_scan(sequence, asymmetric_object())
    mixing = np.eye(3) + 0.5 * complex_normal(rng, 3, 3)
    noise = 30 * np.tensordot(mixing, complex_normal(rng, *scan.kspace[0].shape), 1)
    kspace = (scan.kspace[0] + noise).astype(np.complex64)
    readings = edge_noise(kspace, scan.trajectory)
    # Whole samples of a spoke: five at either end are more than the share that is asked for.
    assert readings.shape[1] == pytest.approx(EDGE * kspace[0].size, rel=0.35)
    expected = 900 * mixing @ mixing.conj().T
    found = readings @ readings.conj().T / readings.shape[1]
    # 798 readings know a covariance to 1 / 28, where coils are strong; beside that there is what the object has there.
    np.testing.assert_allclose(found, expected, atol=0.15 * np.abs(expected).max())
    white = prewhiten(noise.astype(np.complex64), readings).reshape(3, -1)
    # Weak mixtures of the coils, which the object disturbs most: 0.16.
    np.testing.assert_allclose(white @ white.conj().T / white.shape[1], np.eye(3), atol=0.25)
    away = kspace[:, :, 40:56].reshape(3, -1)
    assert np.abs(away @ away.conj().T / away.shape[1]).max() > 2 * np.abs(expected).max()
    series = Reconstruction(dataclasses.replace(scan, kspace=kspace[None]), sequence, Imaging(noise="edges")).series()
    # Deviations of 30 and more become 1, but less of weak mixtures: 0.07 was seen.
    assert np.linalg.norm(series.images) < 0.1 * np.linalg.norm(Reconstruction(scan, sequence).series().images)


@pytest.mark.parametrize("noise", [np.zeros((3, 100), np.complex64), complex_normal(np.random.default_rng(0), 3, 2)])
def test_useless_noise_is_refused(noise):
    with pytest.raises(InputError, match="silent coil or too few readings"):
        prewhiten(np.ones((3, 4, 5), np.complex64), noise)


def test_frames_are_made_of_their_own_readouts(sequence):
    """The object brightens from frame to frame; so must the frames, and in their order."""
    scan = raw_scan(sequence, asymmetric_object())
    brightness = np.repeat(1 + np.arange(sequence.n_frames), sequence.readouts_per_frame)
    scan = dataclasses.replace(scan, kspace=(scan.kspace * brightness[:, None]).astype(np.complex64))
    steps = []
    series = Reconstruction(scan, sequence, progress=lambda done, total: steps.append((done, total))).series()
    assert series.images.shape == (1, 20, MATRIX, MATRIX)
    assert steps[-1] == (20, 20)
    assert len(steps) == 20
    image = asymmetric_object()
    overlap = np.abs([np.vdot(image, np.abs(frame) * np.exp(1j * np.angle(image))) for frame in series.images[0]])
    assert np.corrcoef(overlap, np.arange(20))[0, 1] > 0.99  # streaks of eight spokes leave 0.995
    np.testing.assert_array_equal(series.affine, scan.affine)
    assert series.sequence_hash == sequence.hash
    # The mask is the object, where it is brighter than the streaks of so few spokes.
    assert np.mean(series.mask[0][np.abs(image) > 1.5]) > 0.95


def test_an_empty_slice_has_an_empty_mask(sequence):
    scan = raw_scan(sequence, asymmetric_object())
    scan = dataclasses.replace(scan, kspace=np.zeros_like(scan.kspace))
    series = Reconstruction(scan, sequence).series()
    assert not series.mask.any()
    assert np.all(series.images == 0)


def test_mask_finds_dim_tissue_beside_bright_and_leaves_out_air_and_zeros():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :200]
    limb = (y - 90) ** 2 + (x - 110) ** 2 < 60**2
    fat = limb & ((y - 90) ** 2 + (x - 110) ** 2 > 50**2)
    brightness = np.where(fat, 8.0, np.where(limb, 1.0, 0))
    # Inversion recovery: a null in the middle of the train, where the mean over all frames would cancel.
    images = brightness * np.linspace(-1, 1, 70)[:, None, None] + 0.4 * complex_normal(rng, 70, 200, 200)
    images[:, 100, 100] = 0
    images[:, 5, 5] = 9
    mask = tissue_mask(images.astype(np.complex64))
    assert not mask[100, 100]
    assert not mask[5, 5]
    # Over the stretches noise adds up to 0.33, dim tissue to 1.5; only the zeroed voxel is out.
    assert np.mean(mask[limb]) > 0.999
    assert np.mean(mask[~limb]) < 0.001


def test_how_dark_air_is_does_not_decide_where_tissue_ends():
    y, x = np.mgrid[:200, :200]
    radius = np.hypot(y - 90, x - 110)
    # Around the tissue it rings; further away denoising has left next to nothing, at one side less than at the other.
    brightness = np.where(radius < 60, 1.0, np.where(radius < 75, 0.02, np.where(x < 100, 1e-4, 1e-6)))
    images = brightness * np.random.default_rng(0).uniform(0.7, 1.3, (200, 200)) * np.ones((70, 1, 1), np.complex64)
    np.testing.assert_array_equal(tissue_mask(images), radius < 60)


def test_zeros_around_the_tissue_do_not_part_tissue_from_tissue():
    y, x = np.mgrid[:100, :100]
    body = np.hypot(y - 50, x - 50) < 40
    brightness = np.where(body, 1.0, 0.0) + np.where(np.hypot(y - 40, x - 45) < 10, 0.3, 0.0)
    np.testing.assert_array_equal(tissue_mask(brightness * np.ones((70, 1, 1), np.complex64)), body)


def test_trajectory_by_hand(sequence):
    trajectory = golden_angle_spokes(sequence)
    assert trajectory.shape == (160, 2 * MATRIX, 2)
    np.testing.assert_array_equal(trajectory[:, MATRIX], 0)
    np.testing.assert_allclose(trajectory[0, 0], [-MATRIX / 2, 0])
    angle = np.deg2rad(111.24611797)
    # Rounding of float32, and of the golden angle's eighth digit a hundred times over.
    np.testing.assert_allclose(trajectory[1, MATRIX + 2], [np.cos(angle), np.sin(angle)], rtol=1e-6)
    np.testing.assert_allclose(trajectory[100, MATRIX + 2], [np.cos(100 * angle), np.sin(100 * angle)], rtol=1e-5)
