"""Read an ISMRMRD file as HDF5: find the scan in it, and read its header, heads and samples.

All access to the file is wrapped in `reading`, so that any damage to the file raises an `InputError`. Samples are read
directly from the table of acquisitions; reading the acquisitions one by one with the ismrmrd package takes twenty times
longer.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from mrfpipe.acquisition.heads import HEAD, Acquisition, Heads, open_file
from mrfpipe.acquisition.ismrmrd_heap import POINTER, Heap
from mrfpipe.acquisition.ismrmrd_table import Table
from mrfpipe.arrays import Float
from mrfpipe.errors import InputError, first_line

_COUNTERS = ("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "repetition", "set")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IsmrmrdFile:
    """An open ISMRMRD file."""

    path: Path
    """Path of the file."""
    size: int
    """Its length in bytes."""
    xml: bytes
    """Its XML header."""
    heads: Heads
    """Heads of all its acquisitions."""
    table: Table
    """Table of its acquisitions, from which samples are read."""

    def acquisitions(self, heads: Heads) -> Iterator[Acquisition]:
        """Read the acquisitions of `heads`, in their order.

        InputError if the file is damaged, or an acquisition has another size than its head says.
        """
        for head in heads:
            with reading(self.path):
                samples = self.table.values("data", int(head["number"]))
                trajectory = self.table.values("traj", int(head["number"]))
            yield self._acquisition(head, samples, trajectory)

    def _acquisition(self, head: np.void, samples: Float, trajectory: Float) -> Acquisition:
        n_coils, n_samples = int(head["active_channels"]), int(head["number_of_samples"])
        n_dimensions = int(head["trajectory_dimensions"])
        for what, n_found, n in (
            ("samples", samples.size, 2 * n_coils * n_samples),
            ("trajectory", trajectory.size, n_samples * n_dimensions),
        ):
            if n_found != n:
                raise InputError(
                    f"{self.path}: acquisition {head['number']} holds {n_found} {what} values, but its head says {n}; "
                    "the file is damaged or its samples are compressed, convert or copy the scan again."
                )
        return Acquisition(
            head=head,
            samples=samples.view(np.complex64).reshape(n_coils, n_samples),
            trajectory=trajectory.reshape(n_samples, n_dimensions),
        )


@contextmanager
def open_ismrmrd(path: Path) -> Iterator[IsmrmrdFile]:
    """Open an ISMRMRD file, and read its header and the heads of its acquisitions.

    InputError if it is missing, damaged, or not an ISMRMRD file.
    """
    _check_is_hdf5(path)
    with reading(path):
        file = h5py.File(path, "r")
    try:
        with reading(path):
            heap = Heap(file, path)
        try:
            yield _contents(file, heap, path)
        finally:
            heap.close()
    finally:
        with suppress(OSError, RuntimeError, ValueError):  # closing a damaged file may fail; what was read is valid
            file.close()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any error that a damaged file causes into an InputError; wrap only file access in it."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, MemoryError, OverflowError) as e:
        raise InputError(f"{path}: cannot be read, it is truncated or damaged ({first_line(e)}); copy it again.") from e


def _check_is_hdf5(path: Path) -> None:
    with open_file(path, ".h5 or .mrd") as stream, reading(path):
        is_empty = not stream.read(1)
    if is_empty:
        raise InputError(f"{path}: is empty; copy the scan again.")
    if not h5py.is_hdf5(path):
        raise InputError(f"{path}: is not an HDF5 file, so not an ISMRMRD scan either; convert the scan to ISMRMRD.")


def _contents(file: h5py.File, heap: Heap, path: Path) -> IsmrmrdFile:
    with reading(path):
        group = _scan_group(file, path)
        xml = _text(group["xml"], heap)
        is_table = Table.is_one(group["data"])
        table = Table(group["data"], heap) if is_table else None
    if table is None:
        raise InputError(f"{path}: '{group.name}/data' is not a table of acquisitions; convert the scan to ISMRMRD.")
    if xml is None:
        raise InputError(f"{path}: the header '{group.name}/xml' is not text; convert the scan to ISMRMRD.")
    return IsmrmrdFile(path=path, size=heap.size, xml=xml, heads=heads_of(table.heads, path), table=table)


def _scan_group(file: h5py.File, path: Path) -> h5py.Group:
    """Find the group with 'xml' and 'data': the group 'dataset', or else the only such group."""
    names = [name for name in file if isinstance(file.get(name), h5py.Group)]
    found = [name for name in names if {"xml", "data"} <= set(file[name])]
    if "dataset" in found:
        return file["dataset"]
    if len(found) == 1:
        return file[found[0]]
    if found:
        raise InputError(f"{path}: holds several scans ({', '.join(sorted(found))}); split it into a file for each.")
    raise InputError(f"{path}: is HDF5 but not ISMRMRD, no group has 'xml' and 'data'; convert the scan to ISMRMRD.")


def _text(dataset: Any, heap: Heap) -> bytes | None:  # noqa: ANN401 - h5py is untyped
    """Read the first string of a dataset, of variable or fixed length."""
    if not isinstance(dataset, h5py.Dataset) or h5py.check_string_dtype(dataset.dtype) is None or not dataset.size:
        return None
    is_fixed = dataset.dtype.kind == "S"
    rows = None if is_fixed else heap.rows(dataset, POINTER)
    text = np.ravel(dataset[()])[0] if rows is None else heap.values(rows[0], np.dtype("u1")).tobytes()
    return bytes(text).rstrip(b"\0")


def heads_of(stored: npt.NDArray[Any], path: Path) -> Heads:
    """Convert stored heads to the fields of `HEAD`."""
    heads = np.zeros(stored.size, HEAD)
    heads["number"] = np.arange(stored.size)
    for name in HEAD.names or ():
        if name != "number":
            column = _column(stored, name)
            kinds = "f" if HEAD[name].base.kind == "f" else "iu"
            if column is None or column.shape != heads[name].shape or column.dtype.kind not in kinds:
                raise InputError(f"{path}: heads have no valid field '{name}'; convert the scan to ISMRMRD.")
            with np.errstate(invalid="ignore"):  # NaN and infinity are refused below
                heads[name] = column
    if not all(np.isfinite(heads[name]).all() for name in ("position", "read_dir", "phase_dir", "slice_dir")):
        raise InputError(f"{path}: positions or directions are not finite; the file is damaged, copy it again.")
    return heads


def _column(stored: npt.NDArray[Any], name: str) -> npt.NDArray[Any] | None:
    for part in ("idx", name) if name in _COUNTERS else (name,):
        if stored.dtype.names is None or part not in stored.dtype.names:
            return None
        stored = stored[part]
    return stored
