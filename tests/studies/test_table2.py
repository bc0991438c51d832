"""Table 2 on four small subjects, with two networks trained for two epochs."""

import csv

import numpy as np
import pytest
from matplotlib.image import imread

from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.studies import table2
from mrfpipe.studies.published import METRICS, NETWORKS, published
from mrfpipe.studies.scores import Row
from mrfpipe.studies.table2 import compare_methods, draw_methods, draw_nrmse, format_table, order_table, run
from mrfpipe.studies.tables import COLUMNS
from mrfpipe.studies.trainings import describe_trainings

QUICK = ("proposed", "cohen")


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table2, "ALL_METHODS", (*QUICK, "match", "match-refined"))
        yield


@pytest.fixture
def rows(work, quick):
    return compare_methods(work)


def test_every_method_has_every_number_with_the_papers_beside_it(rows):
    # Matching is not compared with itself: three methods against both references and one against the truth.
    assert len(rows) == (3 * 2 + 1) * len(METRICS) * len(PARAMETERS)
    assert not [row for row in rows if (row.method, row.reference) == ("match", "match")]
    (row,) = [r for r in rows if (r.method, r.reference, r.metric, r.map) == ("cohen", "truth", "NRMSE", "df")]
    assert row.paper == (0.062, 0.009)
    assert row.n == 1
    assert all((row.paper is None) == row.method.startswith("match") for row in rows)


def test_matching_is_close_to_the_truth_and_refined_is_not_the_same(rows):
    ff = {r.method: r.mean for r in rows if (r.reference, r.metric, r.map) == ("truth", "NRMSE", "FF")}
    assert 0 < ff["match"] < 0.2  # aliasing; a wrong map, mask or unit is off by more
    assert ff["match"] != ff["match-refined"]


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


def test_one_call_writes_everything(rows, work, tmp_path):
    text = run(tmp_path, work)
    assert (tmp_path / "table2.md").read_text(encoding="utf-8") == text
    assert text == format_table(rows, describe_trainings(work, QUICK))
    assert {path.name for path in tmp_path.iterdir()} == {"table2.csv", "table2.md", "table2.png", "table2-maps.png"}
    with (tmp_path / "table2.csv").open() as file:
        read = list(csv.DictReader(file))
    assert tuple(read[0]) == COLUMNS
    assert len(read) == len(rows)
    first = rows[0]
    assert (read[0]["method"], float(read[0]["mean"])) == (first.method, first.mean)
    assert float(read[0]["paper_mean"]) == first.paper[0]
    assert {row["paper_mean"] for row in read if row["method"] == "match"} == {""}


def test_the_table_holds_ours_and_the_papers(rows):
    text = format_table(rows, "")
    assert f"{rows[0].mean:.3f}" in text
    assert "(0.027 ± 0.004)" in text
    lines = [line for line in text.splitlines() if line.startswith(("| NRMSE", "| PSNR", "| SSIM", "| R2"))]
    assert len(lines) == 2 * len(METRICS) * len(PARAMETERS)
    # The best is the least NRMSE and the largest of everything else, among networks.
    best = min((r for r in rows if (r.reference, r.metric, r.map) == ("truth", "NRMSE", "FF") and r.paper), key=key)
    assert f"**{best.mean:.3f}**" in lines[0]
    best = max((r for r in rows if (r.reference, r.metric, r.map) == ("truth", "SSIM", "FF") and r.paper), key=key)
    assert f"**{best.mean:.3f}**" in next(line for line in lines if line.startswith("| SSIM | FF"))


def test_the_order_is_that_of_the_errors_whatever_the_papers_is():
    def row(method, name, mean, paper):
        return Row(
            reference="match", metric="NRMSE", map=name, method=method, mean=mean, spread=None, n=1, paper=paper
        )  # fmt: skip

    rows = [
        row(method, p.name, mean, paper)
        for p in PARAMETERS
        for method, mean, paper in (
            ("a", 0.2, (0.1, 0.0)), ("b", 0.3 if p.name == "FF" else 0.1, (0.2, 0.0)), ("match", 0.01, None),
        )
    ]  # fmt: skip
    lines = order_table(rows).splitlines()
    assert lines[2:4] == ["| FF | a, b | a, b |", "| T1H2O | b, a | a, b |"]
    assert len(lines) == 2 + len(PARAMETERS)


def key(row: Row) -> float:
    return row.mean


def test_pictures(rows, work, tmp_path):
    draw_nrmse(rows, tmp_path / "n.png")
    draw_methods(work, tmp_path / "m.png")
    for picture in (imread(tmp_path / "n.png"), imread(tmp_path / "m.png")):
        assert picture.shape[1] > 700
        assert 0.01 < np.mean(picture[..., :3].min(-1) < 0.9) < 0.95
