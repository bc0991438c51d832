"""The table of acquisitions in an ISMRMRD file: heads of fixed size, samples and trajectories of variable length."""

from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from mrfpipe.acquisition.ismrmrd_heap import POINTER, Heap
from mrfpipe.arrays import Float

_BLOCK_ROWS = 64
_LEAST_COMPRESSED = 1e-3  # smallest size of a compressed row, relative to the uncompressed one


class Table:
    """Heads of all acquisitions, and their values on demand.

    All methods raise the errors of h5py, and ValueError if the file contradicts itself.
    """

    def __init__(self, dataset: h5py.Dataset, heap: Heap) -> None:
        self._dataset, self._heap = dataset, heap
        self._dtypes = {name: h5py.check_vlen_dtype(dataset.dtype[name]) for name in ("traj", "data")}
        self._rows = heap.rows(dataset, _raw_dtype(dataset))
        if self._rows is not None:
            _check_apart(self._rows["data"])
        self._block, self._block_start = np.empty(0), 0
        self.heads: npt.NDArray[Any] = self._all_heads() if self._rows is None else self._rows["head"]

    @staticmethod
    def is_one(dataset: Any) -> bool:  # noqa: ANN401 - h5py is untyped
        """Whether a dataset has the columns of a table of acquisitions."""
        if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1:
            return False
        if not {"head", "traj", "data"} <= set(dataset.dtype.names or ()):
            return False
        inner = [h5py.check_vlen_dtype(dataset.dtype[name]) for name in ("traj", "data")]
        return all(isinstance(dtype, np.dtype) and dtype.kind == "f" and dtype.itemsize == 4 for dtype in inner)

    def values(self, column: str, number: int) -> Float:
        """Read the values of column ``traj`` or ``data`` of one acquisition."""
        if self._rows is not None:
            found = self._heap.values(self._rows[column][number], self._dtypes[column])
        else:
            found = self._block_row(number)[column]
        return np.ascontiguousarray(found, np.float32)

    def _all_heads(self) -> npt.NDArray[Any]:
        """Read the heads with the library, after checking that their number is plausible."""
        n, stored = self._dataset.shape[0], self._dataset.id.get_storage_size()
        if n * self._dataset.dtype.itemsize * _LEAST_COMPRESSED > stored:
            raise ValueError(f"{n} rows do not fit into the file")
        heads: npt.NDArray[Any] = self._dataset.fields("head")[:]
        return heads

    def _block_row(self, number: int) -> np.void:
        """Read a row with the library, together with the following ones, which are likely to be needed next."""
        if not self._block_start <= number < self._block_start + self._block.size:
            self._block = self._dataset.fields(["traj", "data"])[number : number + _BLOCK_ROWS]
            self._block_start = number
        row: np.void = self._block[number - self._block_start]
        return row


def _check_apart(pointers: npt.NDArray[Any]) -> None:
    """Raise ValueError if two rows point to the same samples, which only happens in damaged files."""
    used = pointers[pointers["length"] > 0]
    if np.unique(used[["address", "index"]]).size < used.size:
        raise ValueError("two acquisitions point to the same samples")


def _raw_dtype(dataset: h5py.Dataset) -> np.dtype[Any]:
    """Return the layout of a row in the file, where variable-length columns are pointers."""
    row = dataset.id.get_type()
    at = {name: row.get_member_index(name.encode()) for name in ("head", "traj", "data")}
    head = row.get_member_type(at["head"])
    if head.dtype.itemsize != head.get_size():
        raise ValueError("heads are not laid out as they are described")
    return np.dtype(
        {
            "names": list(at),
            "formats": [head.dtype, POINTER, POINTER],
            "offsets": [row.get_member_offset(i) for i in at.values()],
            "itemsize": row.get_size(),
        }
    )
