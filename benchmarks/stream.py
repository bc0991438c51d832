"""A scan streamed to the server at the pace of a scanner: the time from the last readout to the last map.

    python benchmarks/stream.py [SCAN.h5] [--seconds 50] [--dictionary DICT.h5] [-- OPTIONS OF mrfpipe serve]

Without a scan, a phantom of five slices and 8 coils is made first; without a dictionary, the server uses the bundled
network. The readouts are sent evenly over the time that the slices take to measure, about 10 s each with T1-FF. The
server is a separate process, started before and warmed up with a scan of one slice; peak memory is that of this
process, including imports.

Only the frames and maps of the last slice must be computed after the last readout. Those of all other slices can be
finished before, if the machine keeps pace.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import ismrmrd
from harness import report
from ismrmrd.serialization import ConfigFile, ProtocolDeserializer, ProtocolSerializer

from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.scanner import scan
from mrfpipe.protocol import load_protocol


def make_scan(path: Path, n_slices: int) -> None:
    """Write a phantom's raw scan."""
    protocol = load_protocol("t1ff")
    sequence = protocol.sequence
    phantom = thigh(matrix=sequence.matrix, fov=sequence.fov, n_slices=n_slices, slice_spacing=0.012, seed=3)
    write_ismrmrd(scan(phantom, protocol), sequence, path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """Timing of a streamed scan."""

    waited: float
    """Seconds from the last readout to the last map."""
    during: float
    """CPU time in s that the server used until the last readout."""
    after: float
    """CPU time in s that it used after that, which depends less on other programs on a shared machine."""
    n_images: int
    """Number of images that were returned."""


def stream(path: Path, port: int, seconds: float, server: int) -> Streamed:
    """Send a scan within `seconds` to the server with process ID `server`, and wait for its maps."""
    arrived: list[float] = []

    def receive() -> None:
        with connection.makefile("rb") as stream:
            for part in ProtocolDeserializer(stream).deserialize():
                if isinstance(part, str):
                    sys.exit(part)
                arrived.append(time.monotonic())

    with ismrmrd.File(str(path), "r") as file, socket.create_connection(("127.0.0.1", port)) as connection:
        receiver = threading.Thread(target=receive)
        receiver.start()
        with connection.makefile("wb") as out:
            to, acquisitions = ProtocolSerializer(out), file["dataset"].acquisitions
            to.serialize(ConfigFile("default"))
            to.serialize(file["dataset"].header)
            began, before, n = time.monotonic(), processor_seconds(server), len(acquisitions)
            for i in range(n):
                to.serialize(acquisitions[i])
                ahead = began + seconds * (i + 1) / n - time.monotonic()
                if ahead > 0.01:
                    out.flush()
                    time.sleep(ahead)
            to.close()
        ended, between = time.monotonic(), processor_seconds(server)
        receiver.join()
    if ended - began > 1.1 * max(seconds, 1):
        print(f"the scan took {ended - began:.1f} s to send instead of {seconds:g} s", file=sys.stderr)
    return Streamed(
        waited=arrived[-1] - ended,
        during=between - before,
        after=processor_seconds(server) - between,
        n_images=len(arrived),
    )


def processor_seconds(process: int) -> float:
    """Return the CPU time of a process in s."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def peak_memory_gb(process: int) -> float:
    """Return the peak memory of a process so far in GB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e9
    return float("nan")


def main() -> None:
    """Start a server, stream to it and print the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("scan", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=50.0)
    parser.add_argument("--dictionary", type=Path)
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    given, options = parser.parse_args(words[:cut]), words[cut + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        raw, first = given.scan or Path(folder) / "five.h5", Path(folder) / "one.h5"
        if given.scan is None:
            make_scan(raw, 5)
        make_scan(first, 1)
        offered = ["-d", str(given.dictionary)] if given.dictionary else []
        line = [sys.executable, "-c", "from mrfpipe.cli import main; main()", "serve", "--port", "0"]
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen([*line, *offered, *options], **piped) as server:
            said, told = server.stderr or sys.stdin, server.stdout or sys.stdin
            port = next(int(text.split(" for ")[0].rpartition(":")[2]) for text in said if "listening" in text)
            stream(first, port, 0.0, server.pid)
            made = stream(raw, port, given.seconds, server.pid)
            memory = peak_memory_gb(server.pid)
            print(told.readline(), told.readline(), sep="", end="")
            server.terminate()
    report(
        "Last map after the last readout",
        {
            "last map": made.waited,
            "processors, during the scan": made.during,
            "processors, after it": made.after,
        },
        "s",
        seconds_of_scan=given.seconds,
        images=made.n_images,
        peak_memory_gb=round(memory, 2),
        by="matching" if given.dictionary else "network",
        options=" ".join(options),
    )


if __name__ == "__main__":
    main()
