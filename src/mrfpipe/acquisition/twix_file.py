"""Read a Siemens Twix file (``.dat``) as bytes: find the measurement in it, and read its header, heads and samples.

A file of syngo VB is one measurement: a header, then blocks. A file of VD, VE or XA begins with a table of up to 64
measurements, the last of which is the scan. A block is a head, followed by the samples of every coil, each with a head
of its own (VB repeats the head of the block there). Open-source readers of the format agree on this layout. All lengths
and offsets are checked against the size of the file, so that a damaged file raises an `InputError`; other libraries
raise various errors or return partial data (``benchmarks/twix_readers.py``).
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from mrfpipe.acquisition.heads import Acquisition, Heads, open_file
from mrfpipe.acquisition.readouts import imaging_of, noise_of
from mrfpipe.acquisition.twix_heads import ACQEND, SYNCDATA, VB, VD, Layout, heads_of
from mrfpipe.errors import InputError

_MOST_MEASUREMENTS = 64
_ENTRY = struct.Struct("<8xQQ128x")  # numbers; offset, length; names of patient and protocol
_MOST_BUFFERS = 64
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measurement of a file."""

    start: int
    """Byte at which its header begins."""
    end: int
    """Byte at which it ends."""
    layout: Layout
    """Layout of its blocks."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwixFile:
    """An open Twix file: its last measurement, with the noise of an earlier one if it has none of its own."""

    path: Path
    """Path of the file."""
    size: int
    """Its length in bytes."""
    buffers: dict[str, str]
    """Header of the measurement: the text of each of its buffers."""
    heads: Heads
    """Heads of its acquisitions."""
    stream: BinaryIO
    """The file."""
    layout: Layout
    """Layout of its blocks."""
    places: npt.NDArray[np.int64]
    """Byte at which the block of each acquisition begins. Shape `(acquisitions)`."""

    def acquisitions(self, heads: Heads) -> Iterator[Acquisition]:
        """Read the acquisitions of `heads`, in their order; InputError if the file is damaged."""
        layout = self.layout
        for head in heads:
            n_coils, n_samples = int(head["active_channels"]), int(head["number_of_samples"])
            block = _bytes(self.stream, self.path, int(self.places[head["number"]]), layout.block(n_coils, n_samples))
            coils = np.frombuffer(block, np.uint8, offset=layout.scan).reshape(n_coils, layout.coil + 8 * n_samples)
            samples = np.ascontiguousarray(coils[:, layout.coil :]).view("<c8")
            yield Acquisition(head=head, samples=samples, trajectory=np.zeros((n_samples, 0), np.float32))


@contextmanager
def open_twix(path: Path) -> Iterator[TwixFile]:
    """Open a Twix file, and read the header and the heads of its last measurement.

    InputError if it is missing, damaged, or not a Twix file.
    """
    with open_file(path, ".dat") as stream:
        yield _contents(stream, path)


def _contents(stream: BinaryIO, path: Path) -> TwixFile:
    size = stream.seek(0, 2)
    measurements = _measurements(stream, path, size)
    heads, places = _with_noise(stream, path, measurements)
    return TwixFile(
        path=path,
        size=size,
        buffers=_buffers(stream, path, measurements[-1]),
        heads=heads,
        stream=stream,
        layout=measurements[-1].layout,
        places=places,
    )


def _bytes(stream: BinaryIO, path: Path, start: int, n: int) -> bytes:
    """Read exactly `n` bytes."""
    try:
        stream.seek(start)
        content = stream.read(n)
    except (OSError, ValueError, OverflowError, MemoryError) as e:
        raise InputError(f"{path}: cannot be read at byte {start} ({e}); copy it again.") from e
    if len(content) < n:
        raise InputError(f"{path}: ends where byte {start + n} should be, it is truncated or damaged; copy it again.")
    return content


def _measurements(stream: BinaryIO, path: Path, size: int) -> list[Measurement]:
    """Find the measurements of the file, in their order."""
    if size == 0:
        raise InputError(f"{path}: is empty; copy the scan again.")
    first, second = struct.unpack("<II", _bytes(stream, path, 0, 8))
    if first >= 10_000 and 0 < second <= _MOST_BUFFERS:
        return [Measurement(start=0, end=size, layout=VB)]
    if first >= 10_000 or not 0 < second <= _MOST_MEASUREMENTS:
        raise InputError(f"{path}: is not a Siemens Twix file; name the .dat file of one scan.")
    table = _bytes(stream, path, 8, second * _ENTRY.size)
    measurements = []
    for start, length in _ENTRY.iter_unpack(table):
        end = start + length if length else size  # some writers omit the length of a single measurement
        if not second * _ENTRY.size <= start < end <= size:
            raise InputError(f"{path}: a measurement ends beyond the file, which is truncated or damaged; copy again.")
        measurements.append(Measurement(start=start, end=end, layout=VD))
    return measurements


def _header_length(stream: BinaryIO, path: Path, measurement: Measurement) -> tuple[int, int]:
    """Read the length of a measurement's header in bytes, and its number of buffers."""
    length, n_buffers = struct.unpack("<II", _bytes(stream, path, measurement.start, 8))
    if length < 8 or measurement.start + length > measurement.end or n_buffers > _MOST_BUFFERS:
        raise InputError(f"{path}: its header is longer than the measurement, it is truncated or damaged; copy again.")
    return length, n_buffers


def _buffers(stream: BinaryIO, path: Path, measurement: Measurement) -> dict[str, str]:
    """Read the header: named buffers of text."""
    length, n_buffers = _header_length(stream, path, measurement)
    content = _bytes(stream, path, measurement.start, length)
    buffers, at = {}, 8
    for _ in range(n_buffers):
        name, zero, rest = content[at : at + _LONGEST_NAME].partition(b"\0")
        start = at + len(name) + 5
        end = start + int.from_bytes(rest[:4], "little")
        if not zero or not start <= end <= length:
            raise InputError(f"{path}: its header is damaged at byte {measurement.start + at}; copy the scan again.")
        buffers[name.decode("latin-1")] = content[start:end].decode("latin-1")
        at = end
    return buffers


def _blocks(
    stream: BinaryIO, path: Path, measurement: Measurement
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64]]:
    """Read the heads of all blocks with samples, and the byte at which each begins."""
    layout = measurement.layout
    at = measurement.start + _header_length(stream, path, measurement)[0]
    heads, places = [], []
    while True:
        if at + layout.head.itemsize > measurement.end:
            raise InputError(f"{path}: has no mark of its end at byte {at}, it is truncated or damaged; copy it again.")
        content = _bytes(stream, path, at, layout.head.itemsize)
        head = np.frombuffer(content, layout.head)[0]
        mask, length = int(head["mask"]), int(head["dma"]) % 2**25
        if mask & ACQEND:
            break
        if not mask & SYNCDATA:
            length = layout.block(int(head["coils"]), int(head["samples"]))
            heads.append(content)
            places.append(at)
        if length < layout.head.itemsize or at + length > measurement.end:
            raise InputError(f"{path}: the block at byte {at} is truncated or damaged; copy the scan again.")
        at += length
    return np.frombuffer(b"".join(heads), layout.head), np.array(places, np.int64)


def _with_noise(stream: BinaryIO, path: Path, measurements: list[Measurement]) -> tuple[Heads, npt.NDArray[np.int64]]:
    """Read the heads of the last measurement; if it has no noise, prepend the latest noise with the same coils."""
    blocks, places = _blocks(stream, path, measurements[-1])
    heads = heads_of(blocks)
    imaging = imaging_of(heads)
    for earlier in reversed(measurements[:-1]):
        if noise_of(heads).size or not imaging.size:
            break
        other, other_places = _blocks(stream, path, earlier)
        noise = noise_of(heads_of(other))
        noise = noise[noise["active_channels"] == imaging["active_channels"][0]]
        places = np.concatenate([other_places[noise["number"]], places])
        heads = np.concatenate([noise, heads])
        heads["number"] = np.arange(heads.size)
    return heads, places
