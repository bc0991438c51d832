"""Read HDF5 tables with variable-length columns without the HDF5 library's own conversion.

The library trusts the pointers in such a table: on a damaged file, it takes a minute to give up or ends the process.
Here, the same is done with checks. For each variable-length column, a row holds a length, the address of a collection
of the global heap, and the number of an object in it; a collection is a series of numbered objects (HDF5 File Format
Specification, version 3.0, section III.E). This is also faster, and holds no more in memory than is asked for.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

POINTER: Final = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
"""Layout of the pointer from a row to the values of a variable-length column."""

_COLLECTION_HEAD = 16  # b"GCOL", version, 3 reserved, size (8)
_OBJECT_HEAD = 16  # number (2), reference count (2), 4 reserved, size (8)
_COLLECTIONS_KEPT = 8


class Heap:
    """Reads raw rows, and the values they point to, from an open HDF5 file.

    All methods raise ValueError if the file contradicts itself, and OSError if it cannot be read.
    """

    def __init__(self, file: h5py.File, path: Path) -> None:
        plist = file.id.get_create_plist()
        self.size = path.stat().st_size
        self.is_plain = plist.get_sizes() == (8, 8)
        self._start = int(plist.get_userblock())
        self._stream = path.open("rb")
        self._collections: dict[int, dict[int, memoryview]] = {}

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def rows(self, dataset: h5py.Dataset, row: np.dtype[Any]) -> npt.NDArray[Any] | None:
        """Read the rows of a one-dimensional table as they are stored in the file.

        None if they are compressed or have a layout that only the library can read.
        """
        plist, n = dataset.id.get_create_plist(), int(dataset.size)
        if not self.is_plain or plist.get_nfilters() or plist.get_external_count():
            return None
        if n * row.itemsize > self.size:
            raise ValueError(f"{n} rows do not fit into the file")
        if plist.get_layout() == h5py.h5d.CONTIGUOUS and dataset.id.get_offset() is not None:
            return np.frombuffer(self._read(dataset.id.get_offset(), n * row.itemsize), row)
        if plist.get_layout() == h5py.h5d.CHUNKED:
            return np.frombuffer(b"".join(self._chunks(dataset, n, row.itemsize)), row)[:n]
        return None

    def _chunks(self, dataset: h5py.Dataset, n: int, row_size: int) -> Iterator[bytes]:
        (n_chunk,) = dataset.chunks
        found: dict[int, tuple[int, int]] = {}

        def note(chunk: Any) -> None:  # noqa: ANN401 - h5py has no types
            found[chunk.chunk_offset[0]] = chunk.byte_offset, chunk.size

        dataset.id.chunk_iter(note)  # querying chunks one by one takes sixty times longer
        for start in range(0, n, n_chunk):
            offset, size = found.get(start, (None, 0))
            if offset is None or size != n_chunk * row_size:
                raise ValueError(f"rows from {start} on are missing")
            yield self._read(offset, size)

    def values(self, pointer: np.void, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Read the values that a `POINTER` points to."""
        length, address, index = (int(pointer[name]) for name in ("length", "address", "index"))
        if length == 0:
            return np.empty(0, dtype)
        content = self._collection(address).get(index)
        if content is None or length * dtype.itemsize > len(content):
            raise ValueError(f"no {length} values at number {index} of the heap at {address}")
        return np.frombuffer(content, dtype, count=length)

    def _read(self, start: int, n: int) -> bytes:
        if not 0 <= start <= start + n <= self.size:
            raise ValueError(f"bytes {start} to {start + n} lie beyond the end")
        self._stream.seek(start)
        content = self._stream.read(n)
        if len(content) != n:
            raise ValueError(f"bytes {start} to {start + n} cannot be read")
        return content

    def _collection(self, address: int) -> dict[int, memoryview]:
        """Read a collection of the heap; the last few are cached, because neighbouring rows share them."""
        if address not in self._collections:
            start = self._start + address
            head = self._read(start, _COLLECTION_HEAD)
            size = int.from_bytes(head[8:], "little")
            if head[:5] != b"GCOL\x01" or size < _COLLECTION_HEAD:
                raise ValueError(f"no heap at {address}")
            if len(self._collections) >= _COLLECTIONS_KEPT:
                del self._collections[next(iter(self._collections))]
            self._collections[address] = _objects(memoryview(self._read(start, size)))
        return self._collections[address]


def _objects(collection: memoryview) -> dict[int, memoryview]:
    """Return the objects of a collection by number; ValueError if one is too long or occurs twice."""
    objects: dict[int, memoryview] = {}
    at = _COLLECTION_HEAD
    while at + _OBJECT_HEAD <= len(collection):
        number = int.from_bytes(collection[at : at + 2], "little")
        size = int.from_bytes(collection[at + 8 : at + 16], "little")
        if number == 0:  # the free space, which is always last
            break
        at += _OBJECT_HEAD
        if at + size > len(collection):
            raise ValueError(f"number {number} leaves its heap")
        if number in objects:
            raise ValueError(f"number {number} is twice in its heap")
        objects[number] = collection[at : at + size]
        at += -(-size // 8) * 8
    return objects
