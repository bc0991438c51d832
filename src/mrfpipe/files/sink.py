"""Sink: an HDF5 file of a schema that is being written.

Every file says its schema and the version that wrote it, and every dataset its unit and axes. Datasets and metadata
carry checksums, so that a damaged file is refused and never read as other numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from mrfpipe.errors import InputError
from mrfpipe.files.schemas import Schema
from mrfpipe.protocol import Protocol, parse_protocol
from mrfpipe.version import __version__

_FORMAT = ("v110", "v110")
"""File format of HDF5 1.10: the oldest whose metadata has checksums."""
_GZIP_LEVEL = 1
"""Level 4 takes half as long again, for maps and fingerprints that are 3 and 7 % smaller."""


class Sink:
    """A file that is being written."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401 - h5py has no types
        self._file = file

    def text(self, name: str, value: str) -> None:
        """Write an attribute that is a text."""
        encoded = value.encode()
        self._file.attrs[name] = np.array(encoded, h5py.string_dtype("utf-8", max(1, len(encoded))))

    def number(self, name: str, value: float) -> None:
        """Write an attribute that is a number."""
        self._file.attrs[name] = np.float64(value)

    def array(
        self,
        name: str,
        array: npt.NDArray[Any],
        axes: str,
        unit: str,
        *,
        chunks: tuple[int, ...] | None = None,
        gzip: bool = False,
        grows: bool = False,
    ) -> None:
        """Write a dataset with its axes and unit, in one chunk unless told otherwise; it may grow along its first."""
        stored = array.view(np.uint8) if array.dtype == np.bool_ else array
        packing = {"compression": "gzip", "compression_opts": _GZIP_LEVEL, "shuffle": True} if gzip else {}
        dataset = self._file.create_dataset(
            name,
            data=stored,
            chunks=chunks or array.shape,
            maxshape=(None, *array.shape[1:]) if grows else None,
            fletcher32=True,
            **packing,
        )
        for key, value in (("axes", axes), ("unit", unit)):
            dataset.attrs[key] = np.array(value.encode(), h5py.string_dtype("utf-8", len(value.encode())))

    def append(
        self, name: str, array: npt.NDArray[Any], axes: str, unit: str, *, chunks: tuple[int, ...], gzip: bool = False
    ) -> None:
        """Write a dataset, or what follows along its first axis if it is there."""
        if name not in self._file:
            self.array(name, array, axes, unit, chunks=chunks, gzip=gzip, grows=True)
            return
        dataset, stored = self._file[name], array.view(np.uint8) if array.dtype == np.bool_ else array
        before = len(dataset)
        dataset.resize(before + len(stored), axis=0)
        dataset[before:] = stored

    def protocol(self, protocol: Protocol) -> None:
        """Write the protocol's text and hash.

        ValueError if its values are none that a protocol can have, so that the file could not be read.
        """
        try:
            readable = parse_protocol(protocol.toml, protocol.name).hash == protocol.hash
        except InputError as e:
            raise ValueError(str(e)) from e
        if not readable:
            raise ValueError(f"Protocol {protocol.name} has values that its text cannot say.")
        self.text("protocol_name", protocol.name)
        self.text("protocol_toml", protocol.toml)
        self.text("protocol_hash", protocol.hash)


@contextmanager
def creating(path: Path, schema: Schema) -> Iterator[Sink]:
    """Create a file of a schema at a temporary path (see `atomic.writing`).

    OSError if the disk does not take the file.
    """
    with path.open("w+b", buffering=0) as raw:
        disk = _Disk(raw)
        try:
            with h5py.File(disk, "w", libver=_FORMAT) as file:
                sink = Sink(file)
                sink.text("schema", schema.name)
                sink.text("mrfpipe_version", __version__)
                yield sink
        finally:
            if disk.failure is not None:
                raise disk.failure


class _Disk:
    """A file for HDF5 to write to that never fails while HDF5 is at work.

    A full disk, or an interrupt, in the middle of HDF5's own writing leaves it in a state in which the process crashes
    later. So the first failure is kept for after the file is closed, and nothing is written from then on.
    """

    def __init__(self, raw: FileIO) -> None:
        self._raw = raw
        self.failure: BaseException | None = None

    def write(self, data: memoryview) -> int:
        rest = memoryview(data).cast("B")
        n_bytes = rest.nbytes
        try:
            while self.failure is None and rest.nbytes:
                rest = rest[self._raw.write(rest) :]
        except BaseException as e:  # noqa: BLE001 - raised again by `creating`
            self.failure = e
        return n_bytes

    def read(self, n_bytes: int = -1) -> bytes:
        return self._raw.read(n_bytes)

    def readinto(self, buffer: memoryview) -> int:
        return self._raw.readinto(buffer)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._raw.truncate(size)
        except OSError as e:
            self.failure = self.failure or e
            return size or 0

    def flush(self) -> None:
        """Nothing is held back."""
