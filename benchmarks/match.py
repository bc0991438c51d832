"""Matching: time, agreement with brute force and error of every method, compared with torchsim's matcher.

    python benchmarks/match.py [FRAMES.h5] [--device cpu|cuda] [--groups DICT.h5] [--figure FIGURE.png]

Without FRAMES.h5, the frames of a phantom are simulated. FRAMES.truth.npz beside the frames contains the truth. DICT.h5
is a dictionary made with `mrfpipe simulate t1ff --groups`, for group matching. Everything runs once on a few voxels
before it is timed. Exact matching is run on all voxels, several times. Brute force, ours and torchsim's
(https://pypi.org/project/torchsim, `DictionaryMatcher` on the same compressed entries), is run on as many voxels as
take seconds.

Operation counts: brute force computes and compares 7,182,000 entries of rank 12, 8 operations each, 0.7 Gflop per
voxel. The bounds of exact matching take 375 groups x 7 dimensions x 12 x 8 operations; each of the about ten groups
that are then visited takes 122 x 12 x 8 for the inner products and 20 for each of 912 pairs: 0.55 Mflop per voxel.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from harness import peak_memory_gb, report
from matplotlib.figure import Figure

from mrfpipe.arrays import Complex, Int
from mrfpipe.dictionary import Dictionary, EntryGroups, build_dictionary
from mrfpipe.files.dictionaries import load_dictionary, load_groups
from mrfpipe.files.frames import load_frames
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.maps import ParameterMaps
from mrfpipe.matching.brute import match_brute
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.group import match_group
from mrfpipe.matching.refine import refine
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.physics.simulate import fingerprints
from mrfpipe.protocol import Protocol, load_protocol

N_BRUTE = 200
"""Number of voxels for brute force, spread over the slice."""
NOISE = 0.4
"""Noise in real and imaginary part of a phantom's frames, relative to the mean signal."""
RANKS = (8, 12, 20)
KEPT = (0.001, 0.002, 0.005, 0.01, 0.02)
"""Fractions of groups that group matching keeps."""


def milliseconds_a_voxel(work: Callable[[], object], n_voxels: int, runs: int) -> float:
    """Return the time per voxel in ms of the fastest of several runs."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return 1e3 * min(seconds) / n_voxels


def phantom_frames(protocol: Protocol, n_slices: int = 1) -> tuple[FrameSeries, ParameterMaps]:
    """Simulate the frames of a phantom with as much noise as undersampling artefacts would cause; needs no NUFFT."""
    sequence, rng = protocol.sequence, np.random.default_rng(0)
    maps = thigh(matrix=sequence.matrix, fov=sequence.fov, n_slices=n_slices, slice_spacing=0.012, seed=3).maps
    images = np.zeros((n_slices, sequence.n_frames, *maps.mask.shape[1:]), np.complex64)
    for image, s in zip(images, range(n_slices), strict=True):
        inside = maps.mask[s]
        values = {p.name: maps.si[p.name][s][inside].astype(np.float64) for p in PARAMETERS}
        signals = fingerprints(protocol, values)
        noise = rng.standard_normal((*signals.shape, 2)).view(np.complex128)[..., 0]
        image[:, inside] = (signals + NOISE * np.abs(signals).mean() * noise).T
    name, sequence_hash = "phantom", sequence.hash
    return FrameSeries(name=name, images=images, mask=maps.mask, affine=maps.affine, sequence_hash=sequence_hash), maps


def every_entry(dictionary: Dictionary) -> torch.Tensor:
    """Return all entries, for a matcher without signal components. Shape `(entries, rank)`."""
    entries = torch.empty((dictionary.n_entries, dictionary.rank), dtype=torch.complex64)
    for start in range(0, dictionary.n_entries, 1 << 20):
        numbers = np.arange(start, min(start + (1 << 20), dictionary.n_entries))
        entries[start : start + numbers.size] = torch.from_numpy(dictionary.entries(numbers))
    return entries


def by_torchsim(signals: Complex, dictionary: Dictionary) -> float | None:
    """Return the time per voxel of torchsim's brute force in ms; None if torchsim is not installed."""
    try:
        from torchsim.estimators import DictionaryMatcher
    except ImportError:
        return None
    matcher = DictionaryMatcher(dictionary=every_entry(dictionary))
    matcher.match(torch.from_numpy(signals[:8]))
    return milliseconds_a_voxel(lambda: matcher.match(torch.from_numpy(signals)), len(signals), runs=1)


class Comparison:
    """Collects the times and errors of the methods on one series of frames."""

    def __init__(self, series: FrameSeries, truth: ParameterMaps | None, device: torch.device) -> None:
        self.series, self.truth, self.device = series, truth, device
        self.signals = series.images[0][:, series.mask[0]].T
        self.rows: dict[str, float] = {}
        self.facts: dict[str, object] = {"voxels": len(self.signals)}
        self.t1_errors: dict[str, float] = {}

    def error(self, name: str, dictionary: Dictionary, entries: Int, *, refined: bool = False) -> None:
        """Record the RMSE of all maps, given the matched entries of the first slice's voxels."""
        if self.truth is None:
            return
        coefficients = dictionary.compress(self.signals)
        found = refine(coefficients, entries, dictionary).parameters if refined else dictionary.parameters(entries)
        mask = self.series.mask[0]
        rmse = {}
        for p in PARAMETERS:
            truth = self.truth.si[p.name][0]
            counts = self.truth.counts(p)[0] & mask
            image = np.full(mask.shape, np.nan)
            image[mask] = found[p.name]
            rmse[p.name] = float(np.sqrt(np.mean((image - truth)[counts] ** 2))) * p.scale
        self.facts[f"rmse_{name}"] = ", ".join(f"{key} {value:.4g}" for key, value in rmse.items())
        self.t1_errors[name] = rmse["T1H2O"]

    def exact_and_brute(self, dictionary: Dictionary) -> None:
        """Time exact matching and brute force at one rank."""
        rank, coefficients = dictionary.rank, dictionary.compress(self.signals)
        some = np.ascontiguousarray(coefficients[:: len(coefficients) // N_BRUTE])
        exact = match_exact(some, dictionary, self.device)
        brute = match_brute(some[:8], dictionary, self.device)
        name = f"exact, rank {rank}"
        self.rows[name] = milliseconds_a_voxel(
            lambda: match_exact(coefficients, dictionary, self.device), len(coefficients), runs=3
        )
        self.error(name, dictionary, match_exact(coefficients, dictionary, self.device).entry)
        start = time.perf_counter()
        brute = match_brute(some, dictionary, self.device)
        self.rows[f"brute, rank {rank}"] = 1e3 * (time.perf_counter() - start) / len(some)
        self.facts[f"worst_score_rank_{rank}"] = f"{np.max(np.abs(exact.score / brute.score - 1)):.1e}"

    def beside_torchsim(self, dictionary: Dictionary) -> None:
        """Time torchsim's brute force on the same entries."""
        coefficients = dictionary.compress(self.signals)
        taken = by_torchsim(np.ascontiguousarray(coefficients[:: len(coefficients) // N_BRUTE]), dictionary)
        if taken is None:
            self.facts["torchsim"] = "not installed; pip install mrfpipe[bench]"
            return
        self.rows[f"torchsim brute, rank {dictionary.rank}"] = taken
        self.facts["exact_over_torchsim"] = round(taken / self.rows[f"exact, rank {dictionary.rank}"])

    def refinement(self, dictionary: Dictionary) -> None:
        """Measure the time that refinement adds to exact matching."""
        coefficients = dictionary.compress(self.signals)
        entries = match_exact(coefficients, dictionary).entry
        refine(coefficients[:8], entries[:8], dictionary)
        added = milliseconds_a_voxel(lambda: refine(coefficients, entries, dictionary), len(coefficients), runs=3)
        name = f"exact and refined, rank {dictionary.rank}"
        self.rows[name] = self.rows[f"exact, rank {dictionary.rank}"] + added
        self.error(name, dictionary, entries, refined=True)

    def group(self, dictionary: Dictionary, groups: EntryGroups) -> None:
        """Time group matching for several fractions of kept groups, and count how often it finds the best score."""
        coefficients = dictionary.compress(self.signals)
        best = match_exact(coefficients, dictionary).score
        match_group(coefficients[:64], dictionary, groups)
        for kept in KEPT:
            start = time.perf_counter()
            found = match_group(coefficients, dictionary, groups, kept, self.device)
            name = f"group, {kept:.1%} of {groups.n_groups:,} kept"
            self.rows[name] = 1e3 * (time.perf_counter() - start) / len(coefficients)
            self.facts[f"best_score_{name}"] = f"{np.mean(found.score >= best * (1 - 1e-5)):.2%} of voxels"
            self.error(name, dictionary, found.entry)

    def draw(self, path: Path) -> None:
        """Plot time against error; brute force has the same error as exact matching."""
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
        for name, taken in self.rows.items():
            error = self.t1_errors.get(name) or self.t1_errors[f"exact, rank {name.rpartition(' ')[2]}"]
            axes.plot(taken, error, "o", color="C1" if name.startswith("group") else "C0")
            label = name.replace(" of 16,000 kept", "")
            axes.annotate(label, (taken, error), xytext=(0, 6), textcoords="offset points", fontsize=7, rotation=50)
        axes.set(xscale="log", xlabel="ms a voxel", ylabel="RMSE of T1H2O in ms", title="Matching: time against error")
        axes.margins(y=0.25)
        axes.grid(linewidth=0.4)
        figure.savefig(path, dpi=120)


def main() -> None:
    """Time the methods and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("frames", nargs="?", type=Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--groups", type=Path, metavar="DICT.h5")
    parser.add_argument("--figure", type=Path, metavar="FIGURE.png")
    arguments = parser.parse_args()
    protocol = load_protocol("t1ff")
    if arguments.frames is None:
        series, truth = phantom_frames(protocol)
    else:
        from mrfpipe.files.truth import load_reference  # needs nibabel, which a GPU machine may lack

        series = load_frames(arguments.frames)
        known = arguments.frames.with_name(f"{series.name}.truth.npz")
        truth = load_reference(known, protocol.parameters)[0] if known.exists() else None
    comparison = Comparison(series, truth, torch.device(arguments.device))
    for rank in RANKS:
        comparison.exact_and_brute(build_dictionary(protocol, rank=rank))
    dictionary = build_dictionary(protocol, rank=12)
    comparison.refinement(dictionary)
    comparison.beside_torchsim(dictionary)
    if arguments.groups is not None and (groups := load_groups(arguments.groups)) is not None:
        comparison.group(load_dictionary(arguments.groups), groups)
    if arguments.figure is not None and comparison.t1_errors:
        comparison.draw(arguments.figure)
    comparison.facts["exact_over_brute"] = round(comparison.rows["brute, rank 12"] / comparison.rows["exact, rank 12"])
    report(
        "Matching",
        comparison.rows,
        "ms a voxel",
        peak_memory_gb=round(peak_memory_gb(), 2),
        device=arguments.device,
        **comparison.facts,
    )


if __name__ == "__main__":
    main()
