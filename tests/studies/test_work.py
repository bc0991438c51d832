"""What studies share: scans, networks, maps and scores, each made once."""

import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from mrfpipe.errors import MismatchError, ResourceError
from mrfpipe.evaluation.metrics import evaluate, r2
from mrfpipe.phantom.cohort import draw_cohort
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.studies import scanned
from mrfpipe.studies import work as work_module
from mrfpipe.studies.published import NETWORKS, published, published_unseen
from mrfpipe.studies.scale import SCALES
from mrfpipe.studies.scores import SubjectScore, load_scores, save_scores, score, summarise
from mrfpipe.studies.work import SETTINGS, Work


def never(*_: object, **__: object) -> None:
    raise AssertionError("made again")


def files(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_nothing_is_made_again(work, tiny, monkeypatch):
    scores = work.test_scores("cohen")
    before = files(work.folder)
    for module, name in ((scanned, "scan"), (scanned, "match_series"), (work_module, "train_stages")):
        monkeypatch.setattr(module, name, never)
    again = Work(work.folder, tiny)
    again.prepare(again.scans.cohort.subjects)
    np.testing.assert_equal([asdict(s) for s in again.test_scores("cohen")], [asdict(s) for s in scores])
    assert files(work.folder) == before


def test_what_is_missing_alone_is_made_again(work, monkeypatch):
    scores = work.test_scores("cohen")
    (work.folder / "scores" / "cohen.json").unlink()
    monkeypatch.setattr(work_module, "train_stages", never)
    np.testing.assert_equal([asdict(s) for s in work.test_scores("cohen")], [asdict(s) for s in scores])
    assert not list((work.folder / "models").glob("*.checkpoint*"))


def test_maps_are_made_of_what_the_study_asks_for(work, tiny, tmp_path, monkeypatch):
    """A study of one subject, with the network there, neither scans nor matches another."""
    shutil.copytree(work.folder / "models", tmp_path / "models")
    shutil.copytree(work.folder / "frames", tmp_path / "frames")
    monkeypatch.setattr(scanned, "scan", never)
    monkeypatch.setattr(scanned, "match_series", never)
    monkeypatch.setattr(work_module, "train_stages", never)
    (subject,) = work.split("testing")
    found, expected = (w.maps("proposed", subject) for w in (Work(tmp_path, tiny), work))
    np.testing.assert_array_equal(found.si["T1H2O"], expected.si["T1H2O"])
    assert {path.name for path in (tmp_path / "maps").iterdir()} == {"proposed"}


def test_a_network_that_was_not_trained_is_not_among_the_trained(work, tiny, tmp_path):
    assert work.trained() == ("proposed", "cohen")
    assert Work(tmp_path, tiny).trained() == ("proposed",)


def test_work_of_other_settings_is_refused(work, tiny):
    with pytest.raises(MismatchError, match="other settings"):
        Work(work.folder, tiny, seed=1)
    for other in ({"n_coils": 3}, {"search": None}):
        with pytest.raises(MismatchError, match="other settings"):
            Work(work.folder, replace(tiny, **other))
    # What only one study takes from the scale does not keep the others out.
    Work(work.folder, replace(tiny, n_permuted=3, subsets=replace(tiny.subsets, sizes=(1,))))
    assert (work.folder / SETTINGS).exists()


def test_frames_beyond_the_memory_are_refused(work, tiny, tmp_path, monkeypatch):
    for kept in ("frames", "maps"):
        shutil.copytree(work.folder / kept, tmp_path / kept)
    monkeypatch.setattr(scanned, "available_memory", lambda: 10)
    with pytest.raises(ResourceError, match="frames of 3 subjects"):
        Work(tmp_path, tiny).model("proposed")


def test_scores_are_those_of_the_evaluation(work, tmp_path):
    (subject,) = work.split("testing")
    truth, maps = work.truth(subject), work.maps("cohen", subject)
    rois = np.where(truth.mask, 1, 0)
    scores = score(maps, truth, rois, subject="a", against="truth")
    errors = evaluate(maps, truth)
    assert [(s.map, s.nrmse, s.psnr) for s in scores] == [(n, e.nrmse, e.psnr) for n, e in errors.items()]
    broken = [replace(scores[0], ssim=np.nan), *scores[1:]]
    save_scores(broken, tmp_path / "s.json")
    np.testing.assert_equal([asdict(s) for s in load_scores(tmp_path / "s.json")], [asdict(s) for s in broken])


def test_means_are_over_subjects_and_r2_over_the_regions_of_all():
    def one(subject: str, nrmse: float, estimates: tuple[float, ...], references: tuple[float, ...]) -> SubjectScore:
        return SubjectScore(
            subject=subject, reference="truth", map="FF", nrmse=nrmse, psnr=np.nan, ssim=0.5,
            estimates=estimates, references=references,
        )  # fmt: skip

    scores = [one("a", 0.1, (1.0, 2.0), (1.5, 1.0)), one("b", 0.3, (5.0,), (4.0,))]
    found = {row.metric: row for row in summarise("fang", scores) if row.map == "FF"}
    assert (found["NRMSE"].mean, found["NRMSE"].n) == (0.2, 2)
    assert found["NRMSE"].spread == pytest.approx(0.02**0.5)
    assert np.isnan(found["PSNR"].mean)
    assert found["PSNR"].n == 0
    assert found["R2"].mean == r2(np.array([1.0, 2.0, 5.0]), np.array([1.5, 1.0, 4.0]))
    assert (found["R2"].n, found["R2"].spread) == (3, None)
    assert found["R2"].paper == published("fang", "R2", "FF") == (0.999, None)
    unseen = {row.metric: row.paper for row in summarise("fang", scores, published_unseen) if row.map == "FF"}
    assert unseen == {"NRMSE": None, "PSNR": None, "SSIM": None, "R2": (0.973, None)}


def test_no_network_of_the_paper_does_better_on_unseen_regions_but_in_b1():
    """Table 4 against Table 2: a swapped row or column would show."""
    for network in ("proposed", "oksuz", "fang"):
        for parameter in PARAMETERS:
            unseen, seen = (look(network, "R2", parameter.name)[0] for look in (published_unseen, published))
            assert unseen < seen + 0.0015
    assert published_unseen("cohen", "R2", "FF") is None


def test_scales_have_stages_for_every_network():
    for scale in SCALES.values():
        assert set(scale.stages) == set(NETWORKS)
    paper = SCALES["paper"]
    assert paper.stages["proposed"][0].n_epochs == 75
    splits = {s: len(draw_cohort(paper.n_subjects, seed=0).split(s)) for s in ("training", "validation", "testing")}
    assert splits == {"training": 94, "validation": 20, "testing": paper.n_permuted}
    assert max(paper.subsets.sizes) == 94
