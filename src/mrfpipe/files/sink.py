"""Sink: write an HDF5 file of a schema.

Every file states its schema and the version that wrote it, and every dataset its unit and axes. Datasets and metadata
have checksums, so that a damaged file is refused instead of read with wrong numbers.
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
"""File format of HDF5 1.10: the oldest with checksums for metadata."""
_GZIP_LEVEL = 1
"""Compression level. Level 4 takes one and a half times as long; maps are 3 % smaller, fingerprints 7 %."""


class Sink:
    """An HDF5 file that is being written."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401 - h5py has no types
        self._file = file

    def text(self, name: str, value: str) -> None:
        """Write a text attribute."""
        encoded = value.encode()
        self._file.attrs[name] = np.array(encoded, h5py.string_dtype("utf-8", max(1, len(encoded))))

    def number(self, name: str, value: float) -> None:
        """Write a number attribute."""
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
        """Write a dataset with axes and unit, by default in one chunk; optionally, it can grow along its first axis."""
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
        """Write a dataset, or append to it along its first axis if it exists."""
        if name not in self._file:
            self.array(name, array, axes, unit, chunks=chunks, gzip=gzip, grows=True)
            return
        dataset, stored = self._file[name], array.view(np.uint8) if array.dtype == np.bool_ else array
        before = len(dataset)
        dataset.resize(before + len(stored), axis=0)
        dataset[before:] = stored

    def protocol(self, protocol: Protocol) -> None:
        """Write the text and the hash of a protocol.

        ValueError if the protocol has values that could not be read back.
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

    OSError if the file cannot be written to the disk.
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
    """A file object for HDF5 whose writes never raise errors.

    A full disk or an interrupt while HDF5 writes leaves the library in a state in which the process crashes later.
    Therefore the first error is kept until the file is closed, and nothing is written after it.
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
        """Do nothing, as writes are not buffered."""
