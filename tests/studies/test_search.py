"""The comparison is fair: all networks are tried and trained alike, and test subjects decide nothing."""

import json
import shutil
from dataclasses import replace

import pytest

from mrfpipe.counting import MOST_FAT_FOR_WATER
from mrfpipe.studies import table2
from mrfpipe.studies import work as work_module
from mrfpipe.studies.published import NETWORKS
from mrfpipe.studies.scale import SCALES
from mrfpipe.studies.scanned import ScannedCohort
from mrfpipe.studies.search import Trial, best
from mrfpipe.studies.trainings import describe_trainings
from mrfpipe.studies.work import Work

FAVOURED = (16, 3e-3)
"""Input and learning rate that fit best in the tests that do not train."""


@pytest.fixture
def untrained(monkeypatch):
    """Trainings, as they are asked for, in the place of scans and training: (stages, training and validation names)."""
    asked = []

    def pretend(stages, series, _, *, validation, log, **__):
        asked.append((stages, [scan.name for scan in series], [scan.name for scan in validation[0]]))
        fits = 0.9 if (stages[-1].rank, stages[-1].learning_rate) == FAVOURED else 0.1
        entries = ({"validation": {"best": r2}, "seconds": 2.0} for r2 in (fits / 2, fits))
        log.parent.mkdir(exist_ok=True)
        log.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))

    def named(_, subject, *__):
        assert subject.split != "testing"
        return subject

    for name in ("make", "phantom", "series", "matched"):
        monkeypatch.setattr(ScannedCohort, name, named)
    monkeypatch.setattr(work_module, "train_stages", pretend)
    return asked


def test_every_network_of_the_small_scale_is_given_the_same():
    scale = SCALES["small"]

    def given(method):
        """What may differ between candidates, and must not between networks."""
        return [
            [
                {(p.rank, p.learning_rate, p.final_learning_rate) for p in stages},
                {(p.weights, p.most_fat_for_water, p.settled) for p in stages},
                sum(p.n_epochs for p in stages),
                sum(p.n_epochs for p in scale.search.shortened(stages)),
            ]
            for stages in scale.candidates(method)
        ]

    for method in NETWORKS:
        assert given(method) == given("proposed")
    assert {preset[0] for (preset,), *_ in given("proposed")} == {None, 16}
    # As published, but T1 of water where there is enough of it: no map is weighed by hand.
    assert all(loss == {(None, MOST_FAT_FOR_WATER, 0.0)} for _, loss, *_ in given("proposed"))
    # The U-Net alone has patches of its own.
    batches = {(p.patch_size, p.batch_size) for method in NETWORKS for p in scale.stages[method] if p.network != "fang"}
    assert len(batches) == 1


def test_all_is_tried_on_training_and_validation_subjects_and_the_best_is_trained(tmp_path, untrained):
    small = SCALES["small"]
    fresh = Work(tmp_path, small)
    training, validation = ([subject.name for subject in fresh.split(name)] for name in ("training", "validation"))
    for method in NETWORKS:
        stages = fresh.stages(method)
        tried = [preset for preset, *_ in untrained]
        assert [preset[-1].rank for preset in tried] == [None] * 3 + [16] * 3
        assert {preset[-1].network for preset in tried} == {small.stages[method][-1].network}
        assert {sum(preset.n_epochs for preset in stages) for stages in tried} == {6}
        assert all(subjects == [training, validation] for _, *subjects in untrained)
        assert {(preset.rank, preset.learning_rate) for preset in stages} == {FAVOURED}
        assert sum(preset.n_epochs for preset in stages) == 48
        assert [trial.r2 for trial in fresh.trials(method)] == [0.1] * 4 + [0.9] + [0.1]
        assert {trial.seconds for trial in fresh.trials(method)} == {4.0}
        untrained.clear()
    for method in NETWORKS:  # read, not tried again
        Work(tmp_path, small).stages(method)
    assert not untrained
    assert {path.name for path in (tmp_path / "search").iterdir()} == {f"{method}.json" for method in NETWORKS}


def test_no_test_subject_is_looked_at_before_all_networks_are_chosen(work, monkeypatch):
    chosen, original = set(), Work.model

    def model(self, method):
        found = original(self, method)
        chosen.add(method)
        return found

    def guarded(name):
        reached = getattr(ScannedCohort, name)

        def reach(self, subject, *rest):
            assert subject.split != "testing" or chosen == {"proposed", "cohen"}
            return reached(self, subject, *rest)

        return reach

    for name in ("make", "phantom", "series", "matched"):
        monkeypatch.setattr(ScannedCohort, name, guarded(name))
    monkeypatch.setattr(Work, "model", model)
    monkeypatch.setattr(table2, "ALL_METHODS", ("proposed", "cohen", "match"))
    assert table2.compare_methods(work)


def test_an_interrupted_search_goes_on(work, tiny, tmp_path):
    stopped, epochs = [], []

    def stopping(stage):
        def advance(done, _):
            epochs.append((stage, done))
            if not stopped and stage == "train cohen-2":
                stopped.append(stage)
                raise KeyboardInterrupt

        return advance

    longer = {name: tuple(replace(p, n_epochs=4) for p in stages) for name, stages in tiny.stages.items()}
    for folder in ("frames", "maps"):
        shutil.copytree(work.folder / folder, tmp_path / folder)
    fresh = Work(tmp_path, replace(tiny, stages=longer), progress=stopping)
    with pytest.raises(KeyboardInterrupt):
        fresh.stages("cohen")
    assert not (tmp_path / "search" / "cohen.json").exists()
    assert len(fresh.trials("cohen")) == 2
    assert [e for e in epochs if e[0] != "scan and match"] == [
        (f"train cohen-{number}", epoch) for number in (1, 2) for epoch in (1, 2)
    ]
    assert {path.name for path in (tmp_path / "search").iterdir()} == {"cohen.json"}


def test_the_first_of_equal_trials_is_the_best():
    def trial(r2):
        return Trial(rank=None, learning_rate=1e-3, r2=r2, seconds=1.0)

    assert best([trial(r2) for r2 in (0.1, 0.4, -2.0, 0.4)]) == 1


def test_the_paper_scale_tries_nothing(tiny):
    paper = SCALES["paper"]
    assert all(paper.candidates(method) == (paper.stages[method],) for method in NETWORKS)


def test_what_every_network_was_given_is_said(work, tiny):
    text = describe_trainings(work, ("proposed", "cohen"))
    for label, cells in (
        ("tried", ["2, of 1 epochs each"] * 2),
        ("epochs", ["2", "2"]),
        ("learning rate", ["0.003 to 3e-05"] * 2),
        ("input", ["frames" if work.stages(m)[0].rank is None else "16 coefficients" for m in ("proposed", "cohen")]),
        ("parameters", [f"{work.model(method).architecture.n_parameters:,}" for method in ("proposed", "cohen")]),
        ("time", [f"{work.model(method).record['seconds']:.0f} s" for method in ("proposed", "cohen")]),
    ):
        assert f"| {label} | {' | '.join(cells)} |" in text
    for number, kind in enumerate(("frames", "16 coefficients")):
        cells = [
            f"**{trials[number].r2:.3f}**" if number == best(trials) else f"{trials[number].r2:.3f}"
            for trials in map(work.trials, ("proposed", "cohen"))
        ]
        assert f"| {kind} | 0.003 | {' | '.join(cells)} |" in text
