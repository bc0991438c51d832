"""reconstruct and export: the model that ships, what a model reads, many scans, and the graph for other software."""

import json
import re
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from helpers import untrained_model

from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.acquisition.raw import read_raw
from mrfpipe.errors import InputError
from mrfpipe.files.dictionaries import load_dictionary, save_dictionary
from mrfpipe.learning import correction, shipped
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.model import load_model, save_model
from mrfpipe.learning.presets import CORRECTING
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.progress import SILENT
from mrfpipe.protocol import load_protocol
from mrfpipe.run import examples, training
from mrfpipe.run.by import NetworkBy
from mrfpipe.run.source import load_series

RANK = 5


FISP = """
name = "brief-fisp"
description = "forty readouts"
field_t = 3.0
[geometry]
matrix = 20
fov_mm = 200.0
slice_thickness_mm = 5.0
excitation_time_bandwidth = 4.0
[readout]
kind = "golden-radial"
angle_increment_deg = 111.24611797
oversampling = 2
readouts_per_frame = 1
[reconstruction]
subspace_rank = 4
[history]
kind = "equilibrium"
[[sequence]]
block = "inversion"
[[sequence]]
block = "delay"
duration_ms = 20.0
[[sequence]]
block = "excitations"
count = 20
flip_deg = 10.0
te_ms = 2.0
tr_ms = 60.0
dephasing_cycles = 1
[[sequence]]
block = "excitations"
count = 20
flip_deg = 50.0
te_ms = 2.0
tr_ms = 60.0
dephasing_cycles = 1
[parameters.T1]
quantity = "T1"
ranges = [[300, 2100, 300]]
[parameters.T2]
quantity = "T2"
ranges = [[20, 300, 40]]
[parameters.B1]
quantity = "B1"
ranges = [[0.7, 1.1, 0.1]]
[[components]]
name = "tissue"
t1 = "T1"
t2 = "T2"
"""


@pytest.fixture(scope="module")
def models(study, run, tmp_path_factory):
    """Folders of three untrained models: of frames, of encoded frames, and of coefficients."""
    folder = tmp_path_factory.mktemp("models")
    run("simulate", study / "small.toml", "-o", folder / "small.h5", "--rank", RANK)
    dictionary = load_dictionary(folder / "small.h5")
    series = load_series(study / "leg.frames.h5", dictionary.protocol, SILENT)
    encoding = Encoding.of(dictionary.basis, [series])
    protocol = dictionary.protocol
    save_model(untrained_model(protocol, encoding), folder / "encoded", half=True)
    save_model(untrained_model(protocol, encoding, {"input": "coefficients"}), folder / "coefficients")
    save_model(untrained_model(protocol), folder / "frames")
    return folder


def maps_of(folder):
    with h5py.File(folder / "maps.h5") as file:
        return {name: file[name][...] for name in ("FF", "T1H2O", "T1fat", "df", "B1", "match", "mask")}


def made(folder):
    return json.loads((folder / "FF.json").read_text())


@pytest.mark.parametrize("kind", ["encoded", "frames"])
def test_a_raw_scan_and_its_frames_give_the_same_maps(run, study, models, tmp_path, kind):
    """A raw scan is reconstructed slice by slice; the frames of a model that reads them twice lie on disk meanwhile."""
    run("reconstruct", study / "leg.h5", "--model", models / kind, "-o", tmp_path / "raw")
    run("reconstruct", study / "leg.frames.h5", "--model", models / kind, "-o", tmp_path / "frames")
    raw, frames = maps_of(tmp_path / "raw" / "leg"), maps_of(tmp_path / "frames" / "leg")
    for name, values in raw.items():
        np.testing.assert_array_equal(values, frames[name])
    assert made(tmp_path / "raw" / "leg")["EstimationAlgorithm"].startswith("adjoint NUFFT, frame by frame (sigpy")


def test_a_model_of_coefficients_has_a_raw_scan_reconstructed_so(run, study, models, tmp_path):
    line = ("reconstruct", "--model", models / "coefficients", "-o")
    run(*line, tmp_path / "raw", study / "leg.h5", "--virtual-coils", 2)
    record = made(tmp_path / "raw" / "leg")
    assert record["EstimationAlgorithm"].startswith(
        "subspace, conjugate gradients (finufft, coil maps by centre, at most 2"
    )
    assert record["EstimationAlgorithm"].endswith("parameters, signal model spoiled)")
    options = ("--recon", "subspace", "--virtual-coils", 2, "-d", models / "small.h5")
    run("frames", study / "leg.h5", "-o", tmp_path / "leg.h5", *options)
    run(*line, tmp_path / "stored", tmp_path / "leg.h5")
    raw, stored = maps_of(tmp_path / "raw" / "leg"), maps_of(tmp_path / "stored" / "leg")
    for name, values in raw.items():
        np.testing.assert_allclose(values, stored[name], rtol=1e-4, atol=1e-4)
    assert "needs the raw scan" in run(*line, tmp_path / "none", study / "leg.frames.h5", code=4).stderr
    other = ("reconstruct", "--model", models / "encoded", "-o", tmp_path / "none", tmp_path / "leg.h5")
    assert "holds coefficients, the model was trained on frames" in run(*other, code=4).stderr


def test_a_scan_of_the_other_sense_is_refused_or_conjugated(run, study, models, tmp_path):
    protocol = load_protocol(str(study / "small.toml"))
    raw = read_raw(study / "leg.h5", protocol.sequence)
    turned = replace(raw, kspace=raw.kspace.conj(), trajectory=-raw.trajectory, noise=raw.noise.conj())
    write_ismrmrd(turned, protocol.sequence, tmp_path / "leg.h5")
    line = ("reconstruct", tmp_path / "leg.h5", "--model", models / "encoded", "-o", tmp_path)
    assert "sign of its phase is opposite" in run(*line, code=4).stderr
    run(*line, "--conjugate")
    run("reconstruct", study / "leg.h5", "--model", models / "encoded", "-o", tmp_path / "plain")
    conjugated, plain = maps_of(tmp_path / "leg"), maps_of(tmp_path / "plain" / "leg")
    for name, values in plain.items():
        # The same samples by the same arithmetic; float32 of a file's trajectory, whose unit it is written in.
        np.testing.assert_allclose(conjugated[name], values, rtol=1e-3, atol=1e-3)


def test_many_scans_what_is_done_is_skipped_and_one_that_fails_stops_no_other(run, study, models, tmp_path):
    shutil.copy(study / "leg.frames.h5", tmp_path / "leg.frames.h5")
    (tmp_path / "broken.h5").write_text("hello")
    line = ("reconstruct", tmp_path / "broken.h5", tmp_path / "leg.frames.h5", "-o", tmp_path / "out", "--model")
    result = run(*line, models / "encoded", "-q", code=3)
    assert "1 done, 0 skipped, 1 failed" in result.stderr
    assert "is finished; replace it with --force" in run(*line[:1], *line[2:], models / "encoded").stderr
    # Another model, or precision, is another result.
    run(*line[:1], *line[2:], models / "frames", code=5)
    run(*line[:1], *line[2:], models / "encoded", "--precision", "bfloat16", code=5)
    exact = maps_of(tmp_path / "out" / "leg")
    run(*line[:1], *line[2:], models / "encoded", "--precision", "bfloat16", "--force")
    near = maps_of(tmp_path / "out" / "leg")
    assert made(tmp_path / "out" / "leg")["EstimationAlgorithm"].endswith("bfloat16)")
    inside = exact["mask"] > 0
    assert 0 < np.abs(near["B1"] - exact["B1"])[inside].mean() < 0.02


def test_the_model_that_ships_is_taken_by_default(run, study, models, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "models_folder", lambda: tmp_path / "shipped")
    (tmp_path / "shipped").mkdir()
    line = ("reconstruct", study / "leg.frames.h5", "-o", tmp_path / "out")
    assert "No pretrained network is bundled for frames of the scan's sequence" in run(*line, code=4).stderr
    raw = ("reconstruct", study / "leg.h5", "-o", tmp_path / "raw")
    assert "train one with mrfpipe train, and give it by --model" in run(*raw, code=3).stderr
    shutil.copytree(models / "encoded", tmp_path / "shipped" / "t1ff")  # the default one, and as it happens of frames
    run(*line)
    run(*raw)
    run("reconstruct", study / "leg.frames.h5", "-o", tmp_path / "given", "--model", models / "encoded")
    for name, values in maps_of(tmp_path / "given" / "leg").items():
        np.testing.assert_array_equal(values, maps_of(tmp_path / "raw" / "leg")[name])
        np.testing.assert_array_equal(values, maps_of(tmp_path / "out" / "leg")[name])
    weights = tmp_path / "shipped" / "t1ff" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "is not a safetensors file or is truncated" in run(*raw, "--force", code=3).stderr


def test_the_signal_model_is_told_by_info_and_by_the_record_of_a_result(run, study, models, tmp_path):
    model = load_model(models / "encoded", torch.device("cpu"))
    save_model(replace(model, signal_model=SignalModel(spoiling="epg", slice_profile=True)), tmp_path / "epg")
    described = run("info", tmp_path / "epg").stdout
    assert re.search("^signal model: +epg with slice profile$", described, re.MULTILINE)
    mapper = NetworkBy().read(tmp_path / "epg", "digest")
    assert mapper.describe(RANK).endswith("parameters, signal model epg with slice profile)")


def test_training_takes_the_signal_model_of_its_labels(run, study, tmp_path, monkeypatch):
    """Of matching that of the dictionary, of a truth the one that is told."""
    dictionary = load_dictionary(study / "small.h5")
    save_dictionary(replace(dictionary, model=SignalModel(spoiling="epg")), tmp_path / "epg.h5")
    found = []

    def note(*_scans, signal_model, **_settings):
        found.append(str(signal_model))
        raise InputError("enough.")

    monkeypatch.setattr(training, "train_stages", note)
    monkeypatch.setattr(training, "match_series", lambda *_scan, **_settings: (None, None))  # the labels do not matter
    line = ("train", study / "leg.frames.h5", "-o", tmp_path / "model", "--protocol", study / "small.toml")
    matched = (*line, "--labels", "match", "-d", tmp_path / "epg.h5")
    run(*line, code=3)
    run(*line, "--signal-model", "bloch", "--slice-profile", code=3)
    run(*matched, code=3)
    assert found == ["spoiled", "bloch with slice profile", "epg"]
    result = run(*matched, "--signal-model", "spoiled", code=2)
    assert "epg.h5 determines the signal model; --signal-model is for --labels truth." in result.stderr
    run(*matched, "--slice-profile", code=2)


def test_export_writes_a_graph_once(run, models, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    line = ("export", models / "encoded", "-o", tmp_path / "model.onnx")
    assert "parameters" in run(*line).stdout
    about = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert about["protocol_hash"] == load_model(models / "encoded", torch.device("cpu")).protocol_hash
    run(*line, code=5)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    run("export", models / "small.h5", "-o", tmp_path / "none.onnx", code=3)


@pytest.fixture
def quick(monkeypatch):
    """The smaller network that corrects, made smaller still, and no more others than there must be."""
    preset = replace(CORRECTING["small"], receptive_field=5, n_parameters=25_000, n_nonlinearities=5, batch_size=2)
    monkeypatch.setitem(CORRECTING, "small", replace(preset, spatial_stop=8, spatial_step=0, n_epochs=3))


def test_a_protocol_alone_makes_a_network_that_maps_its_scans(run, tmp_path, quick, monkeypatch):
    """An interrupted training goes on to the very same network; the card has what was measured on other phantoms."""
    (tmp_path / "fisp.toml").write_text(FISP)
    line = ("train", "--phantoms", 4, "--protocol", tmp_path / "fisp.toml", "--device", "cpu", "-o")
    told = run(*line, tmp_path / "model", "--log", tmp_path / "log.jsonl")
    assert re.search(r"network over matching: T1 \d+\.\d\d, T2 \d+\.\d\d, B1 \d+\.\d\d;", told.stdout)
    assert "reconstruct SCAN.h5 --model" in told.stderr
    card = (tmp_path / "model" / "README.md").read_text()
    for heading in ("T1 (ms)", "T2 (ms)", "B1"):
        (row,) = [row for row in card.splitlines() if row.startswith(f"| {heading}")]
        numbers = [float(cell) for cell in row.split("|")[2:-1]]
        assert len(numbers) == 5
        assert numbers[3] == pytest.approx(numbers[0] / numbers[1], abs=0.006)  # two decimals
    entries = [json.loads(entry) for entry in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in entries] == [1, 2, 3]
    assert set(entries[0]["ratio"]) == {"T1", "T2", "B1"}

    keep = correction.save_checkpoint

    def interrupted(path, state, settings):
        keep(path, state, settings)
        if state.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(correction, "save_checkpoint", interrupted)
        told = run(*line, tmp_path / "again", code=130).stderr
    assert told.endswith(
        f"interrupted; what is trained is kept in {tmp_path}/again.checkpoint; continue with --resume.\n"
    )
    assert "continue it with --resume" in run(*line, tmp_path / "again", code=5).stderr
    with monkeypatch.context() as patch:
        patch.setattr(examples.Source, "__call__", None)  # the scans are there
        run(*line, tmp_path / "again", "--resume")
    for file in ("model.safetensors", "README.md"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "model" / file).read_bytes()
    assert [path.name for path in tmp_path.glob("*checkpoint*")] == []

    run("phantom", tmp_path / "spheres.h5", "--anatomy", "spheres", "--protocol", tmp_path / "fisp.toml", "--coils", 2)
    run("reconstruct", tmp_path / "spheres.h5", "--model", tmp_path / "model", "-o", tmp_path / "out")
    with h5py.File(tmp_path / "out" / "spheres" / "maps.h5") as file:
        assert {"T1", "T2", "B1", "T1_sd"} <= set(file)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "Give either DATA or --phantoms N."),
        (("--phantoms", 4, "DATA"), "Give either DATA or --phantoms N."),
        (("--phantoms", 3), "3 is not in the range x>=4"),
        (("--phantoms", 4, "--labels", "truth"), "--labels is for DATA, not for --phantoms."),
        (("--phantoms", 4, "--validate", "DATA"), "--validate is for DATA, not for --phantoms."),
        (("--phantoms", 4, "--preset", "paper"), "--phantoms trains preset small or large."),
        (("--preset", "large", "DATA"), "--preset large is for --phantoms."),
    ],
)
def test_phantoms_and_scans_at_hand_are_not_mixed(run, study, tmp_path, words, complaint):
    given = [study / "leg.frames.h5" if word == "DATA" else word for word in words]
    assert complaint in run("train", *given, "-o", tmp_path / "model", code=2).stderr
