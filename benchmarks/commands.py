"""Whole commands: time spent on the computation of maps, and on everything else that a user waits for.

    python benchmarks/commands.py [SCAN.h5]

Everything else includes imports, checksums, pictures, page and files, and for a frames file also reading and checking
it. For a raw scan, the time of reading it is included in that of its images. Without a scan, a phantom of five slices
and 12 coils is made first. Every command runs once before it is timed, so that its kernels are compiled and its files
are in memory. CPU time is the sum over all threads; other programs prolong it less than the elapsed time.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import report

from mrfpipe.files.frames import read_frames_header
from mrfpipe.files.maps import read_maps_provenance


def run(*words: str | Path) -> tuple[float, float, float]:
    """Run a command in a separate process; return elapsed time and CPU time in s, and peak memory in GB."""
    began = time.perf_counter()
    code = "from mrfpipe.cli import main; main()"
    started = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words), "--force"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    complaints = started.stderr.read() if started.stderr else b""
    _, status, used = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        raise SystemExit(f"mrfpipe {' '.join(map(str, words))}:\n{complaints.decode()}")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9


def main() -> None:
    """Time the commands and print the results."""
    rows, memory = {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan, dictionary, frames = folder / "scan.h5", folder / "t1ff.h5", folder / "scan.frames.h5"
        if len(sys.argv) > 1:
            scan = Path(sys.argv[1])
        else:
            run("phantom", scan, "--slices", "5", "--coils", "12")
        run("simulate", "t1ff", "-o", dictionary)
        results = folder / "results"
        match = ("match", scan, "-d", dictionary, "-o", results, "--recon")
        for title, words, made in (
            ("match --recon nufft", (*match, "nufft"), results / scan.stem),
            ("match --recon subspace", (*match, "subspace"), results / scan.stem),
            ("match --recon joint", (*match, "joint"), results / scan.stem),
            ("reconstruct", ("reconstruct", scan, "-o", results), results / scan.stem),
            ("frames", ("frames", scan, "-o", frames), frames),
            ("match FRAMES", ("match", frames, "-d", dictionary, "-o", results), results / scan.stem),
        ):
            run(*words)
            whole, processor, memory[title] = run(*words)
            of_frames = title == "frames"
            provenance = read_frames_header(made).provenance if of_frames else read_maps_provenance(made / "maps.h5")
            seconds = dict(provenance.notes["seconds_of_stages"])
            if title == "match FRAMES":
                del seconds["images"]
            seconds |= {"beside": whole - sum(seconds.values()), "whole": whole, "CPU time": processor}
            rows |= {f"{title}: {stage}": taken for stage, taken in seconds.items()}
            print(title, {stage: round(taken, 2) for stage, taken in seconds.items()}, flush=True)
    report("Whole commands", rows, "s", peak_gb={title: round(gigabytes, 2) for title, gigabytes in memory.items()})


if __name__ == "__main__":
    main()
