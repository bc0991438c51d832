"""How a raw scan becomes a series, chosen on the command line."""

import json
import re
import shutil

import h5py
import numpy as np
import pytest
from pulseq_files import write_sequence

from mrfpipe.files.dictionaries import load_dictionary
from mrfpipe.files.frames import read_frames_header
from mrfpipe.protocol import load_protocol


def errors(run, result, study):
    return {
        name: row["rmse"]
        for name, row in json.loads(run("evaluate", result, study / "leg.truth.npz", "--json").stdout).items()
    }


@pytest.fixture(scope="module")
def subspace(run, study, tmp_path_factory):
    out = tmp_path_factory.mktemp("subspace")
    run("match", study / "leg.h5", "-d", study / "small.h5", "-o", out, "--recon", "subspace")
    return out / "leg"


def test_subspace_beats_frames_and_is_on_record(run, study, subspace, of_raw, tmp_path):
    shutil.copytree(of_raw[1], tmp_path / "leg")
    ours, frames = errors(run, subspace, study), errors(run, of_raw[1], study)
    assert all(ours[name] < frames[name] for name in ours), (ours, frames)
    made = json.loads((subspace / "FF.json").read_text())
    assert made["EstimationAlgorithm"].startswith("subspace, conjugate gradients (finufft, coil maps by centre")
    assert abs(made["Notes"]["gradient_delays_samples"]["x"]) < 0.05
    assert made["Notes"]["gradient_delays_corrected"] is False
    # A result by another reconstruction is not the one asked for.
    run("match", study / "leg.h5", "-d", study / "small.h5", "-o", tmp_path, "--recon", "subspace", code=5)


def test_coefficients_in_a_file_give_the_same_maps_on_the_grid(run, study, tmp_path):
    """Between grid points they do not: only a raw scan has samples that maps can be fitted to."""
    line = ("frames", study / "leg.h5", "-o", tmp_path / "leg.frames.h5", "--recon", "subspace")
    run(*line, code=2)
    run(*line, "-d", study / "small.h5", "--protocol", study / "small.toml", code=2)
    run("frames", study / "leg.h5", "-o", tmp_path / "x.h5", "-d", study / "small.h5", code=2)
    assert "coefficients of 64 x 64" in run(*line, "-d", study / "small.h5").stdout
    assert "skip" in run(*line, "-d", study / "small.h5").stderr
    assert "of 175 frames" in run("info", tmp_path / "leg.frames.h5").stdout
    match = ("match", "-d", study / "small.h5", "--no-refine")
    run(*match, tmp_path / "leg.frames.h5", "-o", tmp_path / "stored")
    run(*match, study / "leg.h5", "-o", tmp_path / "direct")
    with h5py.File(tmp_path / "direct/leg/maps.h5") as direct, h5py.File(tmp_path / "stored/leg/maps.h5") as stored:
        for name in ("FF", "df", "M0phase", "mask", "affine"):
            np.testing.assert_allclose(stored[name][...], direct[name][...], rtol=1e-5, atol=1e-5)


def test_off_resonance_is_corrected_by_the_map_of_a_result(run, study, subspace, tmp_path):
    line = ("frames", "-o", tmp_path / "leg.frames.h5", "--protocol", study / "small.toml", "--field-map", subspace)
    said = run(*line, study / "leg.h5", code=4).stderr
    assert "which scan leg does not say; put the Pulseq file of its sequence beside it, convert it with" in said
    shutil.copy(study / "leg.h5", tmp_path / "leg.h5")
    with h5py.File(tmp_path / "leg.h5", "r+") as file:
        rows = file["dataset/data"][...]
        rows["head"]["sample_time_us"] = 5.0
        file["dataset/data"][...] = rows
    run(*line, tmp_path / "leg.h5")
    made = read_frames_header(tmp_path / "leg.frames.h5").provenance
    low, *_, high = made.notes["off_resonance_corrected_by_frequencies_hz"]
    assert -130 < low < high < 130
    assert made.method.endswith(", off-resonance corrected)")
    assert "skip" in run(*line, tmp_path / "leg.h5").stderr
    run(*line[:-2], tmp_path / "leg.h5", code=5)


def test_a_subspace_is_that_of_the_leading_vectors_whatever_the_rank(run, study, subspace, tmp_path):
    run("simulate", study / "small.toml", "-o", tmp_path / "few.h5", "--rank", 6)
    assert load_dictionary(study / "small.h5").rank > 6
    run("match", study / "leg.h5", "-d", tmp_path / "few.h5", "-o", tmp_path, "--recon", "subspace")
    made = json.loads((subspace / "FF.json").read_text())
    assert f"rank {6}" in made["EstimationAlgorithm"]
    # The dictionaries differ by rounding; where two entries score the same, so may the voxel.
    with h5py.File(subspace / "maps.h5") as many, h5py.File(tmp_path / "leg/maps.h5") as few:
        for name in ("FF", "df", "B1", "match"):
            off = np.abs(many[name][...] - few[name][...]) > 1e-3 * np.nanmax(np.abs(few[name][...]))
            assert off.sum() < 0.01 * few["mask"][...].sum(), name


def test_a_subspace_wants_the_raw_scan(run, study, tmp_path):
    line = ("match", study / "leg.frames.h5", "-d", study / "small.h5", "-o", tmp_path, "--recon", "subspace")
    assert "holds frames; a subspace reconstruction needs the raw scan" in run(*line, code=4).stderr


def test_ready_frames_are_not_reconstructed_by_options(run, study, tmp_path):
    line = ("match", study / "leg.frames.h5", "-d", study / "small.h5", "-o", tmp_path, "--trust-protocol")
    complaint = "already; leave out the options of reconstruction (noise, trust_protocol), or give the raw scan."
    assert complaint in run(*line, "--noise", "edges", code=4).stderr
    assert not list(tmp_path.iterdir())


def test_options_reach_the_reconstruction(run, study, tmp_path):
    options = (
        "--recon",
        "nufft",
        "--nufft",
        "finufft",
        "--coil-maps",
        "jsense",
        "--virtual-coils",
        3,
        "--noise",
        "edges",
    )
    run("match", study / "leg.h5", "-d", study / "small.h5", "-o", tmp_path, *options, "--no-delays")
    made = json.loads((tmp_path / "leg" / "FF.json").read_text())
    assert made["EstimationAlgorithm"].startswith(
        "adjoint NUFFT, frame by frame (finufft, coil maps by jsense, at most 3 virtual coils, noise of the edges, "
        "delays left)"
    )
    assert made["Notes"]["virtual_coils"] == 3
    assert 0.8 < made["Notes"]["virtual_coils_energy"] < 1
    assert "gradient_delays_samples" not in made["Notes"]


def test_protocol_of_a_pulseq_sequence(run, tmp_path):
    sequence = write_sequence(tmp_path / "scan.seq", shots=2)
    line = ("protocol", sequence, "-o", tmp_path / "scan.toml")
    assert "24 readouts, 3 frames of 8, matrix 32, FOV 320 mm" in run(*line).stdout
    assert load_protocol(tmp_path / "scan.toml").sequence.n_readouts == 24
    run(*line, code=5)
    (tmp_path / "no.seq").write_text("no sequence")
    run("protocol", tmp_path / "no.seq", "-o", tmp_path / "no.toml", code=3)
    assert not (tmp_path / "no.toml").exists()


def test_what_a_protocol_of_a_pulseq_sequence_searches_for(run, tmp_path):
    sequence = write_sequence(tmp_path / "scan.seq", shots=2)
    line = ("protocol", sequence, "-o", tmp_path / "scan.toml", "--force")
    ranges = ("--range", "FF=0:1:0.5", "--range", "T1H2O=500:700:100", "--range", "T1H2O=1000:1500:500")
    run(*line, "--components", "water-fat", "--parameters", "T1fat,FF,T1H2O", *ranges)
    protocol = load_protocol(tmp_path / "scan.toml")
    assert list(protocol.grid) == ["FF", "T1H2O", "T1fat"]
    np.testing.assert_allclose(protocol.grid["T1H2O"], [0.5, 0.6, 0.7, 1.0, 1.5])
    assert "is not of the form NAME=START:STOP:STEP" in run(*line, "--range", "T1=300", code=2).stderr
    assert "FF does not exist for tissue" in run(*line, "--parameters", "FF", code=4).stderr
    assert "has no soft delay wait; it has none" in run(*line, "--soft-delay", "wait=20", code=3).stderr


def test_what_nothing_has_checked_is_said_once(run, study, tmp_path):
    """Of a scan whose header lists TE and TR, but no flip angles and no TI."""
    raw, frames = tmp_path / "leg.h5", tmp_path / "leg.frames.h5"
    shutil.copy(study / "leg.h5", raw)
    with h5py.File(raw, "r+") as file:
        header = file["dataset/xml"][0]
        file["dataset/xml"][0] = re.sub(rb"<(ns0:)?(TI|flipAngle_deg)>.*?</(ns0:)?(TI|flipAngle_deg)>", b"", header)
    complaint = "so they were not compared with the protocol: flip angles, TI\n"
    assert run("frames", raw, "-o", frames, "--protocol", study / "small.toml").stdout.count(complaint) == 1
    assert run("match", frames, "-d", study / "small.h5", "-o", tmp_path, "--no-refine").stdout.count(complaint) == 1
    notes = json.loads((tmp_path / "leg" / "FF.json").read_text())["Notes"]
    assert notes["not_stated_by_the_scan"] == "flip angles, TI"
    assert "The scan does not state flip angles, TI: check" in (tmp_path / "leg" / "report.html").read_text()
    stated = run("frames", study / "leg.h5", "-o", tmp_path / "whole.h5", "--protocol", study / "small.toml").stdout
    assert "not compared" not in stated
