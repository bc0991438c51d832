"""The comparison is fair: all networks are tried and trained alike, and test subjects decide nothing."""

import shutil
from types import SimpleNamespace

import pytest

from mrfpipe.studies import table2
from mrfpipe.studies import work as work_module
from mrfpipe.studies.published import NETWORKS
from mrfpipe.studies.scale import SCALES
from mrfpipe.studies.scanned import ScannedCohort
from mrfpipe.studies.search import Trial, best
from mrfpipe.studies.trainings import describe_trainings
from mrfpipe.studies.work import Work

TOY = ("proposed", "cohen")
BETTER_INPUT, BETTER_RATE = 16, 3e-3
"""What fits best in the tests that do not train."""


def trial(stages, explained, name="explained_variance") -> Trial:
    return Trial(stages=stages, model=SimpleNamespace(record={name: explained}))


def test_every_network_of_the_small_scale_is_given_the_same():
    scale = SCALES["small"]

    def given(method):
        """What may differ between trials, and must not between networks."""
        tried = []
        scale.search.run(scale.stages[method], lambda stages: tried.append(stages) or trial(stages, 0.0))
        return [
            [
                {(p.rank, p.learning_rate, p.final_learning_rate) for p in stages},
                {(p.weighted, p.only_where_counts, p.settled) for p in stages},
                sum(p.n_epochs for p in stages),
            ]
            for stages in tried
        ]

    for method in NETWORKS:
        assert given(method) == given("proposed")
    # As published, but each map where its parameter counts: no map is weighed by hand.
    assert all(loss == {(False, True, 0.0)} for _, loss, _ in given("proposed"))
    # The U-Net alone has patches of its own.
    batches = {(p.patch_size, p.batch_size) for method in NETWORKS for p in scale.stages[method] if p.network != "fang"}
    assert len(batches) == 1


def test_both_inputs_are_tried_and_the_better_at_every_rate():
    search, stages = SCALES["small"].search, SCALES["small"].stages["fang"]

    def explained(preset):
        return 0.5 * (preset.rank == BETTER_INPUT) + 0.1 * (preset.learning_rate == BETTER_RATE)

    trials = search.run(stages, lambda changed: trial(changed, explained(changed[-1])))
    assert [(t.rank, t.learning_rate) for t in trials] == [(None, 1e-3), (16, 1e-3), (16, 1e-2), (16, 3e-3), (16, 3e-4)]
    for t in trials:
        assert {(p.rank, p.learning_rate, p.final_learning_rate) for p in t.stages} == {
            (t.rank, t.learning_rate, 0.01 * t.learning_rate)
        }
        assert [p.n_epochs for p in t.stages] == [p.n_epochs for p in stages]
    assert best(trials) is trials[3]
    assert best([trials[0], trials[0], trial(stages, -2.0)]) is trials[0]
    assert best([trials[0], of_an_older_study := trial(stages, 0.9, "r2")]) is of_an_older_study


def test_test_subjects_are_not_looked_at_before_all_networks_are_chosen(work, tiny, tmp_path, monkeypatch):
    """They raise until then; all trainings get the training and the validation subjects."""
    for folder in ("frames", "maps"):
        shutil.copytree(work.folder / folder, tmp_path / folder)
    fresh = Work(tmp_path, tiny)
    networks = {work.model(method).record["preset"]["network"]: work.model(method) for method in TOY}
    seen, chosen, model = [], [], Work.model

    def pretend(stages, series, _, *, validation, log, **__):
        seen.append([[scan.name for scan in some] for some in (series, validation[0])])
        log.parent.mkdir(exist_ok=True)
        explained = 0.9 if stages[-1].rank == BETTER_INPUT else 0.1
        log.write_text(f'{{"validation": {{"best": {explained}}}, "seconds": 2.0}}\n')
        return networks[stages[-1].network]

    def choose(self, method):
        found = model(self, method)
        chosen.append(method)
        return found

    def guarded(name):
        reached = getattr(ScannedCohort, name)

        def reach(self, subject, *rest):
            assert subject.split != "testing" or set(chosen) == set(TOY)
            return reached(self, subject, *rest)

        return reach

    for name in ("make", "phantom", "series", "matched"):
        monkeypatch.setattr(ScannedCohort, name, guarded(name))
    monkeypatch.setattr(work_module, "train_stages", pretend)
    monkeypatch.setattr(Work, "model", choose)
    monkeypatch.setattr(table2, "ALL_METHODS", (*TOY, "match"))
    assert table2.compare_methods(fresh)
    names = [[subject.name for subject in fresh.split(split)] for split in ("training", "validation")]
    assert seen == [names] * 2 * 2
    for method in TOY:  # the best by the validation subjects was taken, and not trained again
        assert [t.explained for t in fresh.trials(method)] == [0.1, 0.9]
        assert fresh.model(method).record["explained_variance"] == 0.9
        assert fresh.model(method).record["seconds"] == 2.0
    assert len(seen) == 2 * 2


def test_an_interrupted_search_goes_on(work, tiny, tmp_path):
    stopped, epochs = [], []

    def stopping(stage):
        def advance(done, _):
            epochs.append((stage, done))
            if not stopped and stage == "train cohen-16-0.003":
                stopped.append(stage)
                raise KeyboardInterrupt

        return advance

    for folder in ("frames", "maps"):
        shutil.copytree(work.folder / folder, tmp_path / folder)
    with pytest.raises(KeyboardInterrupt):
        Work(tmp_path, tiny, progress=stopping).model("cohen")
    assert len(Work(tmp_path, tiny, progress=stopping).trials("cohen")) == 2
    trained = [(stage.removeprefix("train "), epoch) for stage, epoch in epochs if stage != "scan and match"]
    tried = ["cohen-frames-0.003", "cohen-16-0.003"]
    assert trained == [(name, epoch) for name in tried for epoch in (1, 2)]
    assert {path.name for path in (tmp_path / "models").iterdir()} == set(tried)  # no checkpoint, no log


def test_the_paper_scale_trains_what_was_published():
    assert SCALES["paper"].search is None


def test_what_every_network_was_given_is_said(work):
    text = describe_trainings(work, TOY)
    trials = [work.trials(method) for method in TOY]
    taken = [best(of_one) for of_one in trials]
    for label, cells in (
        ("input", ["frames" if t.rank is None else "16 coefficients" for t in taken]),
        ("learning rate", [f"{t.learning_rate:g} to {t.learning_rate / 100:g}" for t in taken]),
        ("epochs", ["2", "2"]),
        ("trials", ["2", "2"]),
        ("parameters", [f"{t.model.architecture.n_parameters:,}" for t in taken]),
        ("time", [f"{t.model.record['seconds']:.0f} s" for t in taken]),
    ):
        assert f"| {label} | {' | '.join(cells)} |" in text
    for number, kind in enumerate(("frames", "16 coefficients")):
        row = [of_one[number] for of_one in trials]
        values, good = ([f"{t.explained:.3f}" for t in some] for some in (row, taken))
        cells = [f"**{value}**" if value == most else value for value, most in zip(values, good, strict=True)]
        assert f"| {kind} | 0.003 | {' | '.join(cells)} |" in text
