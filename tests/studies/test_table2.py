"""Table 2 on four small subjects, with every network trained for an epoch."""

import csv
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
from matplotlib.image import imread

from mrfpipe.errors import MismatchError, ResourceError
from mrfpipe.evaluation.metrics import evaluate, r2
from mrfpipe.maps import PARAMETERS
from mrfpipe.phantom.cohort import draw_cohort
from mrfpipe.studies import table2, table2_cohort
from mrfpipe.studies.table2 import ALL_METHODS, SCALES, Scale, compare_methods, run_study, subject_maps
from mrfpipe.studies.table2_paper import METRICS, NETWORKS, published
from mrfpipe.studies.table2_report import COLUMNS, draw_methods, draw_nrmse, format_table, write_csv
from mrfpipe.studies.table2_scores import Row, SubjectScore, load_scores, save_scores, score, summarise

QUICK = ("proposed", "cohen")
"""Networks that are trained here; the others differ in `METHODS` alone, and take long on a CPU."""
TINY = Scale(
    matrix=48,
    n_subjects=4,  # the first that has all three splits
    n_slices=1,
    n_coils=2,
    stages={name: (replace(SCALES["small"].stages[name][0], n_epochs=2),) for name in QUICK},
)


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table2, "ALL_METHODS", (*QUICK, "match", "match-refined"))
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory, quick):
    folder = tmp_path_factory.mktemp("study")
    return folder, compare_methods(folder, TINY)


def files(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_every_method_has_every_number_with_the_papers_beside_it(study):
    _, rows = study
    # Matching is not compared with itself: three methods against both references and one against the truth.
    assert len(rows) == (3 * 2 + 1) * len(METRICS) * len(PARAMETERS)
    assert not [row for row in rows if (row.method, row.reference) == ("match", "match")]
    (row,) = [r for r in rows if (r.method, r.reference, r.metric, r.map) == ("cohen", "truth", "NRMSE", "df")]
    assert row.paper == (0.062, 0.009)
    assert row.n == 1
    assert all((row.paper is None) == row.method.startswith("match") for row in rows)


def test_matching_is_close_to_the_truth_and_refined_is_not_the_same(study):
    _, rows = study
    ff = {r.method: r.mean for r in rows if (r.reference, r.metric, r.map) == ("truth", "NRMSE", "FF")}
    assert 0 < ff["match"] < 0.2  # aliasing; a wrong map, mask or unit is off by more
    assert ff["match"] != ff["match-refined"]


def test_a_second_run_makes_nothing_again(study, monkeypatch):
    folder, rows = study
    before = files(folder)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    for module, name in ((table2_cohort, "scan"), (table2_cohort, "match_series"), (table2, "train_stages")):
        monkeypatch.setattr(module, name, never)
    again = compare_methods(folder, TINY)
    after = files(folder)
    settings = next(path for path in after if path.name == table2.SETTINGS)
    assert after | {settings: 0} == before | {settings: 0}
    np.testing.assert_equal([(r.method, r.mean, r.n) for r in again], [(r.method, r.mean, r.n) for r in rows])


def test_what_is_missing_alone_is_made_again(study, monkeypatch):
    folder, rows = study
    (folder / "scores" / "cohen.json").unlink()
    monkeypatch.setattr(table2, "train_stages", None)  # the model is there
    again = compare_methods(folder, TINY)
    np.testing.assert_equal([r.mean for r in again], [r.mean for r in rows])
    assert not list((folder / "models").glob("*.checkpoint*"))


def test_another_study_is_refused(study):
    folder, _ = study
    with pytest.raises(MismatchError, match="other settings"):
        compare_methods(folder, TINY, labels="truth")
    with pytest.raises(MismatchError, match="other settings"):
        compare_methods(folder, TINY, seed=1)


def test_labels_are_the_truth_if_asked_for(study, tmp_path, monkeypatch):
    shutil.copytree(study[0] / "frames", tmp_path / "frames")
    learned = []

    def spy(stages, series, labels, **_: object):
        learned.extend(labels)
        raise KeyboardInterrupt

    monkeypatch.setattr(table2, "train_stages", spy)
    with pytest.raises(KeyboardInterrupt):
        compare_methods(tmp_path, TINY, labels="truth")
    sequence = table2._protocol(TINY.matrix).sequence
    first = draw_cohort(4, seed=0).split("training")[0]
    truth = first.phantom(matrix=48, fov=sequence.fov, slice_spacing=1.5 * sequence.slice_thickness, n_slices=1).maps
    np.testing.assert_array_equal(learned[0].t1w, truth.t1w)
    # Only the test subject is matched.
    assert [path.stem for path in (tmp_path / "maps" / "match").iterdir()] == ["sub-002"]


def test_frames_beyond_the_memory_are_refused(study, tmp_path, monkeypatch):
    shutil.copytree(study[0] / "frames", tmp_path / "frames")
    monkeypatch.setattr(table2_cohort, "available_memory", lambda: 10)
    with pytest.raises(ResourceError, match="frames of 3 subjects"):
        compare_methods(tmp_path, TINY, labels="truth")


def test_scores_are_those_of_the_evaluation(study, tmp_path):
    folder, _ = study
    maps = subject_maps(folder, TINY)[1]
    rois = np.where(maps["truth"].mask, 1, 0)
    scores = score(maps["cohen"], maps["truth"], rois, subject="a", against="truth")
    errors = evaluate(maps["cohen"], maps["truth"])
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


def test_the_papers_figures_agree_with_themselves():
    """With FF from 0 to 1 the PSNR is -20 log10 of the NRMSE, but for the means over subjects."""
    for method in NETWORKS:
        nrmse, psnr = (published(method, metric, "FF")[0] for metric in ("NRMSE", "PSNR"))
        assert psnr == pytest.approx(-20 * np.log10(nrmse), abs=0.35)
    # The proposed is the best in every line.
    for metric in METRICS:
        for parameter in PARAMETERS:
            values = [published(method, metric, parameter.name)[0] for method in NETWORKS]
            assert values[0] == (min(values) if metric == "NRMSE" else max(values))
    assert published("match", "NRMSE", "FF") is None


def test_tables_hold_ours_and_the_papers(study, tmp_path):
    _, rows = study
    write_csv(rows, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open() as file:
        read = list(csv.DictReader(file))
    assert tuple(read[0]) == COLUMNS
    assert len(read) == len(rows)
    first = rows[0]
    assert (read[0]["method"], float(read[0]["mean"])) == (first.method, first.mean)
    assert float(read[0]["paper_mean"]) == first.paper[0]
    assert {row["paper_mean"] for row in read if row["method"] == "match"} == {""}
    text = format_table(rows)
    assert f"{first.mean:.3f}" in text
    assert "(0.027 ± 0.004)" in text
    lines = [line for line in text.splitlines() if line.startswith(("| NRMSE", "| PSNR", "| SSIM", "| R2"))]
    assert len(lines) == 2 * len(METRICS) * len(PARAMETERS)
    # The best is the least NRMSE and the largest of everything else, among networks.
    best = min((r for r in rows if (r.reference, r.metric, r.map) == ("truth", "NRMSE", "FF") and r.paper), key=key)
    assert f"**{best.mean:.3f}**" in lines[0]
    best = max((r for r in rows if (r.reference, r.metric, r.map) == ("truth", "SSIM", "FF") and r.paper), key=key)
    assert f"**{best.mean:.3f}**" in next(line for line in lines if line.startswith("| SSIM | FF"))


def key(row: Row) -> float:
    return row.mean


def test_pictures(study, tmp_path):
    folder, rows = study
    draw_nrmse(rows, tmp_path / "n.png")
    name, maps = subject_maps(folder, TINY)
    assert list(maps) == ["truth", *QUICK, "match", "match-refined"]
    draw_methods(maps, name, tmp_path / "m.png")
    for picture in (imread(tmp_path / "n.png"), imread(tmp_path / "m.png")):
        assert picture.shape[1] > 1000
        assert 0.01 < np.mean(picture[..., :3].min(-1) < 0.9) < 0.95


def test_one_call_writes_everything(study, tmp_path):
    shutil.copytree(study[0], tmp_path / table2.WORK)
    text = run_study(tmp_path, TINY)
    assert (tmp_path / "table2.md").read_text(encoding="utf-8") == text == format_table(study[1])
    written = {path.name for path in tmp_path.iterdir()} - {table2.WORK}
    assert written == {"table2.csv", "table2.md", "table2.png", "table2-maps.png"}


def test_scales_have_stages_for_every_network():
    for scale in SCALES.values():
        assert set(scale.stages) == set(NETWORKS) <= set(ALL_METHODS)
    assert SCALES["paper"].stages["proposed"][0].n_epochs == 75
    sizes = [len(draw_cohort(SCALES["paper"].n_subjects, seed=0).split(s)) for s in ("training", "validation")]
    assert sizes == [94, 20]
