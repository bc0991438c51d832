"""A rating on the page: saved, shown in the overview of a cohort, and opened again."""

import csv
import dataclasses
import io
import json
import shutil
import time

import pytest
from click.testing import CliRunner
from helpers import with_maps
from mrfpipe.cli import main
from reader import Page

from mrfpipe.files.ratings import load_rating
from mrfpipe.files.results import save_result
from mrfpipe.report.page import render, write_report

COMMENT = 'Fold-over, "left";\nsecond <b>line</b>'


@pytest.fixture
def results(tmp_path, maps, provenance):
    """Three results with their pages, apart in their T1 of water."""
    for i, name in enumerate(("P01", "P10", "P2")):
        made = dataclasses.replace(provenance, duration_s=1.0 + i)
        one = with_maps(maps, T1H2O=maps.si["T1H2O"] * (1 - 0.1 * i))
        save_result(tmp_path / "results" / name, one, made, force=False)
        write_report(tmp_path / "results" / name / "report.html", render(one, made, title=name))
    return tmp_path / "results"


def write(field, text):
    """Type line by line: Enter in a text area is a new line."""
    field.clear()
    field.send_keys(text)


def downloaded(path):
    for _ in range(200):
        if path.exists():
            return path
        time.sleep(0.02)
    raise AssertionError(f"{path} is not in {list(path.parent.iterdir())}")


def test_a_rating_survives_export_overview_and_reimport(browser, results, tmp_path):
    browser.get_log("browser")
    page = Page(browser, results / "P10/report.html")
    assert not page.one("#save-rating").is_enabled()
    write(page.one("#comment"), COMMENT)
    assert not page.one("#save-rating").is_enabled()  # a comment is no rating
    page.click("input[value=doubtful]")
    write(page.one("#rater"), "Ä. B.")
    ratings = tmp_path / "ratings"
    ratings.mkdir()
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(ratings)})
    page.click("#save-rating")
    saved = load_rating(downloaded(ratings / "P10.rating.json"))
    assert page.one("#rating-status").text == "Saved P10.rating.json."
    assert (saved.result, saved.rating, saved.comment, saved.rater) == ("P10", "doubtful", COMMENT, "Ä. B.")

    done = CliRunner().invoke(
        main, ["report", str(results), "-o", str(tmp_path / "all.html"), "--ratings", str(ratings)]
    )
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'all.html'}: 3 results\n")
    overview = Page(browser, tmp_path / "all.html")
    rows = "return [...document.querySelectorAll('tbody tr')].map(r => r.cells[0].textContent)"
    cells = {row.text.split()[0]: row for row in overview.driver.find_elements("css selector", "tbody tr")}
    rating = cells["P10"].find_element("css selector", "td.rating")
    assert rating.text.startswith("doubtful Ä. B., 20")
    assert rating.text.endswith(COMMENT)
    assert cells["P01"].find_element("css selector", "td.rating").text == "not rated"
    headings = {h.text: h for h in overview.driver.find_elements("css selector", "thead button")}
    for heading, order in (("Result", "P01 P2 P10"), ("T1H2O", "P2 P10 P01"), ("T1H2O", "P01 P10 P2")):
        headings[heading].click()
        assert overview.run(rows) == order.split()
    headings["Rating"].click()
    assert overview.run(rows)[0] == "P10"
    overview.click("#copy")
    assert overview.one("#status").text == "Copied."
    copied = list(csv.DictReader(io.StringIO(overview.run("return data.table")), delimiter="\t"))
    assert [(row["result"], row["rating"]) for row in copied] == [("P01", ""), ("P10", "doubtful"), ("P2", "")]
    assert overview.one("tbody th a[href*=P10]").get_attribute("href") == (results / "P10/report.html").as_uri()

    page = Page(browser, results / "P10/report.html")  # anew: it keeps nothing
    assert not page.one("input[value=doubtful]").is_selected()
    other = json.loads((ratings / "P10.rating.json").read_text()) | {"result": "P01", "result_id": "0" * 64}
    for name, text, said in (
        ("other.json", json.dumps(other), "it rates another result, P01"),
        ("older.json", json.dumps(other | {"result": "P10"}), "it rates P10 as it was before it was made again"),
        ("damaged.json", json.dumps(other | {"rating": "good"}), "it is damaged"),
        ("list.json", "null", "it is not a rating that this version reads"),
        ("text.json", "{", "it is not JSON"),
    ):
        (tmp_path / name).write_text(text)
        page.one("#open-rating").send_keys(str(tmp_path / name))
        page.settle()
        assert page.one("#rating-status").text == f"{name} cannot be opened: {said}."
    page.one("#open-rating").send_keys(str(shutil.copy(ratings / "P10.rating.json", tmp_path)))
    page.settle()
    assert page.one("#rating-status").text == f"Opened P10.rating.json of {saved.date:%Y-%m-%d}."
    assert page.one("input[value=doubtful]").is_selected()
    fields = [page.one(f"#{name}").get_attribute("value") for name in ("comment", "rater")]
    assert fields == [COMMENT, "Ä. B."]
    assert page.one("#save-rating").is_enabled()
    assert [entry["message"] for entry in browser.get_log("browser")] == []


@pytest.mark.slow
def test_the_same_in_firefox(firefox, results, tmp_path):
    def opened(path):
        firefox.open(path.as_uri())
        firefox.run("while (!document.documentElement.dataset.ready) await new Promise(r => setTimeout(r, 10))")

    opened(results / "P10/report.html")
    name, text = firefox.run(
        "document.querySelector('input[value=fail]').click();"
        "let saved; download = (name, content) => { saved = [name, content]; };"
        "element('comment').value = 'Moved'; saveRating(); return saved"
    )
    assert name == "P10.rating.json"
    (results / name).write_text(text)
    done = CliRunner().invoke(
        main, ["report", str(results), "-o", str(tmp_path / "all.html"), "--ratings", str(results)]
    )
    assert done.exit_code == 0, done.output
    opened(tmp_path / "all.html")
    order = firefox.run(
        "document.querySelectorAll('thead button')[0].click();"
        "return [...document.querySelectorAll('tbody tr')].map(r => [r.cells[0].textContent, r.cells[7].innerText])"
    )
    assert [name for name, _ in order] == ["P01", "P2", "P10"]
    assert order[2][1].split()[0::2] == ["fail", "Moved"]
    opened(results / "P10/report.html")
    said = firefox.run(
        "const files = new DataTransfer(), input = element('open-rating');"
        f"files.items.add(new File([{json.dumps(text)}], 'P10.rating.json')); input.files = files.files;"
        "input.dispatchEvent(new Event('change')); await new Promise(r => setTimeout(r, 200));"
        "return [element('rating-status').textContent, document.querySelector('input[value=fail]').checked]"
    )
    assert said[0].startswith("Opened P10.rating.json of 20")
    assert said[1]
    assert firefox.console == []
