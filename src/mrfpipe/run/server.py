"""Server: scans as they are measured, over TCP, to maps that go back on the same connection.

It speaks MRD streaming, as OpenRecon, FIRE and Gadgetron do. A connection is one scan: configuration, header,
acquisitions, end; it is answered with the images of all maps, or with one line of text that says why there are none,
and closed. Connections are served one after the other. Whatever a client does costs its own connection and a line in
the log. Nothing that a client says becomes a path or a command: it chooses by name among what the server was started
with.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from ismrmrd.serialization import ProtocolSerializer

from mrfpipe.acquisition.ismrmrd_stream import StreamedScan
from mrfpipe.arrays import available_memory
from mrfpipe.errors import InputError, MrfpipeError
from mrfpipe.files.mrd_images import images_of
from mrfpipe.imaging.choices import Imaging
from mrfpipe.run.mapper import Mapper
from mrfpipe.run.record import Record
from mrfpipe.run.result import Result
from mrfpipe.run.stream import map_stream

PORT = 9002
"""Of MRD servers."""
IDLE_S = 120.0
"""How long a client may send nothing, or take nothing, in s."""
LONGEST_S = 3600.0
"""How long a connection may take, in s."""
LINGER_S = 5.0
"""How long is waited, in s, for a client to take in why it is refused before its connection is cut."""
SHARE = 1 / 3
"""Of the memory that is free, how much a scan may take as it comes: it is held twice while it is read."""
_LINE = 400
_CHOICES = ("config", "recon", "dictionary", "model")
_UNSAID = ("", "default", "openrecon")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a client may choose from."""

    dictionaries: Mapping[str, Mapper]
    """What matches, by name; the first is the default."""
    networks: Mapping[str, Mapper]
    """Networks, by name; the first is the default."""
    imaging: Imaging
    """How scans are reconstructed, unless the client chooses otherwise."""

    def chosen(self, configurations: list[str]) -> tuple[Mapper, Imaging]:
        """Return what the texts of a client ask for, a name or JSON each; later ones come before earlier ones.

        The names are ``matching`` and ``network``; nothing, ``default`` and ``openrecon`` leave it to the server, which
        matches if it has a dictionary. JSON has the keys ``config`` for that name, ``recon``, ``dictionary`` and
        ``model``, or has them as OpenRecon sends them, below ``parameters``.

        Raises
        ------
        InputError
            If there is no such thing.
        """
        wanted: dict[str, str] = {}
        for text in configurations:
            wanted |= _wanted(text)
        config = wanted.get("config") or ("matching" if self.dictionaries else "network")
        if config not in {"matching", "network"}:
            raise InputError(f"There is no configuration {_short(config)}; choose matching, network or default.")
        of, key = (self.dictionaries, "dictionary") if config == "matching" else (self.networks, "model")
        name = wanted.get(key) or next(iter(of), "")
        if name not in of:
            names = ", ".join(of) or f"none, start it with --{key}"
            raise InputError(f"The server has no {key} {_short(name)}; it has {names}.")
        recon = wanted.get("recon") or self.imaging.recon
        if recon not in {"nufft", "subspace"}:
            raise InputError(f"There is no reconstruction {_short(recon)}; choose nufft or subspace.")
        return of[name], replace(self.imaging, recon="nufft" if recon == "nufft" else "subspace")


def _wanted(text: str) -> dict[str, str]:
    """Read one text of a client: what it chooses, without what it leaves to the server."""
    text = text.strip()
    values: object = {"config": text}
    if text.startswith("{"):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise InputError(f"The configuration {_short(text)} is no JSON; send a name, or JSON.") from e
        values = values.get("parameters", values) if isinstance(values, dict) else values
    if not isinstance(values, dict) or not set(values) <= set(_CHOICES):
        raise InputError(f"The configuration {_short(text)} has other keys than {', '.join(_CHOICES)}.")
    if not all(isinstance(value, str) for value in values.values()):
        raise InputError(f"The configuration {_short(text)} has values that are no text.")
    return {key: value for key, value in values.items() if value not in _UNSAID}


def _short(text: str) -> str:
    """Quote the beginning of what a client says."""
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Server:
    """Serves scans."""

    offer: Offer
    """What clients choose from."""
    device: torch.device
    """Where to compute."""
    say: Callable[[str], None]
    """Told one line of every connection."""
    output: Path | None = None
    """Folder that a result folder of every scan is written to; None for none."""
    command: tuple[str, ...] = ()
    """The command line that asked for it, word by word."""
    idle_s: float = IDLE_S
    longest_s: float = LONGEST_S

    def serve(self, listening: socket.socket) -> None:
        """Take one connection after the other, until interrupted."""
        while True:
            connection, (address, port, *_) = listening.accept()
            with connection:
                self.say(_line(f"{address}:{port}: {self.answer(connection)}"))

    def answer(self, connection: socket.socket) -> str:
        """Serve one connection, and say in a line what became of it."""
        connection.settimeout(self.idle_s)
        scan = StreamedScan(f"{datetime.now(UTC):scan-%Y%m%d-%H%M%S-%f}", int(SHARE * available_memory()))
        receiver = threading.Thread(target=scan.receive, args=(_reading(connection, self.longest_s),), daemon=True)
        receiver.start()
        try:
            result = self._result(scan)
            told = _told(scan, result)
            self._send(connection, lambda to: [to.serialize(image) for image in images_of(result.maps, _how(result))])
        except (MrfpipeError, OSError, MemoryError) as e:
            told = str(e) or type(e).__name__
            self._refuse(connection, told)
        except Exception as e:  # noqa: BLE001 - a client that finds a bug does not end the server
            told = f"failed, which is a bug of mrfpipe: {type(e).__name__}: {e}"
            self._refuse(connection, told)
        receiver.join(LINGER_S)
        return told

    def _result(self, scan: StreamedScan) -> Result:
        """Make the maps of a scan; with a folder they are written before they are sent, so that none are lost."""
        scan.wait(1)
        mapper, imaging = self.offer.chosen(scan.configurations)
        record = Record(command=list(self.command))
        result = map_stream(scan, mapper, imaging=imaging, device=self.device, record=record)
        if self.output is not None:
            result.save(self.output / result.name)
        return result

    def _send(self, connection: socket.socket, send: Callable[[ProtocolSerializer], object]) -> None:
        with connection.makefile("wb") as stream, ProtocolSerializer(stream) as to:
            send(to)
        connection.shutdown(socket.SHUT_WR)

    def _refuse(self, connection: socket.socket, why: str) -> None:
        try:
            self._send(connection, lambda to: to.serialize(_line(why)))
        except OSError:
            return  # it went away


def _reading(connection: socket.socket, longest_s: float) -> Callable[[int], bytes]:
    """Return what reads so many bytes of a connection, until its time is up."""
    stream, end = connection.makefile("rb"), time.monotonic() + longest_s

    def read(n: int) -> bytes:
        if time.monotonic() > end:
            raise InputError(f"The client takes longer than {longest_s:g} s; send the scan again.")
        try:
            return stream.read(n)
        except TimeoutError as e:
            raise InputError(f"The client sent nothing for {connection.gettimeout():g} s; send the scan again.") from e

    return read


def _told(scan: StreamedScan, result: Result) -> str:
    n_slices, n_voxels = len(result.mask), int(result.mask.sum())
    warning = f"; {result.warning}" if result.warning else ""
    return f"{scan.path}, {n_slices} slice(s), {n_voxels:,} voxels by {_how(result)}{warning}"


def _how(result: Result) -> str:
    return f"{result.provenance.method}; protocol {result.provenance.protocol_name}"


def _line(text: str) -> str:
    """Make a text one line that can be shown: what a client sent may be in it."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(plain.split())[:_LINE]
