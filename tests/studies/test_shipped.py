"""The shipped model's recipe on few small bodies: it learns, it is kept, and the study compares it with matching."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import small_protocol

from mrfpipe.errors import MismatchError
from mrfpipe.learning.model import load_model
from mrfpipe.phantom.cohort import draw_cohort
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.studies import model as study
from mrfpipe.studies import simulated
from mrfpipe.studies.catalogue import run_study
from mrfpipe.studies.model import subject_phantom
from mrfpipe.studies.shipped import RECIPES, train_model

CPU = torch.device("cpu")
RECIPE = replace(
    RECIPES["small"],
    preset=replace(
        RECIPES["small"].preset, receptive_field=3, n_parameters=25_000, n_nonlinearities=4, patch_size=16, batch_size=8
    ),
    seconds=20,
    n_subjects=12,
    n_first=4,
    n_validation=1,
    n_test=1,
)


def silent(_name):
    return lambda _done, _total: None


@pytest.fixture(scope="module")
def protocol():
    return small_protocol()


@pytest.fixture(scope="module")
def coarse():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated, "FINEST", {"T1H2O": 21, "T1fat": 5, "df": 31, "B1": 13})
        yield


@pytest.mark.slow
def test_a_training_of_seconds_corrects_the_fat_that_water_hides(protocol, coarse):
    told = []
    model = train_model(
        RECIPE,
        protocol,
        device=CPU,
        backend="sigpy",
        seed=0,
        processes=1,
        report=lambda share, values: told.append((share, dict(values))),
    )
    share, last = told[-1]
    assert share == 1.0
    # T1 of fat in voxels of little fat is mostly noise, which the mean of the neighbourhood beats at once.
    assert last["ratio2"] < 0.95
    assert model.corrects
    assert model.reads == "coefficients"
    assert model.record["steps"] == last["steps"] > 10


@pytest.mark.slow
def test_the_study_makes_it_once_and_compares_it_with_matching(protocol, coarse, monkeypatch, tmp_path):
    monkeypatch.setitem(RECIPES, "small", RECIPE)
    monkeypatch.setattr("mrfpipe.studies.model.load_protocol", lambda _: protocol)
    monkeypatch.setattr("mrfpipe.studies.examples.get_context", lambda _: __import__("multiprocessing"))
    run = {"scale": "small", "seed": 0, "device": CPU, "progress": silent}
    text = run_study("model", tmp_path, force=False, **run)
    assert "| map | network | match | match-refined |" in text
    assert (tmp_path / "model.md").read_text() == text
    made = load_model(tmp_path / "model" / "network")
    with (tmp_path / "model.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * len(PARAMETERS)
    (tested,) = {line["subject"] for line in lines}
    assert tested == draw_cohort(12, seed=0).split("testing")[0].name

    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(study, "train_model", never)
    run_study("model", tmp_path, force=True, **run)
    again = load_model(tmp_path / "model" / "network")
    for name, tensor in made.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name])
    with pytest.raises(MismatchError, match="other settings"):
        run_study("model", tmp_path, force=True, **(run | {"seed": 1}))


def test_about_half_of_the_subjects_have_texture(protocol):
    subjects, sequence = draw_cohort(24, seed=0).subjects, protocol.sequence
    place = {"matrix": 48, "fov": sequence.fov, "slice_spacing": 1.5 * sequence.slice_thickness, "n_slices": 1}
    smooth = [s.phantom(**place).maps.si["df"] for s in subjects]
    drawn = [subject_phantom(s, protocol).maps.si["df"] for s in subjects]
    n_rough = sum(not np.array_equal(a, b, equal_nan=True) for a, b in zip(smooth, drawn, strict=True))
    assert 6 <= n_rough <= 18
