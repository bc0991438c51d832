"""Server: receives scans over TCP while they are measured and sends the maps back on the same connection.

It speaks the MRD streaming protocol, as OpenRecon, FIRE and Gadgetron do. A connection is one scan: configuration,
header, acquisitions, end. The server answers with the images of all maps, or with one line of text that says why there
are none, and closes the connection. Connections are served one after the other. Whatever a client does affects only its
own connection, about which one line is logged. Nothing that a client sends is used as a path or a command: clients
choose by name among the mappers that the server was started with.
"""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import ismrmrd
import torch
from ismrmrd.serialization import ProtocolSerializer

from mrfpipe.acquisition.ismrmrd_stream import Read, StreamedScan
from mrfpipe.arrays import available_memory
from mrfpipe.errors import InputError, MrfpipeError
from mrfpipe.files.mrd_images import images_of
from mrfpipe.run.offer import Offer
from mrfpipe.run.record import Record
from mrfpipe.run.stream import map_stream

IDLE_S = 120.0
LONGEST_S = 3600.0
LINGER_S = 5.0
SHARE = 1 / 3
"""Fraction of the free memory that a received scan may take; it is held twice while it is read."""
_LINE = 400


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Server:
    """Server that turns streamed scans into maps."""

    offer: Offer
    """Mappers and reconstruction that clients choose from."""
    device: torch.device
    """Device to compute on."""
    say: Callable[[str], None]
    """Called with one line about every connection."""
    output: Path | None = None
    """Folder in which every scan gets a result folder; None to write no results."""
    command: tuple[str, ...] = ()
    """The command line that started the server, word by word."""
    idle_s: float = IDLE_S
    """How long a client may send or accept nothing, in s."""
    longest_s: float = LONGEST_S
    """How long a connection may send, in s."""

    def serve(self, listening: socket.socket) -> None:
        """Serve one connection after the other until interrupted."""
        while True:
            try:
                connection, (address, port, *_) = listening.accept()
            except ConnectionError:  # it went away while it waited
                continue
            with connection:
                self.say(_line(f"{address}:{port}: {self.answer(connection)}"))

    def answer(self, connection: socket.socket) -> str:
        """Serve one connection and return its outcome in one line.

        After a refusal, the server keeps receiving for `LINGER_S`, since the client may still be sending: if the
        connection were closed at once, the client could not read the reason.
        """
        connection.settimeout(self.idle_s)
        scan = StreamedScan(f"{datetime.now(UTC):scan-%Y%m%d-%H%M%S-%f}", int(SHARE * available_memory()))
        receiver = threading.Thread(target=scan.receive, args=(_reading(connection, self.longest_s),), daemon=True)
        receiver.start()
        try:
            told = self._answered(scan, connection)
            receiver.join(LINGER_S)
            return told
        finally:
            with suppress(OSError):  # it may be gone
                connection.shutdown(socket.SHUT_RDWR)
            receiver.join()

    def _answered(self, scan: StreamedScan, connection: socket.socket) -> str:
        try:
            return self._maps(scan, connection)
        except (MrfpipeError, MemoryError) as e:
            why = str(e) or "Out of memory; use a larger machine."
        except Exception as e:  # noqa: BLE001 - a client that finds a bug does not end the server
            why = f"This is a bug of mrfpipe: {type(e).__name__}: {e}"
        with suppress(OSError):  # it may have gone away
            _send(connection, _line(why))
        return why

    def _maps(self, scan: StreamedScan, connection: socket.socket) -> str:
        """Make the maps of a scan and send them; with an output folder they are saved before, so that none are lost."""
        scan.wait(1)
        mapper, imaging = self.offer.chosen(scan.configurations)
        record = Record(command=list(self.command))
        result = map_stream(scan, mapper, imaging=imaging, device=self.device, record=record)
        how = f"{result.provenance.method}; protocol {result.provenance.protocol_name}"
        told = [f"{result.name}: {len(result.mask)} slice(s), {result.mask.sum():,} voxels by {how}"]
        told += [result.warning] if result.warning else []
        if self.output is not None:
            try:
                result.save(self.output / result.name)
            except MrfpipeError as e:
                told.append(f"not kept: {e}")
        try:
            _send(connection, *images_of(result.maps, how))
        except OSError as e:
            told.append(f"not sent, the client went away ({e.strerror or e})")
        return "; ".join(told)


def _send(connection: socket.socket, *messages: ismrmrd.Image | str) -> None:
    with connection.makefile("wb") as stream, ProtocolSerializer(stream) as to:
        for message in messages:
            to.serialize(message)
    connection.shutdown(socket.SHUT_WR)


def _reading(connection: socket.socket, longest_s: float) -> Read:
    """Return a function that reads a number of bytes from a connection, until `longest_s` have passed."""
    end = time.monotonic() + longest_s

    def read(n: int) -> bytearray:
        body, got = bytearray(n), 0
        while got < n:
            if time.monotonic() > end:
                raise InputError(f"The client takes longer than {longest_s:g} s; send the scan again.")
            try:
                came = connection.recv_into(memoryview(body)[got:])
            except TimeoutError as e:
                idle_s = connection.gettimeout() or 0.0
                raise InputError(f"The client sent nothing for {idle_s:g} s; send the scan again.") from e
            except OSError:
                came = 0  # the client has gone
            if not came:
                return body[:got]
            got += came
        return body

    return read


def _line(text: str) -> str:
    """Turn a text, which may contain what a client sent, into one printable line."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(plain.split())[:_LINE]
