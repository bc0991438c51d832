"""Gradient delays: found by their sign and size, corrected, and left alone where there are none."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from helpers import small_protocol

from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.dictionary import build_dictionary
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.delays import Delays, correct_delays, corrected_trajectory, estimate_delays
from mrfpipe.imaging.reconstruction import UNSTATED, Reconstruction
from mrfpipe.matching.match import match_series
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.fourier import sample_spokes
from mrfpipe.phantom.scanner import coil_maps, scan, signal_images
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.protocol import load_protocol

MATRIX = 64
PROTOCOL = small_protocol(matrix=MATRIX)
NOMINAL = golden_angle_spokes(PROTOCOL.sequence)


@functools.cache
def images():
    phantom = thigh(matrix=MATRIX, fov=PROTOCOL.sequence.fov, n_slices=1, slice_spacing=0.012, seed=3)
    return signal_images(phantom, PROTOCOL, 0)


@functools.cache
def noiseless(delays, n_coils):
    """K-space of one slice over gradients (Sx, Sy, Sxy) late, by the convention written out for each spoke."""
    angle = np.deg2rad(111.24611797) * np.arange(len(NOMINAL))
    sx, sy, sxy = delays
    behind = 0.5 * np.stack([sx * np.cos(angle) + sxy * np.sin(angle), sxy * np.cos(angle) + sy * np.sin(angle)], 1)
    return sample_spokes(coil_maps(n_coils, MATRIX), *images(), (NOMINAL - behind[:, None]).astype(np.float32))


def measured(delays, n_coils=4, snr=4000.0, seed=0):
    kspace = noiseless(delays, n_coils)
    rng, std = np.random.default_rng(seed), np.abs(kspace[..., MATRIX]).mean() / snr
    noise = rng.standard_normal((*kspace.shape, 2)).view(complex)[..., 0] * std / np.sqrt(2)
    return (kspace + noise).astype(np.complex64)[None]


# Errors of 1e-3 were seen, ten times less than what can be seen in maps; with a single coil, whose magnitudes are the
# object's as well, 6e-3.
@pytest.mark.parametrize(("n_coils", "snr"), [(1, 4000), (2, 4000), (4, 100), (8, 400)])
@pytest.mark.parametrize("delays", [(0.5, -0.8, 0.0), (-0.5, 0.8, 0.1), (2.5, -1.4, -0.2)], ids=str)
def test_delays_are_found(delays, n_coils, snr):
    found = estimate_delays(measured(delays, n_coils, snr), NOMINAL)
    assert (found.x, found.y, found.xy) == pytest.approx(delays, abs=0.03 if n_coils == 1 else 0.01)
    assert found.significant


@pytest.mark.parametrize(("n_coils", "snr"), [(1, 100), (1, 4000), (4, 30), (4, 4000)])
def test_without_delays_none_is_significant(n_coils, snr):
    kspace = measured((0, 0, 0), n_coils, np.inf)
    std, rng = np.abs(kspace[..., MATRIX]).mean() / snr, np.random.default_rng(1)
    for _ in range(3):
        noise = rng.standard_normal((*kspace.shape, 2)).view(complex)[..., 0] * std / np.sqrt(2)
        assert not estimate_delays((kspace + noise).astype(np.complex64), NOMINAL).significant


def test_noise_and_silence_have_no_delays():
    rng = np.random.default_rng(0)
    for n_coils in (1, 3, 8):
        noise = rng.standard_normal((1, n_coils, *NOMINAL.shape)).astype(np.float32).view(np.complex64)[..., 0]
        assert not estimate_delays(noise, NOMINAL).significant
    assert not estimate_delays(0 * noise, NOMINAL).significant


def test_parallel_spokes_say_nothing():
    same = np.repeat(NOMINAL[:1], 40, axis=0)
    found = estimate_delays(measured((1, 1, 0))[:, :, :40], same)
    assert (found.x, found.y, found.errors) == (0, 0, (np.inf,) * 3)
    assert not found.significant


def test_the_corrected_trajectory_is_where_the_samples_are():
    """Opposite signs on x and y, by hand; estimated again there is nothing left."""
    true = corrected_trajectory(NOMINAL, Delays(x=0.5, y=-0.8))
    # float32 positions of up to 32 cycles/FOV are known to 2e-6.
    np.testing.assert_allclose(true[0], NOMINAL[0] - [0.25, 0], atol=1e-5)
    angle = np.deg2rad(111.24611797)
    np.testing.assert_allclose(true[1, MATRIX], [-0.25 * np.cos(angle), 0.4 * np.sin(angle)], atol=1e-6)
    again = estimate_delays(measured((0.5, -0.8, 0)), true)
    assert (again.x, again.y, again.xy) == pytest.approx((0, 0, 0), abs=0.01)


def test_what_leaves_the_matrix_is_left_out():
    raw = raw_scan(measured((0.5, -0.8, 0)))
    right = correct_delays(raw, Delays(x=0.5, y=-0.8))
    assert np.abs(right.trajectory).max() <= MATRIX / 2
    n = right.kspace.shape[-1]
    assert 2 * MATRIX - 4 <= n < 2 * MATRIX
    first = int(np.flatnonzero(raw.kspace[0, 0, 0] == right.kspace[0, 0, 0, 0])[0])
    np.testing.assert_array_equal(right.kspace, raw.kspace[..., first : first + n])


AS_STORED = Imaging(correct_delays=False)


def raw_scan(kspace):
    s = PROTOCOL.sequence
    affine = np.eye(4)
    return RawScan(name="late", kspace=kspace, trajectory=NOMINAL, noise=None, affine=affine, matrix=MATRIX, fov=s.fov)


def test_frames_are_corrected_by_default_and_as_told():
    late, sequence = raw_scan(measured((0.5, -0.8, 0), snr=np.inf)), PROTOCOL.sequence
    found = estimate_delays(late.kspace, late.trajectory)
    corrected = Reconstruction(late, sequence)
    default = corrected.series().images
    unchecked = {UNSTATED: "flip angles, TE, TR, TI"}  # none of which the scan lists
    assert corrected.notes == found.notes() | unchecked
    told = Reconstruction(correct_delays(late, found), sequence, AS_STORED).series().images
    without = Reconstruction(late, sequence, AS_STORED)
    assert without.notes == unchecked
    np.testing.assert_array_equal(default, told)
    undelayed = raw_scan(measured((0, 0, 0), snr=np.inf))
    right = Reconstruction(undelayed, sequence).series()
    np.testing.assert_array_equal(right.images, Reconstruction(undelayed, sequence, AS_STORED).series().images)

    def error(frames):
        return np.linalg.norm((frames - right.images)[:, :, right.mask[0]])

    # What is left is the point spread function of spokes that miss the centre; see the test of maps below.
    assert error(default) < 0.7 * error(without.series().images)
    assert found.notes()["gradient_delays_corrected"]
    assert found.notes()["gradient_delays_samples"]["y"] == pytest.approx(-0.8, abs=0.01)


def test_the_slice_measured_first_decides_unless_it_tells_nothing():
    """Two slices whose delays differ, as no scanner's do, and two of which the first is air."""
    kspace = np.concatenate([measured((0.5, -0.8, 0)), measured((0, 0, 0))])
    for order, expected in (([0, 1], -0.8), ([1, 0], 0.0)):
        found = Reconstruction(replace(raw_scan(kspace), order=np.array(order)), PROTOCOL.sequence).delays
        assert found.y == pytest.approx(expected, abs=0.01)
    kspace[1] = 0
    found = Reconstruction(replace(raw_scan(kspace), order=np.array([1, 0])), PROTOCOL.sequence).delays
    assert found.y == pytest.approx(-0.8, abs=0.01)


def test_the_scanner_and_the_estimate_share_a_convention():
    """The scanner shifts its trajectory by code of its own."""
    phantom = thigh(matrix=MATRIX, fov=PROTOCOL.sequence.fov, n_slices=1, slice_spacing=0.012, seed=3)
    raw = scan(phantom, PROTOCOL, n_coils=3, delays=(0.5, -0.8))
    np.testing.assert_array_equal(raw.trajectory, NOMINAL)
    found = estimate_delays(raw.kspace, raw.trajectory)
    assert (found.x, found.y, found.xy) == pytest.approx((0.5, -0.8, 0), abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("recon", ["subspace", "nufft"])
def test_maps_of_a_delayed_scan_are_those_without(recon):
    """At full size, 8 coils, refined, but for what spokes do not tell that miss the centre of k-space.

    Delays that are the same along x and y shift spokes along themselves, and change no map by more than 1 %. Delays
    that differ let them pass the centre by up to 0.65 samples. By the subspace, df is then 7 % less accurate, T1fat and
    B1 3 %. Frames of a few spokes have a point spread function that is real only if spokes pass through the centre.
    Otherwise the streaks of undersampling turn the phase too, and off-resonance, which is read from it, is 19 % less
    sure. It is 27 % without correction, and B1 is 11 % worse.
    """
    protocol = load_protocol("t1ff")
    sequence = protocol.sequence
    phantom = thigh(matrix=sequence.matrix, fov=sequence.fov, n_slices=1, slice_spacing=0.012, seed=3)
    dictionary = build_dictionary(protocol, rank=protocol.subspace_rank)

    def errors(raw, correct_delays):
        imaging = Imaging(recon=recon, correct_delays=correct_delays)
        basis = dictionary.basis if recon == "subspace" else None
        series = next(iter(Reconstruction(raw, sequence, imaging, basis=basis)))
        maps = match_series(replace(series, replica=None), dictionary, refined=True)[0]
        rmse = {}
        for p in PARAMETERS:
            counts = phantom.maps.counts(p) & maps.mask
            away = (maps.si[p.name] - phantom.maps.si[p.name])[counts]
            rmse[p.name] = float(np.sqrt(np.mean(away**2)))
        return rmse

    right = errors(scan(phantom, protocol, n_coils=8), True)
    late = scan(phantom, protocol, n_coils=8, delays=(0.5, -0.8))
    corrected, uncorrected = errors(late, True), errors(late, False)
    for p in PARAMETERS:
        most = {("nufft", "df"): 1.2, ("subspace", "df"): 1.1}.get((recon, p.name), 1.05)
        assert corrected[p.name] < most * right[p.name], p.name
    worse = {
        "subspace": {"FF": 1.1, "T1H2O": 1.5, "T1fat": 1.5, "df": 1.5, "B1": 1.5},
        "nufft": {"df": 1.2, "B1": 1.05},
    }
    for field, least in worse[recon].items():
        assert uncorrected[field] > least * right[field], field
