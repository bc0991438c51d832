"""Shipped: the networks that come with the package: for a sequence, one that reads coefficients and one for frames."""

import json
from importlib import resources
from pathlib import Path

from mrfpipe.errors import InputError, MismatchError
from mrfpipe.files.kinds import DESCRIPTION_FILE
from mrfpipe.imaging.series import Kind

DEFAULT = "t1ff"
"""The network for raw scans with MRF T1-FF as in Balsiger et al. (2020)."""
CURE = "train one with mrfpipe train, and give it by --model"


def models_folder() -> Path:
    """Return the folder of the package that holds one folder per model."""
    return Path(str(resources.files("mrfpipe.models")))


def shipped_model(sequence_hash: str | None = None, kind: Kind = "coefficients") -> Path:
    """Find the folder of the bundled network for images of a sequence, or of the default network for a raw scan.

    `load_model` reads and checks the network. InputError if the default network is missing from the package;
    MismatchError if there is no network for such images.
    """
    if sequence_hash is None:
        folder = models_folder() / DEFAULT
        if not (folder / DESCRIPTION_FILE).is_file():
            raise InputError(f"No pretrained network is bundled with this mrfpipe ({folder} is missing); {CURE}.")
        return folder
    for folder in sorted(models_folder().iterdir()):
        if _read_by(folder / DESCRIPTION_FILE) == (sequence_hash, kind):
            return folder
    raise MismatchError(
        f"No pretrained network is bundled for {kind} of the scan's sequence ({sequence_hash[:12]}); {CURE}."
    )


def shipped_models() -> list[Path]:
    """List the folders of all bundled networks, the default one first; InputError if the default is missing."""
    first = shipped_model()
    return [first, *(f for f in sorted(models_folder().iterdir()) if f != first and (f / DESCRIPTION_FILE).is_file())]


def _read_by(description: Path) -> tuple[object, object]:
    """Return the sequence and the kind of images that a description names, or None for both if it cannot be read."""
    try:
        values = json.loads(description.read_text(encoding="utf-8"))
        return values["sequence_hash"], values["record"].get("input", "frames")
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None, None
