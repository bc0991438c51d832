"""Frames made on the fly, against scanning the phantom and reconstructing the scan."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import small_protocol

from mrfpipe.errors import MismatchError
from mrfpipe.imaging import coils as imaging_coils
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.maps import PARAMETERS
from mrfpipe.phantom import simulated
from mrfpipe.phantom.anatomy import ANATOMIES
from mrfpipe.phantom.pointspread import point_spread
from mrfpipe.phantom.scanner import coil_maps, scan
from mrfpipe.phantom.simulated import frames_of, series_of, true_frames
from mrfpipe.physics.simulate import fingerprints

CPU = torch.device("cpu")
MATRIX = 48


@pytest.fixture(scope="module")
def protocol():
    """The first 20 frames of the train."""
    whole = small_protocol(matrix=MATRIX)
    some = slice(0, 20 * whole.sequence.spokes_per_frame)
    sequence = whole.sequence
    short = replace(sequence, flip=sequence.flip[some], te=sequence.te[some], tr=sequence.tr[some])
    return replace(whole, sequence=short)


@pytest.fixture(scope="module")
def spread(protocol):
    return point_spread(protocol.sequence, CPU)


@pytest.fixture(scope="module")
def coils():
    return torch.from_numpy(coil_maps(4, MATRIX))


def draw(name="thigh", n_slices=1, seed=0, matrix=MATRIX):
    return ANATOMIES[name](matrix=matrix, fov=0.35, n_slices=n_slices, slice_spacing=0.03, seed=seed)


@pytest.mark.parametrize("name", ["leg", "pelvis"])
def test_frames_are_those_of_a_reconstructed_scan(protocol, spread, coils, name):
    phantom = draw(name, seed=3)
    made = series_of(phantom, protocol, spread, coils, seed=0, snr=np.inf)
    scanned = Reconstruction(scan(phantom, protocol, n_coils=4, snr=np.inf), protocol.sequence).series()
    mask = phantom.maps.mask[0]
    difference = np.linalg.norm((made.images - scanned.images)[0][:, mask], axis=1)
    relative = difference / np.linalg.norm(scanned.images[0][:, mask], axis=1)
    # These frames follow the inversion, where signals change by 5 % within a frame; gridding errs by 0.4 %.
    assert relative.max() < 0.05
    assert made.sequence_hash == scanned.sequence_hash
    # With one uniform coil instead, aliases differ by several times as much.
    uniform = torch.ones((1, MATRIX, MATRIX), dtype=torch.complex64)
    other = series_of(phantom, protocol, spread, uniform, seed=0, snr=np.inf)
    assert np.linalg.norm((other.images - scanned.images)[0][:, mask]) > 4 * np.linalg.norm(difference)


def test_calibrates_coils_as_the_reconstruction_does():
    assert simulated.CALIBRATION_RADIUS == imaging_coils.CALIBRATION_RADIUS


def test_true_frames_are_fingerprints_times_density(protocol):
    phantom = draw(n_slices=2)
    mask = phantom.maps.mask[1]
    values = {p.field: getattr(phantom.maps, p.field)[1][mask].astype(float) for p in PARAMETERS}
    expected = fingerprints(protocol, **values) * phantom.maps.m0[1][mask][:, None]
    images = true_frames(phantom, 1, protocol, CPU).numpy()
    np.testing.assert_allclose(images[:, mask], expected.T, rtol=1e-6)
    assert not images[:, ~mask].any()


def test_noise_has_the_level_of_the_scanners(protocol, spread, coils):
    phantom = draw()
    clean, noisy = (
        frames_of(phantom, 0, protocol, spread, coils, generator=torch.Generator().manual_seed(2), snr=snr).numpy()
        for snr in (np.inf, 200.0)
    )
    noise = noisy - clean
    scans = [scan(phantom, protocol, n_coils=4, snr=snr) for snr in (np.inf, 200.0)]
    std = np.std(scans[1].kspace - scans[0].kspace)
    # Combined by maps with unit root sum of squares, which leave the noise of equal coils as it is.
    expected = std * np.sqrt((spread.weights.double() ** 2).sum(1).numpy())
    mask = phantom.maps.mask[0]
    # Some hundred independent values a frame, 20 frames.
    np.testing.assert_allclose(noise[:, mask].std(1).mean(), expected.mean(), rtol=0.05)
    assert abs(np.vdot(noise[0], noise[1])) < 0.2 * np.linalg.norm(noise[0]) * np.linalg.norm(noise[1])


def test_a_series_holds_the_frames_of_all_slices(protocol, spread, coils):
    phantom = draw(n_slices=2)
    series = series_of(phantom, protocol, spread, coils, seed=4, name="a")
    assert series.images.shape == (2, 20, MATRIX, MATRIX)
    generator = torch.Generator().manual_seed(4)
    for i in range(2):
        frames = frames_of(phantom, i, protocol, spread, coils, generator=generator)
        np.testing.assert_array_equal(series.images[i], frames.numpy())
    assert np.linalg.norm(series.images[0] - series.images[1]) > 0.1 * np.linalg.norm(series.images[0])


def test_refuses_what_does_not_fit(protocol, spread, coils):
    with pytest.raises(MismatchError, match="draw it for the protocol's matrix"):
        frames_of(draw(matrix=MATRIX + 2), 0, protocol, spread, coils, generator=torch.Generator())
    with pytest.raises(ValueError, match="above zero"):
        frames_of(draw(), 0, protocol, spread, coils, generator=torch.Generator(), snr=0.0)
