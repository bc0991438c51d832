"""The scanner against sums written out: density times coil times signal times Fourier phase."""

from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
from helpers import parameter_maps

from mrfpipe.errors import MismatchError
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.scanner import coil_maps, scan, signal_images
from mrfpipe.phantom.truth import PARAMETERS, Phantom
from mrfpipe.physics.simulate import readout_signals
from mrfpipe.protocol import parse_protocol

ACCURACY = 2e-4
"""The temporal basis (1e-4) and the transform (3e-5) together."""


def small_protocol(matrix, count=8):
    """The built-in train with fewer spokes, `count` for every 200, at another matrix."""
    text = (resources.files("mrfpipe.dictionaries") / "t1ff.toml").read_text()
    text = text.replace("count = 600", f"count = {3 * count}").replace("count = 200", f"count = {count}")
    return parse_protocol(text.replace("matrix = 350", f"matrix = {matrix}"), "test")


def draw(matrix, n_slices=1, seed=0):
    return thigh(matrix=matrix, fov=0.35, n_slices=n_slices, slice_spacing=0.012, seed=seed)


def one_voxel(matrix, y, x, **values):
    """Make a phantom of a single voxel."""
    mask = np.zeros((1, matrix, matrix), bool)
    mask[0, y, x] = True
    values = (
        {"FF": 0.3, "T1H2O": 1.2, "T1fat": 0.3, "df": 0.0, "B1": 0.8, "m0": 1.0} | {"phase": 0.0, "match": 1.0} | values
    )
    maps = parameter_maps(mask=mask, affine=np.diag([-350 / matrix, -350 / matrix, 10.0, 1.0]), **values)
    return Phantom(maps=maps, rois=np.zeros(mask.shape, np.uint8), roi_names=())


def true_signals(phantom, protocol, s):
    mask = phantom.maps.mask[s]
    values = {p.name: phantom.maps.si[p.name][s][mask].astype(float) for p in PARAMETERS}
    return phantom.maps.m0[s][mask][:, None] * readout_signals(protocol, values)


@pytest.mark.parametrize("matrix", [48, 49])
def test_kspace_is_the_sum_over_all_voxels(matrix):
    protocol, phantom = small_protocol(matrix), draw(matrix, n_slices=2)
    raw = scan(phantom, protocol, n_coils=3, snr=np.inf)
    coils = coil_maps(3, matrix)
    for s in range(2):
        y, x = np.nonzero(phantom.maps.mask[s])
        signals = true_signals(phantom, protocol, s)
        for i in range(0, raw.n_readouts, 11):
            kx, ky = raw.trajectory[i].astype(float).T
            turns = np.outer(kx, x - matrix // 2) + np.outer(ky, y - matrix // 2)
            expected = (coils[:, y, x] * signals[:, i]) @ np.exp(-2j * np.pi * turns / matrix).T
            error = np.linalg.norm(raw.kspace[s, :, i] - expected, axis=1) / np.linalg.norm(expected, axis=1)
            assert error.max() < ACCURACY, (s, i)


def test_a_position_is_a_ramp_of_phase_along_the_spoke():
    matrix, y, x = 32, 9, 21
    raw = scan(one_voxel(matrix, y, x), small_protocol(matrix), n_coils=1, snr=np.inf)
    centre = raw.kspace[0, 0, :, matrix]
    angle = np.deg2rad(111.24611797) * np.arange(raw.n_readouts)
    turns = ((x - 16) * np.cos(angle) + (y - 16) * np.sin(angle)) / matrix
    np.testing.assert_allclose(raw.kspace[0, 0, :, matrix + 2] / centre, np.exp(-2j * np.pi * turns), atol=ACCURACY)


def test_late_gradients_leave_samples_behind():
    """Half a sample on x and -0.8 on y: so many steps of 0.5 cycles/FOV back, by the phase of a point's signal."""
    matrix, y, x = 32, 9, 21
    phantom, protocol = one_voxel(matrix, y, x), small_protocol(matrix)
    right, late = (scan(phantom, protocol, n_coils=1, snr=np.inf, delays=d) for d in ((0.0, 0.0), (0.5, -0.8)))
    np.testing.assert_array_equal(late.trajectory, right.trajectory)
    angle = np.deg2rad(111.24611797) * np.arange(late.n_readouts)
    turns = 0.5 * ((x - 16) * -0.5 * np.cos(angle) + (y - 16) * 0.8 * np.sin(angle)) / matrix
    ratio = late.kspace[0, 0, :, ::7] / right.kspace[0, 0, :, ::7]
    np.testing.assert_allclose(ratio, np.repeat(np.exp(-2j * np.pi * turns)[:, None], 10, 1), atol=ACCURACY)


def test_off_resonance_turns_forwards_with_the_echo_time():
    protocol = small_protocol(32)
    still, turned = (scan(one_voxel(32, 9, 21, df=df), protocol, n_coils=2, snr=np.inf) for df in (0.0, 40.0))
    expected = np.exp(2j * np.pi * 40.0 * protocol.sequence.te)
    ratio = turned.kspace[0, :, :, 32] / still.kspace[0, :, :, 32]
    np.testing.assert_allclose(ratio, np.broadcast_to(expected, ratio.shape), atol=ACCURACY)


@pytest.mark.parametrize(
    "change", [{"FF": 0.6}, {"T1H2O": 1.5}, {"T1fat": 0.25}, {"df": 20.0}, {"B1": 0.6}, {"m0": 0.5}], ids=str
)
def test_every_map_matters(change):
    protocol = small_protocol(16)
    before, after = (scan(one_voxel(16, 5, 9, **c), protocol, n_coils=1, snr=np.inf).kspace for c in ({}, change))
    assert np.linalg.norm(after - before) > 1e-3 * np.linalg.norm(before)


def test_coils_differ_and_keep_their_phase():
    protocol, coils = small_protocol(32), coil_maps(4, 32)
    raw = scan(one_voxel(32, 20, 7), protocol, n_coils=4, snr=np.inf)
    seen = raw.kspace[0, :, 0, 32]
    np.testing.assert_allclose(seen / seen[0], coils[:, 20, 7] / coils[0, 20, 7], rtol=ACCURACY)


def test_signals_are_compressed_without_loss():
    protocol, phantom = small_protocol(96, count=200), draw(96, seed=3)
    images, trains = signal_images(phantom, protocol, 0)
    assert trains.shape == (1400, images.shape[0])
    assert 10 < images.shape[0] < 25
    signals = true_signals(phantom, protocol, 0)
    residual = images[:, phantom.maps.mask[0]].T @ trains.T - signals
    assert np.linalg.norm(residual) < 1e-4 * np.linalg.norm(signals)
    assert not images[:, ~phantom.maps.mask[0]].any()


def test_coil_maps_are_smooth_and_complex():
    coils = coil_maps(8, 96)
    assert coils.shape == (8, 96, 96)
    assert coils.dtype == np.complex64
    combined = np.sqrt((np.abs(coils) ** 2).sum(axis=0))
    assert combined.max() == pytest.approx(1.0, rel=1e-5)
    assert combined.min() > 0.15
    for axis in (1, 2):
        assert np.abs(np.diff(coils, axis=axis)).max() < 0.05
    assert np.ptp(np.angle(coils[0])) > 0.5
    assert np.linalg.cond(coils.reshape(8, -1)) < 1e3


def test_scan_carries_the_sequence():
    protocol, phantom = small_protocol(24), draw(24, n_slices=2)
    raw, s = scan(phantom, protocol, n_coils=2, name="knee"), protocol.sequence
    assert raw.name == "knee"
    assert raw.kspace.shape == (2, 2, s.n_readouts, 48)
    assert (raw.matrix, raw.fov, raw.readouts_per_frame) == (24, s.fov, s.readouts_per_frame)
    for train in ("flip", "te", "tr"):
        np.testing.assert_array_equal(getattr(raw, train), getattr(s, train))
    assert raw.inversion_time == s.inversion_time
    np.testing.assert_array_equal(raw.affine, phantom.maps.affine)
    assert raw.noise is not None
    assert raw.noise.shape == (2, 4096)


def test_noise_has_the_stated_strength_and_covariance():
    protocol, phantom = small_protocol(24, count=64), draw(24, n_slices=2)
    noisy, clean = (scan(phantom, protocol, n_coils=4, snr=snr, seed=5) for snr in (50.0, np.inf))
    assert clean.noise is None
    assert noisy.noise is not None
    std = np.abs(clean.kspace[..., 24]).mean() / 50.0
    added = np.moveaxis(noisy.kspace - clean.kspace, 1, 0).reshape(4, -1)
    in_scan, alone = (n @ n.conj().T / n.shape[1] for n in (added, noisy.noise))
    assert np.trace(in_scan).real / 4 == pytest.approx(std**2, rel=0.02)
    # 4096 readings know a covariance to 1/64 of its size.
    np.testing.assert_allclose(alone, in_scan, atol=5 * std**2 / 64)
    others = np.abs(in_scan - np.diag(np.diag(in_scan))).max() / std**2
    assert 0.05 < others < 0.6
    assert np.abs((added**2).mean(axis=1)).max() < 0.05 * std**2
    lag = (added[:, 1:] * added[:, :-1].conj()).mean(axis=1)
    assert np.abs(lag).max() < 0.05 * std**2


def test_the_seed_is_that_of_the_noise():
    protocol, phantom = small_protocol(24), draw(24)
    first, again, other = (scan(phantom, protocol, n_coils=2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.kspace, again.kspace)
    np.testing.assert_array_equal(first.noise, again.noise)
    assert np.abs(first.kspace - other.kspace).max() > 0
    # The noise is small: at an SNR of 4000 the scans are the same but for it.
    assert np.abs(first.kspace - other.kspace).max() < 0.01 * np.abs(first.kspace).max()


def test_an_empty_slice_gives_no_signal():
    phantom = draw(24, n_slices=2)
    mask = phantom.maps.mask.copy()
    mask[1] = False
    maps = replace(phantom.maps, mask=mask)
    emptied = Phantom(maps=maps, rois=np.zeros(mask.shape, np.uint8), roi_names=())
    raw = scan(emptied, small_protocol(24), n_coils=2, snr=np.inf)
    assert raw.kspace[0].any()
    assert not raw.kspace[1].any()


def test_refuses_what_does_not_fit():
    protocol = small_protocol(24)
    with pytest.raises(MismatchError, match="32 x 32"):
        scan(draw(32), protocol)
    narrow = thigh(matrix=24, fov=0.2, n_slices=1, slice_spacing=0.01, seed=0)
    with pytest.raises(MismatchError, match="field of view"):
        scan(narrow, protocol)
    with pytest.raises(ValueError, match="0 coils"):
        scan(draw(24), protocol, n_coils=0)
    with pytest.raises(ValueError, match="signal-to-noise"):
        scan(draw(24), protocol, snr=0.0)
