"""The studies that train networks of their own, and that of the frames."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from mrfpipe.errors import MismatchError
from mrfpipe.protocol import load_protocol
from mrfpipe.studies import importance, receptive_field, training_size
from mrfpipe.studies import work as work_module
from mrfpipe.studies.receptive_field import fitted
from mrfpipe.studies.scale import SCALES
from mrfpipe.studies.training_size import Training, draw_subset, over_repeats
from mrfpipe.studies.work import Work

FRAMES = 175


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def never(*_: object, **__: object) -> None:
    raise AssertionError("made again")


WITHIN = 0.011
"""Of the budget: half of what one channel more in each of the 19 layers of a 3 x 3 network costs at a million."""


def test_networks_of_the_paper_meet_every_receptive_field_and_budget():
    plan = SCALES["paper"].architectures
    assert (plan.receptive_fields[0], plan.receptive_fields[-1], len(plan.receptive_fields)) == (1, 21, 11)
    assert plan.budgets == (1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000)
    for field in plan.receptive_fields:
        for budget in plan.budgets:
            found = fitted(plan.preset, field, budget, FRAMES).architecture(FRAMES, 5)
            assert abs(found.n_parameters - budget) < WITHIN * budget
            assert (found.receptive_field, found.n_nonlinearities) == (field, 21)


def test_steps_are_lowered_no_further_than_the_budget_needs():
    preset = SCALES["paper"].architectures.preset
    for budget, step in ((5_000_000, 32), (2_000_000, 16)):
        expected = replace(preset, receptive_field=15, n_parameters=budget, spatial_step=step, temporal_step=step)
        assert fitted(preset, 15, budget, FRAMES) == expected


@pytest.mark.parametrize(
    ("receptive_field", "budget", "problem"),
    [
        (23, 5_000_000, "at least 22 non-linearities"),
        (4, 5_000_000, "odd"),
        (21, 100_000, r"^A receptive field of 21 .* more than 100,000; allow more[^\n]*$"),
    ],
)
def test_no_step_helps_where_receptive_field_or_budget_is_impossible(receptive_field, budget, problem):
    with pytest.raises(ValueError, match=problem):
        fitted(SCALES["paper"].architectures.preset, receptive_field, budget, FRAMES)


def test_networks_of_the_small_scale_meet_their_budgets():
    plan = SCALES["small"].architectures
    for field in plan.receptive_fields:
        for budget in plan.budgets:
            preset = fitted(plan.preset, field, budget, FRAMES)
            # A channel more in a layer of 3 x 3 over 60,000 parameters is up to 2 %.
            assert preset.architecture(FRAMES, 5).n_parameters == pytest.approx(budget, rel=0.03)
            assert preset.receptive_field == field
    with pytest.raises(ValueError, match="needs at least"):
        fitted(plan.preset, 9, 5_000, FRAMES)


@pytest.mark.slow
def test_receptive_field_trains_every_pair_and_none_again(work, tiny, tmp_path, monkeypatch):
    text = receptive_field.run(tmp_path, work)
    assert {p.name for p in tmp_path.iterdir()} == {f"receptive-field.{suffix}" for suffix in ("csv", "md", "png")}
    lines = read(tmp_path / "receptive-field.csv")
    assert {(line["receptive_field"], line["budget"]) for line in lines} == {("1", "60000"), ("5", "60000")}
    for field in (1, 5):
        model = work.fit(f"receptive-field-{field:02d}-60000", (), (), 0)  # read, as it is there
        assert model.architecture.receptive_field == field
        assert {line["n_parameters"] for line in lines if line["receptive_field"] == str(field)} == {
            str(model.architecture.n_parameters)
        }
        (subject,) = work.split("validation")
        maps = work.infer(model, subject)
        matched = work.maps("match", subject)
        counts = matched["FF"] <= 0.7
        extent = np.ptp(matched["T1H2O"][counts])
        expected = np.sqrt(np.nanmean((maps["T1H2O"] - matched["T1H2O"])[counts] ** 2)) / extent
        row = ("match", "NRMSE", "T1H2O", str(field))
        (found,) = (
            line for line in lines if tuple(line[c] for c in ("reference", "metric", "map", "receptive_field")) == row
        )
        assert float(found["mean"]) == pytest.approx(expected, rel=1e-4)
        assert f"{float(found['mean']):.3f}" in text
    monkeypatch.setattr(work_module, "train_stages", never)
    assert receptive_field.run(tmp_path, Work(work.folder, tiny)) == text
    other = replace(tiny.architectures, preset=replace(tiny.architectures.preset, n_epochs=3))
    with pytest.raises(MismatchError, match=r"receptive-field\.json"):
        receptive_field.run(tmp_path, Work(work.folder, replace(tiny, architectures=other)))


@pytest.mark.slow
def test_training_size_trains_on_subsets_for_as_many_steps(work, tmp_path, monkeypatch):
    trained, original = [], work_module.train_stages

    def spy(stages, series, labels, **options):
        trained.append(([s.n_epochs for s in stages], [s.name for s in series]))
        return original(stages, series, labels, **options)

    monkeypatch.setattr(work_module, "train_stages", spy)
    text = training_size.run(tmp_path, work)
    assert {p.name for p in tmp_path.iterdir()} == {f"training-size.{suffix}" for suffix in ("csv", "md", "png")}
    everybody = [subject.name for subject in work.split("training")]
    assert [(epochs, len(names)) for epochs, names in trained] == [([2], 1), ([1], 2)]
    assert trained[1][1] == everybody
    assert set(trained[0][1]) < set(everybody)
    lines = read(tmp_path / "training-size.csv")
    assert {line["n_training"] for line in lines} == {"1", "2"}
    assert {line["n"] for line in lines if line["metric"] == "NRMSE"} == {"1"}
    assert text.count("| NRMSE | df |") == 1
    assert "| 0.027 ± 0.008 |" in text
    trained.clear()
    assert training_size.run(tmp_path, work) == text
    assert not trained


def test_subsets_are_drawn_anew_for_every_repeat_and_again_the_same(work):
    people = tuple(range(50))
    found = [draw_subset(people, 10, repeat, 0) for repeat in (1, 2)]
    assert len(set(found[0])) == 10
    assert found[0] != found[1]
    assert draw_subset(people, 10, 1, 0) == found[0]
    assert draw_subset(people, 50, 1, 0) == people
    with pytest.raises(ValueError, match="larger"):
        draw_subset(people, 51, 1, 0)


def test_means_over_repeats_are_of_one_size(work):
    rows = training_size.train_subset(work, 1, 1).rows
    (ff,) = (r for r in rows if (r.reference, r.metric, r.map) == ("match", "NRMSE", "FF"))
    trainings = [
        Training(size=size, repeat=repeat, rows=[replace(ff, mean=mean)])
        for size, repeat, mean in ((1, 1, 0.1), (1, 2, 0.3), (2, 1, 0.9))
    ]
    assert over_repeats(trainings, 1, "match", "NRMSE", "FF") == (pytest.approx(0.2), pytest.approx(0.02**0.5))
    assert np.isnan(over_repeats(trainings, 2, "match", "NRMSE", "FF")[1])


def test_the_sequence_stands_above_the_right_frames():
    """T1-FF changes at frames 75, 100, 125 and 150, as section 3.4 says; values are those of its authors."""
    sequence = load_protocol("t1ff").sequence
    np.testing.assert_array_equal(importance.changes(sequence), [0, 75, 100, 125, 150])
    settings = importance.train(sequence)
    np.testing.assert_allclose(settings[74:76, 0], [5, 10])
    np.testing.assert_allclose(
        settings[[99, 100, 125, 150]], [[10, 2.39, 3.52], [5, 3.45, 4.58], [15, 3.45, 4.58], [5, 4.63, 5.76]]
    )


def test_importance_of_a_frame_is_in_its_line(work, tmp_path, monkeypatch):
    """A network that reads one frame for one map alone."""
    monkeypatch.setattr(work, "folder", tmp_path / "work")
    calls = []

    def reads_frame_130_for_df(self, model, series):
        calls.append(series)
        (subject,) = self.split("testing")
        matched = self.maps("match", subject)
        copies = len(series.images)
        si = {name: np.concatenate([image] * copies) for name, image in matched.si.items()}
        tiled = {
            name: np.concatenate([getattr(matched, name)] * copies) for name in ("m0", "phase", "match", "edge", "mask")
        }
        si["df"] = np.where(tiled["mask"], series.images[:, 130].real, np.nan).astype(np.float32)
        return replace(matched, si=si, **tiled)

    monkeypatch.setattr(Work, "infer_series", reads_frame_130_for_df)
    monkeypatch.setattr(Work, "model", lambda *_: None)
    text = importance.run(tmp_path, work)
    assert {p.name for p in tmp_path.iterdir()} - {"work"} == {
        f"importance.{suffix}" for suffix in ("csv", "md", "png")
    }
    lines = read(tmp_path / "importance.csv")
    assert len(lines) == FRAMES
    assert [line["frame"] for line in lines if float(line["df_mean"]) > 0] == ["130"]
    assert not [line for line in lines if float(line["T1H2O_mean"]) > 0]
    assert (lines[130]["flip_deg"][:2], lines[130]["te_ms"][:4]) == ("15", "3.45")
    (df,) = (line for line in text.splitlines() if line.startswith("| df |"))
    assert df.endswith("| 130 |")
    # 130 is the first after the first five of the fourth part.
    assert df.split("|")[5].split("/")[0].strip() == "0.00"
    assert "**" in df.split("|")[5].split("/")[1]
    n_calls = len(calls)
    assert importance.run(tmp_path, work) == text
    assert len(calls) == n_calls
