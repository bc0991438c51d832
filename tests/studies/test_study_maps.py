"""The studies that show maps: one patient, and regions unseen in training."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from helpers import with_maps
from matplotlib.image import imread

from mrfpipe.evaluation.metrics import evaluate
from mrfpipe.phantom.cohort import draw_cohort
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.studies import drawing, generalization, qualitative
from mrfpipe.studies.drawing import Column, MapRow, draw_maps


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def drawn(monkeypatch):
    """The figures, in the place of writing them."""
    figures = []
    monkeypatch.setattr(drawing, "save_figure", lambda figure, _: figures.append(figure))
    return figures


def images(figure):
    """The images of a figure, in their order, without those of colour bars."""
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_the_patient_is_the_one_most_like_the_papers():
    subjects = draw_cohort(28, seed=0).split("testing")
    found = qualitative.most_alike(subjects)
    assert (found.region, found.disease, found.sex, round(found.age)) == ("thigh", "IBM", "M", 74)
    assert qualitative.most_alike((subjects[0],)) == subjects[0]
    older, other = replace(found, age=90.0), replace(found, age=71.0, disease="BMD")
    assert qualitative.most_alike((other, older, found)) == found


def test_qualitative_writes_errors_with_the_papers_beside_them(work, tmp_path):
    text = qualitative.run(tmp_path, work)
    assert {path.name for path in tmp_path.iterdir()} == {"qualitative.csv", "qualitative.md", "qualitative.png"}
    (subject,) = work.split("testing")
    errors = evaluate(work.maps("proposed", subject), work.maps("match", subject))
    # Cohen's network is trained, and not in the paper's figure.
    assert {line["method"] for line in read(tmp_path / "qualitative.csv")} == {"proposed"}
    for line in read(tmp_path / "qualitative.csv"):
        assert float(line["mean"]) == getattr(errors[line["map"]], line["metric"].lower())
    assert f"| NRMSE | df | {errors['df'].nrmse:.3f} (0.027 ± 0.008) |" in text
    assert imread(tmp_path / "qualitative.png").shape[1] > 700


def test_maps_stand_in_their_place(work, drawn):
    """A swapped map, method or sign of the difference shows in the values that are drawn."""
    (subject,) = work.split("testing")
    qualitative.draw(work, subject, ["proposed"], None)
    truth, matched, ours = work.truth(subject), work.maps("match", subject), work.maps("proposed", subject)
    found = images(drawn[0])
    assert len(found) == len(PARAMETERS) * 4
    rows, columns = (np.flatnonzero(truth.mask[0].any(axis=axis)) for axis in (1, 0))
    window = slice(rows[0] - 1, rows[-1] + 2), slice(columns[0] - 1, columns[-1] + 2)
    for i, p in enumerate(PARAMETERS):
        values = [np.where(m.mask[0], m[p.name][0], np.nan)[window] for m in (truth, matched, ours)]
        values.append(values[1] - values[2])
        for image, expected in zip(found[4 * i : 4 * i + 4], values, strict=True):
            np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), expected)
    norm = found[3].norm
    assert norm.vmin == -norm.vmax


def test_differences_are_coloured_by_where_the_parameter_counts(work, drawn):
    (subject,) = work.split("testing")
    truth = work.truth(subject)
    off = with_maps(truth, T1H2O=truth.si["T1H2O"] + np.where(truth["FF"] > 0.7, 5.0, 0.1))
    columns = [Column(title="a", maps=truth), Column(title="b", maps=off, difference_from=truth)]
    draw_maps([MapRow(label="T1H2O", parameter=PARAMETERS[1], truth=truth, columns=columns)], "", None)
    assert images(drawn[0])[1].norm.vmax == pytest.approx(100, rel=1e-3)  # ms; 5,000 in fat


@pytest.mark.slow
def test_generalization_has_seen_and_unseen_beside_the_papers(work, tmp_path):
    text = generalization.run(tmp_path, work)
    assert {p.name for p in tmp_path.iterdir()} == {f"generalization.{suffix}" for suffix in ("csv", "md", "png")}
    lines = read(tmp_path / "generalization.csv")
    paper = {
        (line["subjects"], line["map"]): line["paper_mean"]
        for line in lines
        if (line["method"], line["reference"], line["metric"]) == ("proposed", "match", "R2")
    }
    assert (paper["unseen", "T1H2O"], paper["test", "T1H2O"]) == ("0.862", "0.919")
    assert {line["n"] for line in lines if line["subjects"] == "unseen" and line["metric"] == "NRMSE"} == {"3"}
    against_matching, against_truth = text.split("## Against the truth")
    assert "(0.862)" in against_matching
    assert "(" not in against_truth  # the paper has no truth
    # Matching is good anywhere: what was scanned at the shoulder is compared with the shoulder's truth.
    (ff,) = (
        float(line["mean"])
        for line in lines
        if [line[c] for c in ("subjects", "method", "metric", "map")] == ["unseen", "match", "NRMSE", "FF"]
    )
    assert ff < 0.2


@pytest.mark.slow
def test_every_unseen_region_is_drawn(work, drawn):
    generalization.draw(work, None)
    labels = [axes.get_ylabel() for axes in drawn[0].axes if "\n" in axes.get_ylabel()]
    assert labels == [f"{r}\n{m}" for r in ("shoulder", "abdomen", "pelvis") for m in ("FF", "T1H2O (ms)")]
