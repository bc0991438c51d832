"""Read ISMRMRD raw scans (``.h5``, ``.mrd``) of golden-angle radial MRF, or of any MRF that stores its trajectory.

One acquisition is one readout: ``idx.kspace_encode_step_1`` is its number and ``idx.slice`` its slice, whatever the
order in the file. Noise measurements are kept apart, other acquisitions that are not for the image are left out, and
the last of several repetitions is used.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from mrfpipe.acquisition.assembly import assemble, describe
from mrfpipe.acquisition.header import CARTESIAN_TYPES, Header
from mrfpipe.acquisition.heads import Heads, RawFile
from mrfpipe.acquisition.ismrmrd_file import open_ismrmrd
from mrfpipe.acquisition.ismrmrd_header import parse_headers
from mrfpipe.acquisition.ismrmrd_stream import StreamedScan
from mrfpipe.acquisition.readouts import imaging_of
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.protocol import Sequence


def read_ismrmrd(path: str | Path, sequence: Sequence, *, trusted: bool = False) -> RawScan:
    """Read a raw scan of a sequence: complete, finite, with its trajectory in cycles/FOV.

    A header that differs from the sequence is an error, unless the sequence is trusted.

    InputError if the file is missing, damaged, incomplete or not ISMRMRD, or lacks a trajectory that is needed;
    MismatchError if it is a scan of another sequence; ResourceError if it does not fit into memory.
    """
    with open_ismrmrd(Path(path)) as file:
        imaging, header = image_of(file, file.xml)
        return assemble(file, imaging, header, sequence, trusted=trusted)


def read_stream(scan: StreamedScan, sequence: Sequence, *, trusted: bool = False) -> RawScan:
    """Read what has arrived of a streamed scan, as if it were a file; for the errors, see `read_ismrmrd`."""
    imaging, header = image_of(scan, scan.xml or b"")
    return assemble(scan, imaging, header, sequence, trusted=trusted)


def early_slices(scan: StreamedScan, sequence: Sequence, *, trusted: bool = False) -> Iterator[RawScan]:
    """Read the slices of a streamed scan, each as a scan of its own as soon as all its readouts have arrived.

    Slices are recognised by their counters. A slice whose counters do not number its readouts, or that is not valid, is
    left out; `read_stream` reports what is wrong with it. Raises the errors of `StreamedScan.wait`, and InputError if
    the header cannot be read.
    """
    done: set[int] = set()
    n, more = sequence.n_readouts, True
    while more:
        more, n = scan.wait(n), len(scan.heads)
        imaging, header = image_of(scan, scan.xml or b"")
        lacking = sequence.n_readouts
        for s in sorted(set(imaging["slice"].tolist()) - done):
            one = imaging[imaging["slice"] == s]
            if one.size < sequence.n_readouts:
                lacking = min(lacking, sequence.n_readouts - one.size)
                continue
            done.add(s)
            if np.array_equal(np.sort(one["kspace_encode_step_1"]), np.arange(sequence.n_readouts)):
                one["slice"] = 0
                with suppress(InputError, MismatchError):
                    yield assemble(scan, one, replace(header, n_slices=None), sequence, trusted=trusted)
        n += lacking


def describe_ismrmrd(path: str | Path) -> dict[str, object]:
    """Summarize an ISMRMRD file, whether of MRF or not, without reading its samples.

    The keys name the units, and the values can be written as JSON. InputError if the file is missing, damaged, or not
    ISMRMRD.
    """
    with open_ismrmrd(Path(path)) as file:
        imaging, header = image_of(file, file.xml)
        return describe(file.heads, imaging, header)


def image_of(file: RawFile, xml: bytes) -> tuple[Heads, Header]:
    """Select the imaging acquisitions and the header of their encoding: if there are several, the non-Cartesian one."""
    headers = parse_headers(xml, file.path)
    imaging = imaging_of(file.heads)
    encodings = np.unique(imaging["encoding_space_ref"])
    others = [n for n in encodings if n < len(headers) and headers[n].trajectory not in CARTESIAN_TYPES]
    if len(others) == 1 and encodings[-1] < len(headers):
        imaging = imaging[imaging["encoding_space_ref"] == others[0]]
    encoding = int(imaging["encoding_space_ref"][0]) if imaging.size else 0
    if encoding >= len(headers):
        raise InputError(f"{file.path}: the XML header has no encoding number {encoding}; convert the scan again.")
    return imaging, headers[encoding]
