"""What all benchmarks share: a stopwatch a stage, peak memory, the machine they ran on, and how results are printed.

Times on shared machines wander; compare ratios within one run. A table for people comes first; the last line of the
output is one JSON document for machines.
"""

import json
import os
import platform
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path


class Stages:
    """Seconds of every named stage, in the order in which they ran."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Take the time of a block."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def peak_memory_gb() -> float:
    """Most memory that this process has held so far, imports included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def machine() -> dict[str, object]:
    """Describe processor, cores, load, Python and commit."""
    processors = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "processor": processors[0].partition(": ")[2] if processors else platform.processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def report(title: str, rows: dict[str, float], unit: str, **facts: object) -> None:
    """Print a table, the facts and the machine, and all of it as JSON on the last line."""
    print(title)
    for name, value in rows.items():
        print(f"  {name:28} {value:9.3f} {unit}")
    about = {**facts, **machine()}
    for name, fact in about.items():
        print(f"  {name:28} {fact}")
    print(json.dumps({"title": title, "unit": unit, "rows": rows, **about}))
