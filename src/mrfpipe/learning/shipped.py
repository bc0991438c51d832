"""Shipped: the networks that come with the package, one a sequence."""

import json
from importlib import resources
from pathlib import Path

from mrfpipe.errors import InputError, MismatchError
from mrfpipe.files.kinds import DESCRIPTION_FILE

DEFAULT = "t1ff"
"""Of MRF T1-FF as in Balsiger et al. (2020)."""
CURE = "train one with mrfpipe train, and give it by --model"


def models_folder() -> Path:
    """Return the folder of the package that holds a folder a model."""
    return Path(str(resources.files("mrfpipe.models")))


def shipped_model(sequence_hash: str | None = None) -> Path:
    """Find the folder of a network that ships for a sequence, where the scan's file says its hash, or the default one.

    `load_model` reads and checks it. InputError if the package lacks the default model; MismatchError if it has none
    for the sequence.
    """
    if sequence_hash is None:
        folder = models_folder() / DEFAULT
        if not (folder / DESCRIPTION_FILE).is_file():
            raise InputError(f"No network ships with this mrfpipe ({folder} is missing); {CURE}.")
        return folder
    for folder in sorted(models_folder().iterdir()):
        if _sequence(folder / DESCRIPTION_FILE) == sequence_hash:
            return folder
    raise MismatchError(f"No network ships for the scan's sequence ({sequence_hash[:12]}); {CURE}.")


def _sequence(description: Path) -> str | None:
    """Return the sequence that a description names; None where there is none to be read."""
    try:
        values = json.loads(description.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = values.get("sequence_hash") if isinstance(values, dict) else None
    return found if isinstance(found, str) else None
