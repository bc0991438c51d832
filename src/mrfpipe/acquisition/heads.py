"""Interface that all readers of raw scans share: a file with its acquisitions and their heads.

A head is the header of one acquisition. Heads have the fields, flags and conventions of ISMRMRD, whatever the format
of the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import Complex, Float
from mrfpipe.errors import InputError

Heads = npt.NDArray[np.void]
"""Heads of acquisitions, with the fields of `HEAD`. Shape `(acquisitions)`."""

HEAD = np.dtype(
    [
        ("number", "i8"),
        ("flags", "u8"),
        ("number_of_samples", "i8"),
        ("active_channels", "i8"),
        ("discard_pre", "i8"),
        ("discard_post", "i8"),
        ("center_sample", "i8"),
        ("encoding_space_ref", "i8"),
        ("trajectory_dimensions", "i8"),
        ("sample_time_us", "f8"),
        ("position", "f8", 3),
        ("read_dir", "f8", 3),
        ("phase_dir", "f8", 3),
        ("slice_dir", "f8", 3),
        ("kspace_encode_step_1", "i8"),
        ("kspace_encode_step_2", "i8"),
        ("average", "i8"),
        ("slice", "i8"),
        ("repetition", "i8"),
        ("set", "i8"),
    ]
)
"""Fields of an acquisition's head that are used; `number` counts the acquisitions of the file from 0."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Acquisition:
    """One acquisition: its head, samples and trajectory."""

    head: np.void
    """Fields of `HEAD`."""
    samples: Complex
    """Measured values. Shape `(coils, samples)`."""
    trajectory: Float
    """Stored trajectory, in the unit of the file. Shape `(samples, dimensions)`."""


def open_file(path: Path, kinds: str) -> BinaryIO:
    """Open the file of a scan; `kinds` names the file types in errors. InputError if it is missing or unreadable."""
    try:
        if not path.exists():
            raise InputError(f"{path}: the file does not exist; check the path.")
        if not path.is_file():
            raise InputError(f"{path}: is not a file; name the {kinds} file of one scan.")
        return path.open("rb")
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror}); check its permissions.") from e


class RawFile(Protocol):
    """An open file of raw acquisitions, of any format."""

    @property
    def path(self) -> Path:
        """Path of the file."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    @property
    def heads(self) -> Heads:
        """Heads of all its acquisitions."""

    def acquisitions(self, heads: Heads) -> Iterator[Acquisition]:
        """Read the acquisitions of `heads`, in their order; InputError if the file is damaged."""
