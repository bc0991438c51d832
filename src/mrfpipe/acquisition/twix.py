"""Read Siemens Twix raw scans (``.dat``; VB, and VD, VE, XA) of golden-angle radial MRF.

One block is one spoke, numbered by its line counter and its slice counter, whatever the order in the file; slices are
sorted by their position along the normal. The last measurement in a file is the scan, and its last repetition is used.
The noise of an earlier measurement is used if the scan has none of its own.

The file holds no trajectory. The trajectory is computed from the protocol, with +kx along the readout direction of the
slice and +ky along its phase direction; the quaternion of every spoke gives these directions in patient coordinates.
The slice position is relative to the table, so that the table position is added to it.
"""

from pathlib import Path

import numpy as np

from mrfpipe.acquisition.assembly import assemble, describe
from mrfpipe.acquisition.readouts import imaging_of
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.twix_file import open_twix
from mrfpipe.acquisition.twix_header import parse_twix_header, table_position_mm
from mrfpipe.errors import InputError
from mrfpipe.protocol import Sequence

_GEOMETRY = ("position", "read_dir", "phase_dir", "slice_dir")


def read_twix(path: str | Path, sequence: Sequence, *, trusted: bool = False) -> RawScan:
    """Read a raw scan of a sequence: complete, finite, with readout oversampling, and its trajectory in cycles/FOV.

    A header that differs from the sequence is an error, unless the sequence is trusted.

    InputError if the file is missing, damaged, incomplete, not Twix or not radial; MismatchError if it is a scan of
    another sequence; ResourceError if it does not fit into memory.
    """
    path = Path(path)
    with open_twix(path) as file:
        header = parse_twix_header(file.buffers, path)
        imaging = imaging_of(file.heads)
        if not (imaging["slice_dir"].any(axis=1).all() and all(np.isfinite(imaging[name]).all() for name in _GEOMETRY)):
            raise InputError(f"{path}: positions or directions are missing or not finite; copy the scan again.")
        imaging["position"] += table_position_mm(file.buffers, path)
        return assemble(file, imaging, header, sequence, trusted=trusted)


def describe_twix(path: str | Path) -> dict[str, object]:
    """Summarize a Twix file, radial or not, without reading its samples; the name of the patient is not included.

    The keys name the units, and the values can be written as JSON. InputError if the file is missing, damaged, or not
    Twix.
    """
    path = Path(path)
    with open_twix(path) as file:
        return describe(file.heads, imaging_of(file.heads), parse_twix_header(file.buffers, path))
