"""The shipped model's recipe on four small subjects: what is kept, what is read, and that it goes on."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import small_protocol

from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import MismatchError
from mrfpipe.files.frames import load_frames
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.inference import reconstruct
from mrfpipe.phantom.cohort import draw_cohort
from mrfpipe.phantom.scanner import scan
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.studies import shipped
from mrfpipe.studies.catalogue import run_study
from mrfpipe.studies.shipped import RECIPES, CompressedFrames, Recipe, make_model, subject_phantom

CPU = torch.device("cpu")
PRESET = replace(
    RECIPES["small"].preset, receptive_field=3, n_parameters=25_000, n_nonlinearities=4, patch_size=8, n_epochs=2
)
RECIPE = Recipe(preset=PRESET, n_subjects=4, n_validation=1, n_test=1, n_slices=1)


def silent(_name):
    return lambda _done, _total: None


@pytest.fixture(scope="module")
def protocol():
    return small_protocol()


@pytest.fixture(scope="module")
def made(tmp_path_factory, protocol):
    folder = tmp_path_factory.mktemp("shipped")
    return folder, make_model(folder, RECIPE, protocol, seed=0, device=CPU, progress=silent)


@pytest.mark.slow
def test_the_model_reads_frames_and_was_trained_on_the_training_subjects_alone(made, protocol):
    folder, model = made
    training = [s.name for s in draw_cohort(4, seed=0).split("training")]
    assert [scan["name"] for scan in model.record["scans"]] == training
    assert model.record["input"] == "frames"
    assert sorted(path.name for path in folder.iterdir()) == ["coefficients", "log.jsonl", "network", "recipe.json"]
    series = CompressedFrames([folder / "coefficients" / f"{training[0]}.h5"])[0]
    maps = reconstruct(series, model, protocol, device=CPU)[0]
    assert np.isfinite(maps.si["FF"][maps.mask]).all()


@pytest.mark.slow
def test_of_frames_all_is_kept_that_the_encoding_looks_at(made, protocol):
    """The same subject, scanned here: encoded frames and encoded kept frames are one and the same."""
    folder, _ = made
    subject = draw_cohort(4, seed=0).split("training")[0]
    rng = np.random.default_rng([subject.seed, 0])
    n_coils = int(rng.integers(shipped.FEWEST_COILS, shipped.MOST_COILS + 1))
    snr = float(np.exp(rng.uniform(np.log(shipped.NOISIEST), np.log(shipped.QUIETEST))))
    raw = scan(subject_phantom(subject, RECIPE, protocol), protocol, n_coils=n_coils, snr=snr, seed=subject.seed)
    frames = Reconstruction(raw, protocol.sequence, Imaging(backend="finufft")).series()
    path = folder / "coefficients" / f"{subject.name}.h5"
    kept = CompressedFrames([path])[0]
    np.testing.assert_array_equal(kept.mask, frames.mask)
    encoding = Encoding.of(build_dictionary(protocol, rank=PRESET.rank).basis, [frames])
    # Standardised coefficients are some units large; in float32, projected twice, they differ in the fifth digit.
    np.testing.assert_allclose(encoding.encode(kept).images, encoding.encode(frames).images, atol=1e-3)
    outside = np.linalg.norm(frames.images - kept.images) / np.linalg.norm(frames.images)
    assert 0.05 < outside < 0.9  # aliasing that no fingerprint explains is left out
    assert load_frames(path).kind == "coefficients"


@pytest.mark.slow
def test_a_second_run_makes_nothing_again_and_other_settings_are_refused(made, protocol, monkeypatch):
    folder, model = made

    def never(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    for name in ("scan", "train", "save_frames"):
        monkeypatch.setattr(shipped, name, never)
    again = make_model(folder, RECIPE, protocol, seed=0, device=CPU, progress=silent)
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name])
    with pytest.raises(MismatchError, match="other settings"):
        make_model(folder, RECIPE, protocol, seed=1, device=CPU, progress=silent)


@pytest.mark.slow
def test_the_study_compares_it_with_matching(made, protocol, monkeypatch, tmp_path):
    folder, _ = made
    (tmp_path / "model").symlink_to(folder)
    monkeypatch.setitem(RECIPES, "small", RECIPE)
    monkeypatch.setattr("mrfpipe.protocol.load_protocol", lambda _: protocol)
    text = run_study("model", tmp_path, scale="small", seed=0, device=CPU, force=False, progress=silent)
    assert "| map | network | match | match-refined |" in text
    assert (tmp_path / "model.md").read_text() == text
    with (tmp_path / "model.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * len(PARAMETERS)
    (tested,) = {line["subject"] for line in lines}
    assert tested == draw_cohort(4, seed=0).split("testing")[0].name
    ff = {line["method"]: float(line["rmse"]) for line in lines if line["map"] == "FF"}
    # Aliasing leaves matching less than 0.2; a network of two epochs knows less, but not nothing.
    assert 0 < ff["match-refined"] < 0.2
    assert ff["match"] != ff["match-refined"] < ff["network"] < 1


def test_about_half_of_the_subjects_have_texture(protocol):
    subjects = draw_cohort(24, seed=0).subjects
    sequence = protocol.sequence
    place = {"matrix": 48, "fov": sequence.fov, "slice_spacing": 1.5 * sequence.slice_thickness, "n_slices": 1}
    smooth = [s.phantom(**place).maps.si["df"] for s in subjects]
    drawn = [subject_phantom(s, RECIPE, protocol).maps.si["df"] for s in subjects]
    n_rough = sum(not np.array_equal(a, b, equal_nan=True) for a, b in zip(smooth, drawn, strict=True))
    assert 6 <= n_rough <= 18
