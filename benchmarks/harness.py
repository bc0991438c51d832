"""Functions that all benchmarks share: timing of stages, peak memory, a description of the machine, and the report.

Times on shared machines vary; compare ratios within one run. The output starts with a readable table; its last line is
one JSON document for programs.
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
    """Durations in s of named stages, in the order in which they ran."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Measure the duration of a block."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def peak_memory_gb() -> float:
    """Return the peak memory of this process so far in GB, including imports."""
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
