"""MRD streams: receive the messages of a client, and present the scan so far as a file of acquisitions that grows.

A message is a 16-bit number for its type, and a body (ISMRMRD's MRD streaming protocol): configuration, header,
acquisitions, end. Bodies are not read by the `ProtocolDeserializer` of the ismrmrd package, because it allocates
whatever size an acquisition's head claims before that can be checked, and cannot read headers that end with a zero
byte, as clients send them. All sizes are limited here, and `assemble` checks the contents.
"""

import ctypes
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from ismrmrd.acquisition import AcquisitionHeader
from ismrmrd.hdf5 import acquisition_header_dtype
from ismrmrd.serialization import ISMRMRDMessageID as Kind
from ismrmrd.waveform import WaveformHeader

from mrfpipe.acquisition.heads import Acquisition, Heads
from mrfpipe.acquisition.ismrmrd_file import heads_of
from mrfpipe.errors import InputError, ResourceError

LONGEST_TEXT = 1 << 20
"""Most bytes of a text, such as the header; a header with trains of 1400 readouts has 150 kB."""
LONGEST_ACQUISITION = 64 << 20
"""Most bytes of an acquisition: 128 coils with 65,535 samples."""
EACH = 512
"""Bytes of memory that a message takes in addition to its body."""
_NAME = 1024
_HEAD, _WAVEFORM = ctypes.sizeof(AcquisitionHeader), ctypes.sizeof(WaveformHeader)
_TEXTS = {Kind.CONFIG_TEXT: "configuration", Kind.HEADER: "header", Kind.TEXT: "text"}

Read = Callable[[int], bytes | bytearray]
"""Reads a number of bytes, or fewer if the stream ends; `StreamedScan.wait` re-raises its errors."""


class StreamedScan:
    """A scan while it arrives: a `RawFile` of the acquisitions received so far.

    One thread receives; another can read what has been received, and wait for more.
    """

    def __init__(self, name: str, most_bytes: int) -> None:
        """Start empty; errors call the scan `name`, and a scan of more than `most_bytes` is refused."""
        self.path, self.size, self._most = Path(name), 0, most_bytes
        self.xml: bytes | None = None
        """Its XML header, once received."""
        self.configurations: list[str] = []
        """Texts of the client, such as the configuration of the reconstruction, in the order received."""
        self._heads: list[bytes | bytearray] = []
        self._bodies: list[bytes | bytearray] = []
        self._changed = threading.Condition()
        self._ended = False
        self._error: Exception | None = None

    def receive(self, read: Read) -> None:
        """Receive all messages until the client closes the scan; errors are raised in `wait`, in the other thread."""
        error: Exception | None = None
        try:
            self._receive(read)
        except Exception as e:  # noqa: BLE001 - any error is raised in the other thread
            error = e
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def wait(self, n: int) -> bool:
        """Wait for `n` acquisitions; return True once there are as many, False if the client is done before.

        InputError if the stream is damaged or breaks off; ResourceError if the scan is too large.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self._bodies) >= n)
        if self._error is not None:
            raise self._error
        return len(self._bodies) >= n

    @property
    def heads(self) -> Heads:
        """Heads of all acquisitions received so far."""
        there = self._heads[: len(self._bodies)]
        return heads_of(np.frombuffer(b"".join(there), acquisition_header_dtype), self.path)

    def acquisitions(self, heads: Heads) -> Iterator[Acquisition]:
        """Yield the acquisitions of `heads`, in their order."""
        for head in heads:
            n_coils, n_samples = int(head["active_channels"]), int(head["number_of_samples"])
            n_dimensions = int(head["trajectory_dimensions"])
            values = np.frombuffer(self._bodies[int(head["number"])], np.float32)
            trajectory, samples = np.split(values, [n_samples * n_dimensions])
            yield Acquisition(
                head=head,
                samples=samples.view(np.complex64).reshape(n_coils, n_samples),
                trajectory=trajectory.reshape(n_samples, n_dimensions),
            )

    def _receive(self, read: Read) -> None:
        while True:
            (number,) = struct.unpack("<H", self._exactly(read, 2))
            if number == Kind.CLOSE:
                break
            if number == Kind.ACQUISITION:
                self._take_acquisition(read)
            elif number == Kind.CONFIG_FILE:
                self._take_text(Kind.CONFIG_FILE, self._exactly(read, _NAME))
            elif number in _TEXTS:
                (length,) = struct.unpack("<I", self._exactly(read, 4))
                self._check_length(f"a {_TEXTS[Kind(number)]}", length, LONGEST_TEXT)
                self._take_text(Kind(number), self._exactly(read, length))
            elif number == Kind.WAVEFORM:  # not used
                waveform = WaveformHeader.from_buffer_copy(self._exactly(read, _WAVEFORM))
                length = 4 * waveform.channels * waveform.number_of_samples
                self._check_length("a waveform", length, LONGEST_ACQUISITION)
                self._exactly(read, length)
            else:
                raise InputError(
                    f"{self.path}: the client sends messages of number {number}; mrfpipe takes configuration, header, "
                    "acquisitions and waveforms of raw data."
                )
        if self.xml is None:
            raise InputError(f"{self.path}: the client sent no header; send configuration, header and acquisitions.")

    def _take_text(self, kind: Kind, body: bytes | bytearray) -> None:
        text = bytes(body).split(b"\0", 1)[0]
        if kind != Kind.HEADER:
            self.configurations.append(text.decode("utf-8", errors="replace"))
        elif self.xml is None:
            self.xml = text
        else:
            raise InputError(f"{self.path}: the client sends a second header; one connection is for one scan.")
        self._count(len(body))

    def _take_acquisition(self, read: Read) -> None:
        if self.xml is None:
            raise InputError(f"{self.path}: the client sends acquisitions before the header; send the header first.")
        head = self._exactly(read, _HEAD)
        said = AcquisitionHeader.from_buffer_copy(head)
        length = 4 * said.number_of_samples * (said.trajectory_dimensions + 2 * said.active_channels)
        self._check_length("an acquisition", length, LONGEST_ACQUISITION)
        self._count(_HEAD + length)
        body = self._exactly(read, length)
        self._heads.append(head)
        with self._changed:
            self._bodies.append(body)
            self._changed.notify_all()

    def _exactly(self, read: Read, n: int) -> bytes | bytearray:
        body = read(n)
        if len(body) < n:
            raise InputError(f"{self.path}: the client disconnected before the end of the scan; send the scan again.")
        return body

    def _check_length(self, what: str, length: int, most: int) -> None:
        if length > most:
            raise InputError(
                f"{self.path}: the client announces {what} of {length:,} bytes, the limit is {most:,}; "
                "the stream is damaged, send the scan again."
            )

    def _count(self, length: int) -> None:
        self.size += length + EACH
        if self.size > self._most:
            raise ResourceError(
                f"{self.path}: the scan exceeds {self._most / 1e9:.2f} GB, the limit on this machine; "
                "use one with more memory."
            )
