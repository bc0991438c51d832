"""Schemas: the kinds of HDF5 files that mrfpipe writes and reads, and how to recognise them."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of file."""

    noun: str
    """Name in messages, with its article."""
    cure: str
    """How to get one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema(Kind):
    """A kind of HDF5 file that mrfpipe writes."""

    name: str
    """Value of the attribute ``schema`` of the file."""


DICTIONARY = Schema(name="mrfpipe-dictionary/2", noun="a dictionary", cure="make one with mrfpipe simulate")
FRAMES = Schema(name="mrfpipe-frames/2", noun="a frames file", cure="make one with mrfpipe frames")
FINGERPRINTS = Schema(
    name="mrfpipe-fingerprints/1", noun="a fingerprints file", cure="match the scan again with mrfpipe match"
)
MAPS = Schema(name="mrfpipe-maps/2", noun="a maps file", cure="make one with mrfpipe match or mrfpipe reconstruct")
SCHEMAS = (DICTIONARY, FRAMES, FINGERPRINTS, MAPS)


def schema_of(path: Path) -> str | None:
    """Return the schema that a file declares; None if it was not written by mrfpipe, or is not readable."""
    import h5py

    with suppress(OSError, RuntimeError, LookupError, ValueError, TypeError):
        if path.is_file() and h5py.is_hdf5(path):
            with h5py.File(path, "r", locking=False) as file:
                return schema_in(file)
    return None


def schema_in(file: Any) -> str | None:  # noqa: ANN401 - h5py has no types
    """Return the schema that an open file declares."""
    value = file.attrs.get("schema")
    return as_text(value) if isinstance(value, bytes | str) else None


def as_text(value: bytes | str) -> str:
    """Return a text attribute as a string, whether it was stored as bytes or as a string."""
    return value if isinstance(value, str) else bytes(value).decode()
