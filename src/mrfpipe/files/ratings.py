"""Ratings: a reader's assessment of a result, as saved from its page."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from mrfpipe.errors import InputError

Verdict = Literal["pass", "doubtful", "fail", "artefact"]
_FORMAT, _VERSION = "mrfpipe-rating", 1
_NAMES = "*.rating*.json"
"""Pattern of file names; browsers number a file that is downloaded again: ``P01.rating (1).json``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A reader's assessment of a result."""

    result: str
    """Name of the result."""
    result_id: str
    """Id of the result, see `mrfpipe.files.provenance.Provenance.result_id`."""
    rating: Verdict
    """The verdict."""
    comment: str
    """Free text; may be empty."""
    rater: str
    """Name of the rater; may be empty."""
    date: datetime
    """Date and time of the rating, with time zone."""


def load_rating(path: str | Path) -> Rating:
    """Read a rating.

    Raises
    ------
    InputError
        If the file cannot be read, or is not a rating.
    """
    path = Path(path)
    try:
        return _rating(json.loads(path.read_text(encoding="utf-8")))
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror or e}; check the path and its permissions.") from e
    except (ValueError, RecursionError) as e:
        raise InputError(f"{path} is not a rating: {e}; save it again from the page of the result.") from e


def find_ratings(*folders: Path) -> list[Path]:
    """Return the rating files in folders, including those that a browser has numbered; each file once."""
    found = (path for folder in folders for path in sorted(folder.glob(_NAMES)) if path.is_file())
    return list({path.resolve(): path for path in found}.values())


def newest(ratings: Iterable[Rating]) -> tuple[Rating, ...]:
    """Return the latest rating of every rater, sorted by the names of the raters."""
    last = {rating.rater: rating for rating in sorted(ratings, key=lambda rating: rating.date)}
    return tuple(last[rater] for rater in sorted(last))


def _rating(values: Any) -> Rating:  # noqa: ANN401 - any JSON
    if not isinstance(values, Mapping) or values.get("format") != _FORMAT:
        raise ValueError("it has another format")
    if values.get("version") != _VERSION:
        raise ValueError(f"its version is {values.get('version')}, not {_VERSION}")
    texts: dict[str, Any] = {f.name: values.get(f.name) for f in fields(Rating)}
    if missing := [name for name, text in texts.items() if not isinstance(text, str)]:
        raise ValueError(f"{missing[0]} is missing or no text")
    if texts["rating"] not in get_args(Verdict):
        raise ValueError(f"rating is none of {', '.join(get_args(Verdict))}")
    date = datetime.fromisoformat(texts["date"])
    if date.tzinfo is None:
        raise ValueError("date has no time zone")
    return Rating(**texts | {"date": date})
