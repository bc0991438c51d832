"""Read Siemens Twix raw scans (``.dat``; VB, and VD, VE, XA) of golden-angle radial MRF.

One block is one spoke: its line counter says which, its slice counter of which slice, whatever the order in the file;
slices are put in the order of their place along the normal. Of several measurements in a file the last is the scan, and
of several repetitions there the last. Noise of an earlier measurement is used if the scan has none of its own.

The file holds no trajectory: it is computed from the protocol, +kx along the readout direction of the slice and +ky
along its phase direction, as the quaternion of every spoke has them in the patient's axes. The slice's position counts
from where the table stood, so that the table's movement is added to it.
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
    """Read a raw scan of a sequence: complete and finite, its readout oversampling kept, its trajectory in cycles/FOV.

    Where its header says other than the sequence, that is an error unless the sequence is trusted.

    InputError if the file is missing, damaged, not Twix, not radial, or not complete; MismatchError if it is a scan of
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
    """Summarize a Twix file, radial or not, without reading its samples; no name of a patient is told.

    Names have their unit where there is one, and JSON can hold the values. InputError if the file is missing, damaged,
    or not Twix.
    """
    path = Path(path)
    with open_twix(path) as file:
        return describe(file.heads, imaging_of(file.heads), parse_twix_header(file.buffers, path))
