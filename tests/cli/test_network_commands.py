"""reconstruct and export: the model that ships, what a model reads, many scans, and the graph for other software."""

import json
import re
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.acquisition.raw import read_raw
from mrfpipe.errors import InputError
from mrfpipe.files.dictionaries import load_dictionary, save_dictionary
from mrfpipe.learning import shipped
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.model import TrainedModel, load_model, save_model
from mrfpipe.learning.network import initial_network
from mrfpipe.learning.presets import PRESETS
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.protocol import load_protocol
from mrfpipe.run import training
from mrfpipe.run.by import NetworkBy
from mrfpipe.run.source import load_series

RANK = 5


def untrained(protocol, encoding, record):
    """A network of preset small with random weights."""
    architecture = PRESETS["small"].architecture(protocol.sequence.n_frames, len(protocol.parameters))
    n_values = protocol.sequence.n_frames if encoding is None else encoding.mean.size
    architecture = replace(architecture, n_inputs=2 * n_values)
    return TrainedModel(
        network=initial_network(architecture, torch.Generator().manual_seed(0)).eval(),
        architecture=architecture,
        scaling=MapScaling.of(protocol),
        encoding=encoding,
        sequence_hash=protocol.sequence.hash,
        protocol_hash=protocol.hash,
        protocol_toml=protocol.toml,
        record=record,
    )


def silent(stage):
    return lambda done, total: None  # noqa: ARG005 - nobody watches


@pytest.fixture(scope="module")
def models(study, run, tmp_path_factory):
    """Folders of three untrained models: of frames, of encoded frames, and of coefficients."""
    folder = tmp_path_factory.mktemp("models")
    run("simulate", study / "small.toml", "-o", folder / "small.h5", "--rank", RANK)
    dictionary = load_dictionary(folder / "small.h5")
    series = load_series(study / "leg.frames.h5", dictionary.protocol, silent)
    encoding = Encoding.of(dictionary.basis, [series])
    protocol = dictionary.protocol
    save_model(untrained(protocol, encoding, {}), folder / "encoded", half=True)
    save_model(untrained(protocol, encoding, {"input": "coefficients"}), folder / "coefficients")
    save_model(untrained(protocol, None, {}), folder / "frames")
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
