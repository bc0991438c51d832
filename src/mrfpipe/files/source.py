"""Source: read an HDF5 file of a known schema, and check every value."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import check_dtype, check_shape
from mrfpipe.errors import InputError, first_line
from mrfpipe.files.kinds import refuse_other
from mrfpipe.files.provenance import Provenance
from mrfpipe.files.schemas import Schema, as_text, schema_in
from mrfpipe.protocol import Protocol, parse_protocol

_DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError)
"""Errors that h5py and the checks raise for an invalid file."""
_MOST_COMPRESSION = 1100
"""Largest compression ratio accepted. Gzip reaches at most 1032; a dataset that claims more is incomplete."""
EVERYTHING = slice(None)


class Source:
    """An open file of the right schema, which returns checked values."""

    def __init__(self, file: Any, path: Path, schema: Schema) -> None:  # noqa: ANN401 - h5py has no types
        self._file, self._path, self._schema = file, path, schema

    def error(self, complaint: str) -> InputError:
        """Return the error for a complaint about the file."""
        return InputError(f"{self._path}: {complaint}; {self._schema.cure}.")

    def text(self, name: str) -> str:
        """Return a text attribute."""
        value = self._file.attrs.get(name)
        if not isinstance(value, bytes | str):
            raise self.error(f"attribute {name} is missing or no text")
        return as_text(value)

    def number(self, name: str) -> float:
        """Return a number attribute, which must be finite."""
        value = self._file.attrs.get(name)
        if not isinstance(value, float | int | np.floating) or not np.isfinite(value):
            raise self.error(f"attribute {name} is missing or no finite number")
        return float(value)

    def holds(self, name: str) -> bool:
        """Return whether the file has a dataset or group of this name."""
        return name in self._file

    def shape(
        self, name: str, axes: str, dtype: npt.DTypeLike, sizes: Mapping[str, int] | None = None
    ) -> dict[str, int]:
        """Check axes and type of a dataset without reading it; return the size of every axis."""
        dataset = self._file.get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise self.error(f"dataset {name} is missing")
        known = check_shape(name, dataset, axes, sizes)
        check_dtype(name, dataset, dtype)
        if dataset.nbytes > _MOST_COMPRESSION * dataset.id.get_storage_size():
            raise self.error(f"dataset {name} is not all there")
        return known

    def array(
        self,
        name: str,
        axes: str,
        dtype: npt.DTypeLike,
        sizes: Mapping[str, int] | None = None,
        part: slice = EVERYTHING,
    ) -> npt.NDArray[Any]:
        """Read a dataset, or a part along its first axis; it must have these axes and this type."""
        self.shape(name, axes, dtype, sizes)
        dataset = self._file[name]
        array = np.empty((len(range(*part.indices(dataset.shape[0]))), *dataset.shape[1:]), dataset.dtype)
        if array.size:
            dataset.read_direct(array, part)
        return array

    def finite(
        self,
        name: str,
        axes: str,
        dtype: npt.DTypeLike,
        sizes: Mapping[str, int] | None = None,
        part: slice = EVERYTHING,
    ) -> npt.NDArray[Any]:
        """Read a dataset like `array`; all values must be finite."""
        array = self.array(name, axes, dtype, sizes, part)
        if not _is_finite(array):
            raise self.error(f"dataset {name} has values that are not finite")
        return array

    def mask(self, sizes: Mapping[str, int] | None = None) -> npt.NDArray[np.bool_]:
        """Read the mask. Shape `(slices, y, x)`."""
        values = self.array("mask", "slices y x", np.uint8, sizes)
        if np.any(values > 1):
            raise self.error("dataset mask has values other than 0 and 1")
        return values.astype(np.bool_)

    def protocol(self) -> Protocol:
        """Read the protocol, and check it against the hash with which the file was made."""
        text = self.text("protocol_toml")
        try:
            protocol = parse_protocol(text, "its protocol")
        except InputError as e:
            raise self.error(str(e).removesuffix(".")) from e
        if protocol.hash != self.text("protocol_hash"):
            raise self.error(f"its protocol '{protocol.name}' does not have the hash that the file was made with")
        return protocol

    def provenance(self) -> Provenance:
        """Read the provenance of the file."""
        return Provenance.from_json(self.text("provenance"))


@contextmanager
def opening(path: str | Path, schema: Schema) -> Iterator[Source]:
    """Open a file of a schema for reading; errors that its contents cause inside the block become InputErrors.

    InputError if the file is missing, of another kind, truncated, damaged or inconsistent.
    """
    path = Path(path)
    refuse_other(path, schema)
    try:
        with h5py.File(path, "r", locking=False) as file:
            if schema_in(file) != schema.name:
                raise ValueError("it does not say what it is")
            yield Source(file, path, schema)
    except InputError:
        raise
    except _DAMAGE as e:
        raise InputError(f"{path} is damaged, incomplete or inconsistent: {first_line(e)}; {schema.cure}.") from e


def _is_finite(array: npt.NDArray[Any]) -> bool:
    """Return whether all values are finite. A finite sum shows it, in a quarter of the time of checking each value."""
    with np.errstate(over="ignore", invalid="ignore"):
        is_finite = bool(np.isfinite(array.sum()))
    return is_finite or all(np.all(np.isfinite(part)) for part in array)  # the sum of finite values may overflow
