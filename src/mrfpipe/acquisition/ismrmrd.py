"""Read ISMRMRD raw scans (``.h5``, ``.mrd``) of golden-angle radial MRF, and of any other that stores its trajectory.

One acquisition is one readout: ``idx.kspace_encode_step_1`` says which, ``idx.slice`` of which slice, whatever the
order in the file. Noise measurements are kept apart, everything that is not for the image is left out, and of several
repetitions the last is used.
"""

from pathlib import Path

import numpy as np

from mrfpipe.acquisition.assembly import assemble, describe
from mrfpipe.acquisition.header import CARTESIAN_TYPES, Header
from mrfpipe.acquisition.heads import Heads
from mrfpipe.acquisition.ismrmrd_file import IsmrmrdFile, open_ismrmrd
from mrfpipe.acquisition.ismrmrd_header import parse_headers
from mrfpipe.acquisition.readouts import imaging_of
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.errors import InputError
from mrfpipe.protocol import Sequence


def read_ismrmrd(path: str | Path, sequence: Sequence, *, trusted: bool = False) -> RawScan:
    """Read a raw scan of a sequence: complete and finite, its trajectory in cycles/FOV.

    Where its header says other than the sequence, that is an error unless the sequence is trusted.

    InputError if the file is missing, damaged, not ISMRMRD, not complete, or does not store a trajectory that is
    needed; MismatchError if it is a scan of another sequence; ResourceError if it does not fit into memory.
    """
    with open_ismrmrd(Path(path)) as file:
        imaging, header = _image_of(file)
        return assemble(file, imaging, header, sequence, trusted=trusted)


def describe_ismrmrd(path: str | Path) -> dict[str, object]:
    """Summarize an ISMRMRD file, of MRF or not, without reading its samples.

    Names have their unit where there is one, and JSON can hold the values. InputError if the file is missing, damaged,
    or not ISMRMRD.
    """
    with open_ismrmrd(Path(path)) as file:
        imaging, header = _image_of(file)
        return describe(file.heads, imaging, header)


def _image_of(file: IsmrmrdFile) -> tuple[Heads, Header]:
    """Select what was measured for the image, and the header of its encoding: of several, the one not Cartesian."""
    headers = parse_headers(file.xml, file.path)
    imaging = imaging_of(file.heads)
    encodings = np.unique(imaging["encoding_space_ref"])
    others = [n for n in encodings if n < len(headers) and headers[n].trajectory not in CARTESIAN_TYPES]
    if len(others) == 1 and encodings[-1] < len(headers):
        imaging = imaging[imaging["encoding_space_ref"] == others[0]]
    encoding = int(imaging["encoding_space_ref"][0]) if imaging.size else 0
    if encoding >= len(headers):
        raise InputError(f"{file.path}: the XML header has no encoding number {encoding}; convert the scan again.")
    return imaging, headers[encoding]
