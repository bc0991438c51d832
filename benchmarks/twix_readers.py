"""Comparison of readers of Siemens Twix files: how they handle damaged files, and how fast they are.

``python benchmarks/twix_readers.py [--files N]``; needs twixtools, and turbotwix if it is to be compared, too.

Each damaged file has a few bytes flipped, bits of its start flipped, a run of bytes overwritten or swapped with
another, or is truncated. A reader either refuses the file, or returns the samples that are in the place of the spokes
of the intact file, or silently returns something else.
"""

import argparse
import collections
import json
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import util
from pathlib import Path

import numpy as np

from mrfpipe.acquisition.heads import Heads
from mrfpipe.acquisition.readouts import imaging_of
from mrfpipe.acquisition.twix import read_twix
from mrfpipe.acquisition.twix_file import open_twix
from mrfpipe.arrays import Complex
from mrfpipe.errors import MrfpipeError

sys.path += [str(Path(__file__).parents[1] / "tests" / folder) for folder in ("", "acquisition")]

from damage import KINDS, damaged, places_of_samples, samples_at
from ismrmrd_files import N_SAMPLES, N_SPOKES, small_sequence
from twix_files import PLACES, header_bytes, place, twix_scan, write_file, write_vb_file, write_whole
from twixtools.mdb import Mdb_local

Spokes = dict[tuple[int, int], Complex]
"""Samples by the counters of slice and line."""
SLOW = 20.0  # s, time limit of a reader
MEMORY = 6 << 30


def by_bytes(path: Path) -> Spokes:
    """Read with mrfpipe, without its checks of the data."""
    with open_twix(path) as file:
        imaging: Heads = imaging_of(file.heads)
        found = file.acquisitions(imaging)
        return {
            (int(h["slice"]), int(h["kspace_encode_step_1"])): a.samples for h, a in zip(imaging, found, strict=True)
        }


def by_mrfpipe(path: Path) -> Spokes:
    """Read with mrfpipe."""
    kspace = read_twix(path, small_sequence()).kspace
    return {(s, i): kspace[PLACES[s], :, i] for s in range(len(kspace)) for i in range(kspace.shape[2])}


def by_twixtools(path: Path) -> Spokes:
    """Read with twixtools."""
    import twixtools

    (*_, last) = twixtools.read_twix(str(path), parse_pmu=False, parse_geometry=False, verbose=False)
    return {(block.cSlc, block.cLin): block.data for block in last["mdb"] if block.is_image_scan()}


def by_turbotwix(path: Path) -> Spokes:
    """Read with turbotwix."""
    import turbotwix

    with turbotwix.open_twix(str(path)) as file:
        lines = file.lines.image
        samples = np.moveaxis(np.asarray(file.read(lines)), 0, 1)
        names = zip(lines.counter("Sli").tolist(), lines.counter("Lin").tolist(), strict=True)
        return dict(zip(names, samples, strict=True))


READERS: dict[str, Callable[[Path], Spokes]] = {
    "mrfpipe": by_mrfpipe,
    "its bytes alone": by_bytes,
    "twixtools": by_twixtools,
    "turbotwix": by_turbotwix,
}


def outcome(read: Callable[[Path], Spokes], path: Path, expected: Complex) -> str:
    """Describe the result of reading a file with these expected samples. Shape `(slices, coils, readouts, samples)`."""
    signal.setitimer(signal.ITIMER_REAL, SLOW)
    try:
        found = read(path)
    except MrfpipeError:
        return "refused in a line"
    except TimeoutError:
        return "no end"
    except BaseException as e:  # noqa: BLE001 - that is what is counted
        return f"other exceptions ({type(e).__name__})"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    names = {(s, i) for s in range(len(PLACES)) for i in range(N_SPOKES)}
    is_right = set(found) == names and all(
        found[s, i].shape == expected[0, :, 0].shape
        and np.array_equal(found[s, i], expected[PLACES[s], :, i], equal_nan=True)
        for s, i in names
    )
    return "right" if is_right else "wrong without a word"


def damage(readers: dict[str, Callable[[Path], Spokes]], n_files: int, folder: Path) -> dict[str, dict[str, int]]:
    """Count the outcomes of reading damaged files, half of them VD, half VB."""
    scan, counts = twix_scan(), {name: collections.Counter[str]() for name in readers}
    whole = [write(folder / f"{i}.dat", scan).read_bytes() for i, write in enumerate((write_whole, write_vb_file))]
    places = [places_of_samples(content, scan) for content in whole]
    for number in range(n_files):
        layout, kind = number % 2, KINDS[number // 2 % len(KINDS)]
        content = damaged(whole[layout], kind, np.random.default_rng(number), 24_000)
        path = folder / "damaged.dat"
        path.write_bytes(content)
        expected = samples_at(content.ljust(len(whole[layout]), b"\0"), places[layout], N_SAMPLES)
        for name, read in readers.items():
            counts[name][outcome(read, path, expected)] += 1
    return {name: dict(sorted(of_reader.items())) for name, of_reader in counts.items()}


def seconds(readers: dict[str, Callable[[Path], Spokes]], folder: Path) -> dict[str, float]:
    """Time the reading of a slice of T1-FF of 8 coils, the best of three."""
    rng, blocks = np.random.default_rng(0), []
    for i in range(1400):
        block = Mdb_local((rng.standard_normal((8, 700)) + 1j).astype(np.complex64))
        place(block.mdh, 0, i)
        blocks.append(block)
    path = write_file(folder / "long.dat", blocks, header=header_bytes({"sSliceArray.lSize": 1}))
    taken = {}
    for name, read in readers.items():
        if name == "mrfpipe":  # it needs a scan of the small sequence
            continue
        times = []
        for _ in range(3):
            began = time.perf_counter()
            read(path)
            times.append(time.perf_counter() - began)
        taken[name] = round(min(times), 3)
    return taken


def main() -> None:
    """Print a table, and the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    def late(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    readers = {name: read for name, read in READERS.items() if name != "turbotwix" or util.find_spec("turbotwix")}
    with tempfile.TemporaryDirectory() as folder:
        taken = seconds(readers, Path(folder))
        counts = damage(readers, arguments.files, Path(folder))
    for name, of_reader in counts.items():
        print(f"{name:16} {taken.get(name, float('nan')):6.3f} s  {of_reader}")
    print(json.dumps({"seconds": taken, "damage": counts}))


if __name__ == "__main__":
    main()
