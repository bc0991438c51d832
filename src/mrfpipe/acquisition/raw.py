"""Read raw scans of any supported format.

A file is ISMRMRD if it is HDF5, whatever its name, and Siemens Twix if its name ends in ``.dat``.
"""

from pathlib import Path

import h5py

from mrfpipe.acquisition.ismrmrd import describe_ismrmrd, read_ismrmrd
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.twix import describe_twix, read_twix
from mrfpipe.protocol import Sequence


def read_raw(path: str | Path, sequence: Sequence, *, trusted: bool = False) -> RawScan:
    """Read a raw scan; for parameters, result and errors, see `read_ismrmrd` and `read_twix`."""
    path = Path(path)
    return (read_twix if _is_twix(path) else read_ismrmrd)(path, sequence, trusted=trusted)


def describe_raw(path: str | Path) -> dict[str, object]:
    """Summarize a raw scan, format first, without reading its samples; see `describe_ismrmrd` and `describe_twix`."""
    path = Path(path)
    if _is_twix(path):
        return {"kind": "raw scan (Siemens Twix)", **describe_twix(path)}
    return {"kind": "raw scan (ISMRMRD)", **describe_ismrmrd(path)}


def _is_twix(path: Path) -> bool:
    return path.suffix.lower() == ".dat" and not (path.is_file() and h5py.is_hdf5(path))
