"""Matching: time, agreement with brute force and error against the truth of every method, beside torchsim's matcher.

    python benchmarks/match.py [FRAMES.h5] [--device cpu|cuda]

Without frames a phantom is scanned first. FRAMES.truth.npz beside the frames gives the truth. Everything runs once on
few voxels before it is timed. Exact matching takes all voxels, several times; brute force, ours and torchsim's
(https://pypi.org/project/torchsim, `DictionaryMatcher` on the same compressed entries), as many as it does in seconds.

The count: brute force makes and compares 7,182,000 entries of rank 12, 8 operations each, 0.7 Gflop a voxel. The bounds
of exact matching take 375 groups x 7 dimensions x 12 x 8 operations, and of about ten groups that are then visited each
takes 122 x 12 x 8 for the inner products and 20 for each of 912 pairs: 0.55 Mflop a voxel.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from harness import peak_memory_gb, report

from mrfpipe.arrays import Complex, Int
from mrfpipe.dictionary import Dictionary, build_dictionary
from mrfpipe.evaluation.metrics import evaluate
from mrfpipe.evaluation.reference import load_reference
from mrfpipe.files.frames import load_frames
from mrfpipe.imaging.frames import reconstruct_frames
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.maps import ParameterMaps
from mrfpipe.matching.brute import match_brute
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.match import match_series
from mrfpipe.matching.refine import refine
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.scanner import scan
from mrfpipe.protocol import Protocol, load_protocol

N_BRUTE = 200
"""Voxels of brute force, spread over the slice."""
RANKS = (8, 12, 20)


def milliseconds_a_voxel(work: Callable[[], object], n_voxels: int, runs: int) -> float:
    """Time of the fastest of several runs."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return 1e3 * min(seconds) / n_voxels


def phantom_frames(protocol: Protocol) -> tuple[FrameSeries, ParameterMaps]:
    """Scan a phantom and reconstruct its frames."""
    sequence = protocol.sequence
    phantom = thigh(matrix=sequence.matrix, fov=sequence.fov, n_slices=1, slice_spacing=0.012, seed=3)
    return reconstruct_frames(scan(phantom, protocol), sequence), phantom.maps


def every_entry(dictionary: Dictionary) -> torch.Tensor:
    """All entries, for a matcher that knows no components. Shape `(entries, rank)`."""
    entries = torch.empty((dictionary.n_entries, dictionary.rank), dtype=torch.complex64)
    for start in range(0, dictionary.n_entries, 1 << 20):
        numbers = np.arange(start, min(start + (1 << 20), dictionary.n_entries))
        entries[start : start + numbers.size] = torch.from_numpy(dictionary.entries(numbers))
    return entries


def by_torchsim(signals: Complex, dictionary: Dictionary) -> tuple[float, Int] | None:
    """Milliseconds a voxel and the entries that torchsim's brute force finds; None without torchsim."""
    try:
        from torchsim.estimators import DictionaryMatcher
    except ImportError:
        return None
    matcher = DictionaryMatcher(dictionary=every_entry(dictionary))
    queries = torch.from_numpy(signals)
    taken = milliseconds_a_voxel(lambda: matcher.match(queries), len(signals), runs=1)
    return taken, matcher.match(queries).indices[:, 0].numpy()


def errors(series: FrameSeries, dictionary: Dictionary, truth: ParameterMaps | None) -> dict[str, str]:
    """RMSE of the maps on the grid and refined."""
    if truth is None:
        return {}
    found = {}
    for name, refined in (("grid", False), ("refined", True)):
        maps = match_series(series, dictionary, refined=refined)
        found[f"rmse_{name}"] = ", ".join(f"{k} {e.rmse:.4g}" for k, e in evaluate(maps, truth, None).items())
    return found


def main() -> None:
    """Time the methods and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("frames", nargs="?", type=Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    device, protocol = torch.device(arguments.device), load_protocol("t1ff")
    if arguments.frames is None:
        series, truth = phantom_frames(protocol)
    else:
        series = load_frames(arguments.frames)
        known = arguments.frames.with_name(f"{series.name}.truth.npz")
        truth = load_reference(known)[0] if known.exists() else None
    signals = series.images[0][:, series.mask[0]].T
    rows: dict[str, float] = {}
    facts: dict[str, object] = {"voxels": len(signals)}
    for rank in RANKS:
        dictionary = build_dictionary(protocol, rank=rank)
        coefficients = dictionary.compress(signals)
        some = np.ascontiguousarray(coefficients[:: len(coefficients) // N_BRUTE])
        match_exact(some, dictionary)
        rows[f"exact, rank {rank}"] = milliseconds_a_voxel(
            lambda y=coefficients, d=dictionary: match_exact(y, d), len(coefficients), runs=3
        )
        rows[f"brute, rank {rank}"] = milliseconds_a_voxel(
            lambda y=some, d=dictionary: match_brute(y, d, device), len(some), runs=1
        )
        exact, brute = match_exact(some, dictionary), match_brute(some, dictionary, device)
        facts[f"same_entry_rank_{rank}"] = round(float(np.mean(exact.entry == brute.entry)), 4)
        facts[f"worst_score_rank_{rank}"] = f"{np.max(np.abs(exact.score / brute.score - 1)):.1e}"
        if rank == 12:
            entries = match_exact(coefficients, dictionary).entry
            refine(some, exact.entry, dictionary)
            rows["refinement, rank 12"] = milliseconds_a_voxel(
                lambda y=coefficients, e=entries, d=dictionary: refine(y, e, d), len(coefficients), runs=2
            )
            theirs = by_torchsim(some, dictionary)
            if theirs is not None:
                rows["torchsim brute, rank 12"] = theirs[0]
                facts["torchsim_same_entry"] = round(float(np.mean(theirs[1] == brute.entry)), 4)
                facts["exact_over_torchsim"] = round(theirs[0] / rows["exact, rank 12"])
            facts["exact_over_brute"] = round(rows["brute, rank 12"] / rows["exact, rank 12"])
            facts |= errors(series, dictionary, truth)
    report("Matching", rows, "ms a voxel", peak_memory_gb=round(peak_memory_gb(), 2), brute_on=str(device), **facts)


if __name__ == "__main__":
    main()
