"""Whole commands: seconds of the science, and of what a user waits for beside it.

    python benchmarks/commands.py [SCAN.h5]

Beside are imports, checksums, pictures, page and files; of ready frames reading and checking them, too. Of a raw scan
reading it is counted with its images. Without a scan a phantom of five slices and 12 coils is made first. Every command
runs once before it is timed, so that its kernels are compiled and its files are in memory.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import report

from mrfpipe.files.frames import read_frames_header
from mrfpipe.files.maps import read_maps_provenance
from mrfpipe.files.provenance import Provenance


def run(*words: str | Path) -> float:
    """Run a command in a process of its own; return the seconds that it took."""
    began = time.perf_counter()
    code = "from mrfpipe.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, *map(str, words), "--force"], check=True, capture_output=True)
    return time.perf_counter() - began


def science(provenance: Provenance, stages: tuple[str, ...]) -> float:
    """Add up the seconds of stages."""
    seconds = provenance.notes["seconds_of_stages"]
    return sum(seconds[name] for name in stages)


def main() -> None:
    """Time the commands and print what they took."""
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan, dictionary, frames = folder / "scan.h5", folder / "t1ff.h5", folder / "scan.frames.h5"
        if len(sys.argv) > 1:
            scan = Path(sys.argv[1])
        else:
            run("phantom", scan, "--slices", "5", "--coils", "12")
        run("simulate", "t1ff", "-o", dictionary)
        maps = folder / "results" / scan.stem / "maps.h5"
        for title, words, stages in (
            ("frames", ("frames", scan, "-o", frames), ("images",)),
            ("match frames", ("match", frames, "-d", dictionary, "-o", folder / "results"), ("matching",)),
            ("reconstruct", ("reconstruct", scan, "-o", folder / "results"), ("images", "network")),
        ):
            run(*words)
            whole = run(*words)
            made = read_frames_header(frames).provenance if title == "frames" else read_maps_provenance(maps)
            rows[f"{title}: science"] = science(made, stages)
            rows[f"{title}: beside"] = whole - rows[f"{title}: science"]
    report("Whole commands", rows, "s")


if __name__ == "__main__":
    main()
