"""A client of the server, made of the serializers of the ismrmrd package."""

import io
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import ismrmrd
import numpy as np
from ismrmrd.serialization import ConfigFile, ConfigText, ProtocolDeserializer, ProtocolSerializer

from mrfpipe.run.server import Server

CLOSE = b"\x04\x00"


@dataclass
class Answer:
    """What a client gets, and what the log says."""

    told: str = ""
    images: list[ismrmrd.Image] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    closed: bool = False

    def maps(self) -> dict[str, np.ndarray]:
        """Values in the unit of files by the maps' names, NaN outside the mask. Shape (slices, y, x)."""
        slices: dict[str, list[np.ndarray]] = {}
        for image in self.images:
            slope, intercept = (float(image.meta[f"Rescale{what}"]) for what in ("Slope", "Intercept"))
            pixels = image.data[0, 0]
            values = np.where(pixels > 0, slope * pixels + intercept, np.nan)
            slices.setdefault(image.meta["SeriesDescription"], []).append(values)
        return {name: np.stack(values) for name, values in slices.items()}


def messages_of(path: Path, *configurations: object, header: str | None = None) -> list[bytes]:
    """A file as messages, the last of which ends it; configurations are strings of the package's kinds."""
    with ismrmrd.File(path, "r") as file:
        parts = [*configurations, header or file["dataset"].header, *file["dataset"].acquisitions]
    return [message(part) for part in parts] + [CLOSE]


def message(part: object) -> bytes:
    stream = io.BytesIO()
    ProtocolSerializer(stream).serialize(part)
    return stream.getvalue()


def ask(server: Server, content: bytes | Iterable[bytes], *, leave: bool = False) -> Answer:
    """Send all of a content and take the answer, or `leave` without waiting for it."""
    answer, (ours, theirs) = Answer(), socket.socketpair()
    client = threading.Thread(target=_client, args=(ours, content, answer, leave))
    client.start()
    with theirs:
        answer.told = server.answer(theirs)
    client.join()
    return answer


def _client(connection: socket.socket, content: bytes | Iterable[bytes], answer: Answer, leave: bool) -> None:
    with connection:
        try:
            for part in [content] if isinstance(content, bytes) else content:
                connection.sendall(part)
            if not leave:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused before all was sent
        if not leave:
            receive(connection, answer)


def receive(connection: socket.socket, answer: Answer) -> None:
    """Take an answer until the server closes it."""
    with connection.makefile("rb") as stream:
        try:
            for part in ProtocolDeserializer(stream).deserialize():
                (answer.texts if isinstance(part, str) else answer.images).append(part)
            answer.closed = True
        except (EOFError, OSError):
            pass


__all__ = ["CLOSE", "Answer", "ConfigFile", "ConfigText", "ask", "message", "messages_of", "receive"]
