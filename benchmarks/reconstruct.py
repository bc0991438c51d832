"""Raw scan to maps by matching and by networks, stage by stage, in one run; all methods start from the same frames.

    python benchmarks/reconstruct.py [SCAN.h5] [--device cpu|cuda] [--groups DICT.h5]

Without a scan, a phantom of one slice and 8 coils is made first; where sigpy or ismrmrd is missing, for example on a
bare GPU machine, its frames are simulated and the first two stages are left out. DICT.h5 is a dictionary made with
`mrfpipe simulate t1ff --groups`, for group matching.

The networks are the architecture of preset `paper`, 5 million parameters over 350 channels, in float32 and in bfloat16,
and that of preset `small` on rank-16 coefficients, both with random weights, since times do not depend on them; and the
bundled network, if there is one. A network's time includes encoding or scaling, the network, and the simulation of
every voxel's fingerprint for M0 and match. Imports and compilation are not timed: everything runs on a small problem
before. Brute force runs on a few voxels, spread over the slice, and its time is scaled to all voxels. With `--device
cuda`, the scan is still read and gridded on the CPU.

The theoretical limit of the paper's network: 10 Mflop per voxel, two operations for every weight.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from harness import Stages, peak_memory_gb, report
from match import phantom_frames

from mrfpipe.dictionary import Dictionary, build_dictionary
from mrfpipe.errors import MrfpipeError
from mrfpipe.files.dictionaries import load_dictionary, load_groups
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.inference import Precision, reconstruct
from mrfpipe.learning.model import TrainedModel, load_model
from mrfpipe.learning.network import initial_network
from mrfpipe.learning.presets import PRESETS
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.learning.shipped import shipped_model
from mrfpipe.matching.brute import match_brute
from mrfpipe.matching.match import match_series
from mrfpipe.protocol import Protocol, load_protocol

N_BRUTE = 100
"""Number of voxels for brute force."""


def frames_of(path: Path | None, protocol: Protocol, stages: Stages) -> FrameSeries:
    """Read a scan, or simulate one of a phantom, and reconstruct its frames."""
    try:
        from raw_to_maps import compile_kernels, make_scan

        from mrfpipe.acquisition.raw import read_raw
        from mrfpipe.imaging.reconstruction import Reconstruction
    except ImportError as e:
        print(f"  frames are simulated: {e}")
        return phantom_frames(protocol)[0]
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            path = Path(folder) / "phantom.h5"
            make_scan(protocol, path)
        compile_kernels()
        with stages.time("read"):
            scan = read_raw(path, protocol.sequence)
        with stages.time("coils and frames"):
            return Reconstruction(scan, protocol.sequence).series()


def untrained(preset: str, protocol: Protocol, encoding: Encoding | None) -> TrainedModel:
    """Build a preset's network with random weights."""
    architecture = PRESETS[preset].architecture(protocol.sequence.n_frames, len(protocol.parameters))
    network = initial_network(architecture, torch.Generator().manual_seed(0)).eval()
    return TrainedModel(
        network=network,
        architecture=architecture,
        scaling=MapScaling.of(protocol),
        encoding=encoding,
        sequence_hash=protocol.sequence.hash,
        protocol_hash=protocol.hash,
        protocol_toml=protocol.toml,
        record={},
    )


def networks(protocol: Protocol, series: FrameSeries) -> dict[str, tuple[TrainedModel, Precision]]:
    """Return the networks to time, by name."""
    encoding = Encoding.of(build_dictionary(protocol, rank=16).basis, [series])
    paper, small = untrained("paper", protocol, None), untrained("small", protocol, encoding)
    found: dict[str, tuple[TrainedModel, Precision]] = {
        "network: paper": (paper, "float32"),
        "network: paper, bfloat16": (paper, "bfloat16"),
        "network: small": (small, "float32"),
    }
    try:
        shipped = shipped_model(protocol.sequence.hash, "frames")
        found["network: as shipped for frames"] = load_model(shipped, torch.device("cpu")), "float32"
    except MrfpipeError:
        print("  no network ships yet")
    return found


def corner(series: FrameSeries) -> FrameSeries:
    """Return a few voxels of a series, for the warm-up run."""
    mask = np.zeros_like(series.mask[:1])
    y, x = np.argwhere(series.mask[0])[series.mask[0].sum() // 2]
    mask[0, y - 8 : y + 8, x - 8 : x + 8] = True
    return replace(series, images=series.images[:1], mask=mask & series.mask[:1])


def by_matching(
    series: FrameSeries, dictionary: Dictionary, groups: Path | None, device: torch.device, stages: Stages
) -> None:
    """Time exact and group matching, and brute force on some voxels of the first slice."""
    match_series(corner(series), dictionary, refined=False, device=device)
    with stages.time("exact matching"):
        match_series(series, dictionary, refined=False, device=device)
    if groups is not None:
        grouped, of_entries = load_dictionary(groups), load_groups(groups)
        match_series(corner(series), grouped, "group", groups=of_entries, refined=False, device=device)
        with stages.time("group matching"):
            match_series(series, grouped, "group", groups=of_entries, refined=False, device=device)
    signals = dictionary.compress(series.images[0][:, series.mask[0]].T)
    some = np.ascontiguousarray(signals[:: len(signals) // N_BRUTE])
    match_brute(some[:8], dictionary, device)
    timed = Stages()
    with timed.time("brute"):
        match_brute(some, dictionary, device)
    stages.seconds["brute force, scaled"] = timed.seconds["brute"] / len(some) * int(series.mask.sum())


def main() -> None:
    """Time all methods and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("scan", nargs="?", type=Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--groups", type=Path, metavar="DICT.h5")
    arguments = parser.parse_args()
    protocol, stages, device = load_protocol("t1ff"), Stages(), torch.device(arguments.device)
    series = frames_of(arguments.scan, protocol, stages)
    by_matching(series, build_dictionary(protocol, rank=12), arguments.groups, device, stages)
    for name, (model, precision) in networks(protocol, series).items():
        reconstruct(corner(series), model, protocol, device=device, precision=precision)
        with stages.time(name):
            reconstruct(series, model, protocol, device=device, precision=precision)
    exact = stages.seconds["exact matching"]
    paths = {name: taken for name, taken in stages.seconds.items() if not name.startswith(("read", "coils"))}
    report(
        "Raw scan to maps, both paths",
        stages.seconds,
        "s",
        slices=series.n_slices,
        voxels=int(series.mask.sum()),
        over_exact_matching={name: round(taken / exact, 2) for name, taken in paths.items()},
        network_s_a_slice=round(stages.seconds["network: paper"] / series.n_slices, 2),
        peak_memory_gb=round(peak_memory_gb(), 2),
        device=arguments.device,
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
