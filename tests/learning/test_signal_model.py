"""A network's signal model: encoding, fingerprints, scale and match are by that of its labels, and its file says it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mrfpipe.basis import range_basis
from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.learning.export import _metadata
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.model import load_model, save_model
from mrfpipe.learning.shipped import models_folder
from mrfpipe.learning.training import train
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.physics.simulate import SPOILED, SignalModel, fingerprints

CPU = torch.device("cpu")
EPG = SignalModel(spoiling="epg")
RANK = 6


@pytest.fixture(scope="module")
def scan(make_scan):
    return make_scan(1, n_slices=1)


@pytest.fixture(scope="module")
def run(protocol, tiny_preset, scan):
    """Return a function that trains for an epoch on a scan, encoded."""
    preset = replace(tiny_preset, rank=RANK, n_epochs=1)

    def run_(**changes):
        return train([scan[0]], [scan[1]], preset=preset, protocol=protocol, device=CPU, **changes)

    return run_


@pytest.fixture(scope="module")
def model(run):
    return run(signal_model=EPG)


def away(one, other):
    """The distance of two arrays, as a share of the norm of the second."""
    return np.linalg.norm(one - other) / np.linalg.norm(other)


def test_frames_are_encoded_in_the_basis_of_the_model(model, protocol):
    bases = {kind: build_dictionary(protocol, model=kind, rank=RANK).basis for kind in (EPG, SPOILED)}
    # Compared as what they project onto, as a basis is unique but for signs; complex64 rounds products to 1e-6.
    assert away(model.encoding.basis @ model.encoding.basis.conj().T, bases[EPG] @ bases[EPG].conj().T) < 1e-5
    assert away(model.encoding.basis @ model.encoding.basis.conj().T, bases[SPOILED] @ bases[SPOILED].conj().T) > 1e-2


def test_fingerprints_and_their_scale_are_by_the_model(model, protocol, scan):
    maps, found = reconstruct(scan[0], model, protocol, device=CPU)
    values = {p.name: maps.si[p.name][maps.mask].astype(float) for p in PARAMETERS}
    by_model = {kind: fingerprints(protocol, values, model=kind) for kind in (EPG, SPOILED)}
    np.testing.assert_array_equal(found.basis, range_basis(protocol, EPG))
    # complex64 sums of sixteen frames; ideal spoiling is off by percents.
    assert away(found.simulated, by_model[EPG] @ found.basis.conj()) < 1e-5
    assert away(found.simulated, by_model[SPOILED] @ found.basis.conj()) > 1e-2
    signals = np.moveaxis(scan[0].images, 1, -1)[maps.mask]
    overlap = {kind: np.sum(d.conj() * signals, axis=1) for kind, d in by_model.items()}
    m0 = {kind: np.abs(overlap[kind]) / np.sum(np.abs(d) ** 2, axis=1) for kind, d in by_model.items()}
    np.testing.assert_allclose(maps.m0[maps.mask], m0[EPG], rtol=1e-4)  # complex64 against complex128
    assert away(m0[SPOILED], m0[EPG]) > 2e-3


def test_the_basis_of_the_ranges_holds_what_the_model_simulates(protocol):
    """Of signals by a model, its own basis loses less than that of another."""
    rng = np.random.default_rng(9)
    axes = {p.name: protocol.grid[p.name] for p in PARAMETERS}
    values = {name: rng.uniform(axis.min(), axis.max(), 100) for name, axis in axes.items()}
    signals = fingerprints(protocol, values, model=EPG)
    own, other = (
        away(signals @ basis.conj() @ basis.T, signals)
        for basis in (range_basis(protocol, kind) for kind in (EPG, SPOILED))
    )
    assert own < 0.5 * other


def test_it_comes_back_from_the_file(model, tmp_path):
    thick = replace(model, signal_model=SignalModel(spoiling="bloch", slice_profile=True))
    for number, one in enumerate((model, thick)):
        save_model(one, tmp_path / str(number))
        assert load_model(tmp_path / str(number), CPU).signal_model == one.signal_model
    assert model.signal_model == EPG


def test_a_file_that_does_not_say_is_of_ideal_spoiling(model, tmp_path):
    save_model(model, tmp_path)
    path = tmp_path / "model.json"
    description = json.loads(path.read_text())
    for wrong, word in (({"spoiling": "epgs", "slice_profile": False}, "epgs"), ({"spoiling": "epg"}, "slice_profile")):
        path.write_text(json.dumps(description | {"signal_model": wrong}))
        with pytest.raises(InputError, match=f"does not describe a model: .*{word}"):
            load_model(tmp_path, CPU)
    del description["signal_model"]
    path.write_text(json.dumps(description))
    assert load_model(tmp_path, CPU).signal_model == SPOILED


def test_the_network_that_ships_says_its_model():
    """It learned phantoms' truth from scans whose signals are ideally spoiled."""
    description = json.loads((models_folder() / "t1ff" / "model.json").read_text())
    assert description["signal_model"] == {"spoiling": "spoiled", "slice_profile": False}


def test_a_training_goes_on_with_its_own_model_alone(run, model, tmp_path):
    checkpoint = tmp_path / "run.checkpoint"
    run(signal_model=EPG, checkpoint=checkpoint)
    with pytest.raises(MismatchError, match=r"another training \(its .*signal_model"):
        run(checkpoint=checkpoint)
    assert run(signal_model=EPG, checkpoint=checkpoint).record == model.record
    assert model.record["signal_model"] == "epg"


def test_an_exported_graph_says_its_model(model):
    assert _metadata(model)["signal_model"] == "epg"
