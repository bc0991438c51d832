"""Ratings on disk: what a page saved is read, all else is refused in a line."""

import json
from datetime import UTC, datetime

import pytest

from mrfpipe.errors import InputError
from mrfpipe.files.provenance import Provenance
from mrfpipe.files.ratings import Rating, find_ratings, load_rating, newest

SAVED = {
    "format": "mrfpipe-rating",
    "version": 1,
    "result": "P01",
    "result_id": "0" * 64,
    "rating": "doubtful",
    "comment": "Fold-over",
    "rater": "AB",
    "date": "2026-01-02T03:04:05.678Z",
}


def test_a_rating_is_read_as_it_was_saved(tmp_path):
    (tmp_path / "r").write_text(json.dumps(SAVED))
    when = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert load_rating(tmp_path / "r") == Rating(
        result="P01", result_id="0" * 64, rating="doubtful", comment="Fold-over", rater="AB", date=when
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Expecting property name"),
        ("[" * 100000, "recursion"),
        ("[1]", "it has another format"),
        (json.dumps(SAVED | {"format": "other"}), "it has another format"),
        (json.dumps(SAVED | {"version": 2}), "its version is 2, not 1"),
        (json.dumps(SAVED | {"comment": 3}), "comment is missing or no text"),
        (json.dumps({k: v for k, v in SAVED.items() if k != "rater"}), "rater is missing or no text"),
        (json.dumps(SAVED | {"rating": "good"}), "rating is none of pass, doubtful, fail, artefact"),
        (json.dumps(SAVED | {"date": "yesterday"}), "Invalid isoformat string"),
        (json.dumps(SAVED | {"date": "2026-01-02T03:04:05"}), "date has no time zone"),
    ],
)
def test_what_is_no_rating_is_refused(tmp_path, text, said):
    path = tmp_path / "P01.rating.json"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as refusal:
        load_rating(path)
    assert str(refusal.value).startswith(f"{path} is not a rating: ")
    assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_rating(tmp_path / "none")


def test_the_last_rating_of_every_rater_counts():
    def rating(rater, day):
        date = datetime(2026, 1, day, tzinfo=UTC)
        return Rating(result="", result_id="", rating="pass", comment=str(day), rater=rater, date=date)

    found = newest([rating("B", 3), rating("B", 2), rating("A", 1), rating("A", 4)])
    assert [(one.rater, one.comment) for one in found] == [("A", "4"), ("B", "3")]


def test_files_that_a_browser_numbered_are_found_once(tmp_path):
    for name in ("a.rating.json", "a.rating (1).json", "a.rating(2).json", "a.json", "rating.json"):
        (tmp_path / name).touch()
    names = ["a.rating (1).json", "a.rating(2).json", "a.rating.json"]
    assert [path.name for path in find_ratings(tmp_path, tmp_path / ".")] == names


def test_a_result_has_one_id_as_long_as_it_is_not_made_again(provenance):
    read = Provenance.from_json(provenance.to_json())
    assert read.result_id == provenance.result_id
    values = {"started": "2026-01-02T03:04:06+00:00", "inputs": {"a": "1"}, "duration_s": 2.0, "method": "n"}
    ids = {Provenance.from_json(json.dumps(json.loads(read.to_json()) | {k: v})).result_id for k, v in values.items()}
    assert len(ids - {read.result_id}) == 4
