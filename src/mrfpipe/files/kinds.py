"""Kinds: recognise the kind of a file by its content, so that errors can say what an unexpected file is.

This takes milliseconds: no slow imports, and only the bytes that identify a kind are read.
"""

import gzip
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from mrfpipe.errors import InputError
from mrfpipe.files.schemas import MAPS, SCHEMAS, Kind, as_text, schema_in

MAPS_FILE = "maps.h5"
"""The file that makes a folder a result."""
DESCRIPTION_FILE = "model.json"
"""The file that makes a folder a network (`mrfpipe.learning.model`)."""
RAW = Kind(noun="a raw scan", cure="check the path")
RESULT = Kind(noun="a result", cure=MAPS.cure)
NETWORK = Kind(noun="a trained network", cure="give the folder that mrfpipe train wrote")
PULSEQ = Kind(noun="a Pulseq sequence", cure="check the path")
DICOM = Kind(noun="a DICOM file", cure="give an image of the scan's examination")
PROTOCOL = Kind(noun="a protocol", cure="give a TOML file, or the name of one that comes with mrfpipe")
TRUTH = Kind(noun="the truth of a phantom", cure="mrfpipe phantom writes one beside its scan")

_UNKNOWN = "of a kind that mrfpipe does not know"
_OTHER_HDF5 = "an HDF5 file that mrfpipe did not write"
_VAGUE = (_UNKNOWN, _OTHER_HDF5)
_DAMAGED = ""
UNSURE = (*_VAGUE, _DAMAGED)
"""What `kind_of` says of files that only a reader can tell more about."""
_DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)
_HEAD_BYTES = 512
"""Bytes read from the start of a file; enough for all signatures in `_MARKS`."""
_MARKS = (
    (0, b"\x89HDF\r\n\x1a\n", "hdf5"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"\x1f\x8b", "gzip"),
    (128, b"DICM", DICOM.noun),
    (344, b"n+1\0", "a NIfTI image"),
    (344, b"ni1\0", "a NIfTI image"),
    (0, b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
    (0, b"<!DOCTYPE html", "a page for the browser"),
    (0, b"# Pulseq", PULSEQ.noun),
    (0, b"[VERSION]", PULSEQ.noun),
)


def refuse_other(path: Path, *wanted: Kind, cure: str = "") -> None:
    """Refuse a path that cannot be read, or is not of one of the wanted kinds.

    Damage inside a file is left to its reader. So are files of unknown kind if a raw scan, a truth, a sequence or a
    protocol is wanted, because other programs write these too. `cure` says what to do instead; by default, how to get a
    file of the first kind.

    InputError if the path is missing, empty, unreadable or of another kind; the error says what it is.
    """
    expected = f"{' or '.join(kind.noun for kind in wanted)} was expected; {cure or wanted[0].cure}"
    try:
        if path.exists() and not path.is_dir() and not path.is_file():
            raise InputError(f"{path} is not a regular file, {expected}.")
        if not path.is_dir() and not _head(path):
            raise InputError(f"{path} is empty, {expected}.")
    except FileNotFoundError as e:
        raise InputError(f"{path} does not exist, {expected}.") from e
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}; check the path and its permissions.") from e
    kind, words = kind_of(path)
    of_anyone = {RAW, TRUTH, PULSEQ, PROTOCOL} & set(wanted)
    if kind not in wanted and words != _DAMAGED and not (of_anyone and words in _VAGUE):
        raise InputError(f"{path} is {words}, {expected}.")


def kind_of(path: Path) -> tuple[Kind | None, str]:
    """Return the kind of a readable path, None if mrfpipe does not read it, and its name in words, empty if damaged."""
    with suppress(*_DAMAGE):
        return _folder(path) if path.is_dir() else _file(path)
    return None, _DAMAGED


def _folder(path: Path) -> tuple[Kind | None, str]:
    if (path / DESCRIPTION_FILE).exists():
        return NETWORK, NETWORK.noun
    if (path / MAPS_FILE).exists():
        return RESULT, "a result folder"
    if next(path.glob(f"*/{MAPS_FILE}"), None) is not None:
        return RESULT, "a folder of results"
    return None, "a folder"


def _file(path: Path) -> tuple[Kind | None, str]:
    head = _head(path)
    mark = _mark(head)
    if mark == "gzip":
        with gzip.open(path) as unpacked:
            mark = _mark(unpacked.read(_HEAD_BYTES))
        return None, mark if mark not in ("", "hdf5", "zip", "gzip") else _UNKNOWN
    if mark == "hdf5":
        return _hdf5(path)
    if mark == "zip":
        return _archive(path)
    if mark:
        return {kind.noun: kind for kind in (PULSEQ, DICOM)}.get(mark), mark
    if path.suffix.lower() == ".dat":
        return RAW, "a raw scan (Siemens Twix)"
    if path.suffix == ".toml":
        return PROTOCOL, "a protocol (TOML)"
    if path.with_name(DESCRIPTION_FILE).exists() and (path.name == DESCRIPTION_FILE or _is_weights(head)):
        return None, "a part of a trained network"
    return None, _UNKNOWN


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _mark(head: bytes) -> str:
    return next((words for start, mark, words in _MARKS if head[start : start + len(mark)] == mark), "")


def _is_weights(head: bytes) -> bool:
    """Return whether a file is safetensors: the length of a JSON header, then the header."""
    return len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < 1 << 30


def _hdf5(path: Path) -> tuple[Kind | None, str]:
    import h5py

    with h5py.File(path, "r", locking=False) as file:
        name = schema_in(file)
        if name is None:
            is_raw = any(_holds_acquisitions(group) for group in file.values())
            return (RAW, "a raw scan (ISMRMRD)") if is_raw else (None, _OTHER_HDF5)
        for schema in SCHEMAS:
            if schema.name == name:
                protocol = file.attrs.get("protocol_name")
                of = f" of protocol {as_text(protocol)}" if isinstance(protocol, bytes | str) else ""
                return schema, schema.noun + of
        return None, f"a file of schema {name}, which this mrfpipe does not know"


def _holds_acquisitions(group: Any) -> bool:  # noqa: ANN401 - h5py has no types
    import h5py

    return isinstance(group, h5py.Group) and "xml" in group and "data" in group


def _archive(path: Path) -> tuple[Kind | None, str]:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    if "mask.npy" in names:
        return TRUTH, TRUTH.noun
    return None, _UNKNOWN
