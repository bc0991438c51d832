"""The overview of a cohort: numbers, outliers, ratings, and what becomes of a result that cannot be read."""

import base64
import csv
import dataclasses
import io
import json
import re
from datetime import UTC, datetime

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import with_maps
from mrfpipe.cli import main
from PIL import Image

from mrfpipe.files.ratings import Rating
from mrfpipe.files.results import save_result
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.report.overview import overview_table, render_overview
from mrfpipe.report.summary import Figure, Summary, find_outliers, summarise

N = 7


def deviations(maps):
    """Standard deviations of 2 %, but of 30 % for T1 of water in fat and for T1 of fat in lean tissue."""
    unsure = {"T1H2O": maps["FF"] > 0.7, "T1fat": maps["FF"] <= 0.3}
    share = {p.name: np.where(unsure.get(p.name, False), 0.3, 0.02) for p in PARAMETERS}
    return {p.name: (share[p.name] * np.abs(maps.si[p.name])).astype(np.float32) for p in PARAMETERS}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, maps, provenance):
    """Seven results, of which the last has a T1 of water far above the others' and P02 a large share at a limit."""
    folder = tmp_path_factory.mktemp("cohort")
    edge = np.where(np.random.default_rng(3).random(maps.mask.shape) < 0.9, maps.edge | 8, maps.edge)
    for i in range(N):
        factor = 1.3 if i == N - 1 else 1 + 0.005 * i
        sd = deviations(maps) | {"T1H2O": np.float32(factor) * deviations(maps)["T1H2O"]}
        made = dataclasses.replace(provenance, started=f"2026-01-0{i + 1}T00:00:00+00:00")
        one = with_maps(maps, T1H2O=factor * maps.si["T1H2O"], sd=sd, edge=edge if i == 1 else maps.edge)
        save_result(folder / f"P0{i + 1}", one, made, force=False)
    (folder / "P01/report.html").touch()
    return folder


@pytest.fixture
def run(monkeypatch, cohort):
    monkeypatch.chdir(cohort.parent)

    def run_line(*words, code=0):
        result = CliRunner().invoke(main, ["report", *map(str, words)])
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        return result

    return run_line


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_numbers_are_those_of_the_maps_where_they_count(run, cohort, maps, tmp_path):
    assert run(cohort, "-o", tmp_path / "numbers.csv").stdout == f"{tmp_path / 'numbers.csv'}: 7 results\n"
    rows = read(tmp_path / "numbers.csv")
    assert [row["result"] for row in rows] == [f"P0{i + 1}" for i in range(N)]
    lean, fat = maps["FF"] <= 0.7, maps["FF"] > 0.3
    t1, t1fat = maps["T1H2O"][lean & maps.mask].astype(float), maps["T1fat"][fat & maps.mask].astype(float)
    third = rows[2]  # whose T1 of water is 1 % larger; seven digits are written, and float32 is rounded twice
    assert float(third["T1H2O (ms)"]) == pytest.approx(1.01 * t1.mean(), rel=1e-5)
    assert float(third["T1H2O_sd (ms)"]) == pytest.approx(0.02 * 1.01 * t1.mean(), rel=1e-5)
    assert float(third["T1fat (ms)"]) == pytest.approx(t1fat.mean(), rel=1e-5)
    assert float(third["match"]) == pytest.approx(np.median(maps.match[maps.mask]), rel=1e-6)
    at_limit = (maps.edge[lean & maps.mask] & 2 > 0).mean()
    assert float(third["T1H2O_at_limit (%)"]) == pytest.approx(100 * at_limit, rel=1e-6)
    assert [row["outliers"] for row in rows] == ["", "df_at_limit"] + 4 * [""] + ["T1H2O; T1H2O_sd"]


def test_outliers_are_those_of_a_loop_and_only_where_they_are_worse():
    def results(values, worse, **more):
        return [
            Summary(
                name="",
                page=None,
                result_id="",
                protocol="",
                parameters=(),
                figures={"a": Figure(title="a", unit="1", value=value, worse=worse, **more)},
                warnings=(),
                windows={},
                thumbnails={},
            )
            for value in values
        ]

    rng = np.random.default_rng(0)
    for n in (5, 8, 25):
        values = [*(5 + rng.normal(size=n - 2)), 5 + 6.0, 5 - 6.5]
        middle = sorted(values)[n // 2] if n % 2 else sum(sorted(values)[n // 2 - 1 : n // 2 + 1]) / 2
        away = sorted(abs(v - middle) for v in values)
        mad = away[n // 2] if n % 2 else sum(away[n // 2 - 1 : n // 2 + 1]) / 2
        z = [0.6745 * (v - middle) / mad for v in values]  # as Iglewicz and Hoaglin write it
        for worse, holds in (
            ("either", lambda v: abs(v) > 3.5),
            ("high", lambda v: v > 3.5),
            ("low", lambda v: v < -3.5),
        ):
            found = find_outliers(results(values, worse))
            assert [bool(outliers) for outliers in found] == [holds(v) for v in z]
            for outliers, v in zip(found, z, strict=True):
                assert [o.z for o in outliers] == pytest.approx([v] * len(outliers), rel=1e-4)  # of 0.6745 and 1.4826
    assert find_outliers(results([1, 1.1, 1.2, 99], "either")) == [[]] * 4  # too few
    assert find_outliers(results([0, 0, 0, 0, 0, 99], "either")) == [[]] * 6  # no spread
    assert find_outliers(results([0, 0, 0, 0, 0, 3.4], "high", least_spread=1.0)) == [[]] * 6
    assert find_outliers(results([0, 0, 0, 0, 0, 3.6], "high", least_spread=1.0))[5][0].z == pytest.approx(3.6)
    assert [len(o) for o in find_outliers(results([1, 1.1, np.nan, 1.2, 1.3, 1.4, 99], "either"))] == 6 * [0] + [1]


def test_the_page_says_in_words_what_departs_and_links_to_the_results(run, cohort, tmp_path):
    run(cohort, "-o", tmp_path / "overview.html")
    page = (tmp_path / "overview.html").read_text()
    assert page.count("<tr>") == N + 1
    assert re.search(r"7 results, 2 with outliers, \d with warnings\. Ratings: 7 not rated\.", page)
    assert re.search(r"Mean T1H2O is high: 1\d{3} ms, median 1\d{3} ms \(robust z [\d.]+\)\.", page)
    assert re.search(r"Share of df at grid limit is high: [\d.]+ %, median [\d.]+ % \(robust z [\d.]+\)\.", page)
    (link,) = set(re.findall(r'href="([^"]+\.html)"', page))  # the others have no page
    assert (tmp_path / link).resolve() == (cohort / "P01/report.html").resolve()
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="(\w+) of P03">', page)
    assert [name for _, name in pictures] == [p.name for p in PARAMETERS]
    shapes = [Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB").size for text, _ in pictures]
    assert set(shapes) == {(16, 13)}  # a voxel a pixel: the mask of 14 x 11 and two around it, as far as there are any


def test_a_bad_result_does_not_stop_the_others(run, cohort, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/maps.h5").write_bytes((cohort / "P01/maps.h5").read_bytes()[:2000])
    (tmp_path / "empty").mkdir()
    (tmp_path / "P02.rating.json").write_text("{}")
    given = (cohort / "P02", tmp_path / "bad", tmp_path / "empty", cohort / "P02", tmp_path / "none")
    result = run(*given, "--ratings", tmp_path, "-o", tmp_path / "some.CSV", code=3)
    assert [row["result"] for row in read(tmp_path / "some.CSV")] == ["P02"]
    lines = result.stderr.splitlines()
    for place in ("bad/maps.h5", "empty", "none", "P02.rating.json"):
        assert any(line.startswith(f"mrfpipe: {tmp_path / place} ") for line in lines), lines
    assert lines[-1].startswith("mrfpipe: 1 done, 0 skipped, 4 failed: ")
    assert len(lines) == 5
    run(tmp_path / "empty", "-o", tmp_path / "nothing.html", code=3)
    assert not (tmp_path / "nothing.html").exists()


def test_ratings_are_found_by_what_they_rate(run, cohort, tmp_path, maps, provenance):
    made = dataclasses.replace(provenance, started="2026-01-02T00:00:00+00:00")
    saved = {"format": "mrfpipe-rating", "version": 1, "result": "P02", "result_id": made.result_id}
    saved |= {"rating": "fail", "comment": "Moved", "rater": "AB", "date": "2026-02-01T00:00:00Z"}
    (tmp_path / "any.rating (1).json").write_text(json.dumps(saved))
    (tmp_path / "old.rating.json").write_text(json.dumps(saved | {"result_id": "of another"}))
    result = run(cohort, "--ratings", tmp_path, "-o", tmp_path / "rated.csv")
    assert [(r["rating"], r["rater"], r["comment"]) for r in read(tmp_path / "rated.csv")][:2] == [
        ("", "", ""),
        ("fail", "AB", "Moved"),
    ]
    assert f"note: {tmp_path / 'old.rating.json'} is left out: it rates another result" in result.stderr


def test_results_of_other_maps_have_a_table_of_their_own(maps, provenance, tmp_path):
    def result(name, protocol):
        made = dataclasses.replace(provenance, protocol_name=protocol)
        return summarise(maps, made, name=name, page=tmp_path / "none")

    page = render_overview([result("a", "one"), result("b", "two"), result("c", "one")], page=tmp_path / "o.html")
    assert re.findall("<h2>(.*)</h2>", page) == ["one", "two"]
    assert re.findall(r'<th scope="row" data-value="(\w)">', page) == ["a", "c", "b"]


def test_what_files_say_is_shown_as_text(maps, provenance, hostile, tmp_path):
    when = datetime(2026, 2, 1, tzinfo=UTC)
    rating = Rating(result="", result_id="", rating="pass", comment=hostile, rater=hostile, date=when)
    one = summarise(maps, provenance, name=hostile, page=tmp_path / "none", ratings=(rating,))
    page = render_overview([one], page=tmp_path / "o.html")
    assert "<script>window.hurt" not in page
    assert "<img src=x" not in page
    assert next(csv.reader(io.StringIO(overview_table([one], "\t").split("\n", 1)[1]), delimiter="\t"))[0] == hostile


def test_one_page_or_an_overview_is_asked_for_clearly(run, cohort, tmp_path):
    assert "add -o overview.html" in run(cohort / "P01", cohort / "P02", cohort / "P03", code=2).stderr
    assert "--ratings is for an overview" in run(cohort / "P01", "--ratings", tmp_path, code=2).stderr
    assert "--roi is for the page of one result" in run(cohort, "--roi", "x.nii", "-o", tmp_path / "o", code=2).stderr
    (tmp_path / "there.html").touch()
    run(cohort, "-o", tmp_path / "there.html", code=5)
