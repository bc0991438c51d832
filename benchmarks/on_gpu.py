"""Everything that a GPU computes, compared with the CPU of the same machine and the theoretical limit.

    python benchmarks/on_gpu.py [--device cuda|cpu] [--small]

Frames are simulated from a phantom, so that only torch, numba-cuda, scipy, h5py and scikit-image are needed; images of
a raw scan are left out where finufft or ismrmrd is missing. `--small` tests the run on a small grid and a small matrix,
`--device cpu` without a GPU. Every result is printed as it comes; the last line has all of them as JSON.

Limits: a multiply-add counts as two operations. Phase graphs take 42 operations per order and repetition time, with 64
orders and 2800 pulses for a signal of T1-FF; exact matching takes 0.55 Mflop and brute force 0.7 Gflop per voxel (see
`match.py`); an iteration of the subspace takes 2 x coils x rank FFTs of 700 x 700, and rank^2 products per frequency
and coil; the paper's network takes 10 Mflop per voxel. They are divided by rates that are measured first, on large
matrix products and a large copy.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from harness import machine
from match import phantom_frames
from reconstruct import networks, untrained

from mrfpipe.dictionary import Dictionary, build_dictionary
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.model import load_model
from mrfpipe.learning.network import folded
from mrfpipe.learning.precision import exact_float32
from mrfpipe.learning.shipped import shipped_model
from mrfpipe.matching.brute import match_brute
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.group import match_group
from mrfpipe.matching.grouping import build_groups
from mrfpipe.matching.match import match_series
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.physics.simulate import MODELS, SignalModel, component_signals
from mrfpipe.protocol import Protocol, load_protocol
from mrfpipe.readout_basis import at_readouts, readout_basis

if TYPE_CHECKING:
    from mrfpipe.acquisition.scan import RawScan

CPU = torch.device("cpu")


class Results:
    """Prints every result as it comes and keeps it for the end."""

    def __init__(self) -> None:
        self.rows: dict[str, float] = {}
        self.start = time.perf_counter()

    def add(self, name: str, value: float, unit: str) -> None:
        """Print and keep a result, with the seconds since the start."""
        self.rows[f"{name} ({unit})"] = float(f"{value:.4g}")
        print(f"{time.perf_counter() - self.start:6.1f}  {name:58} {value:12.4g} {unit}", flush=True)


def seconds(work: Callable[[], object], runs: int = 1) -> float:
    """Return the duration in s of the fastest of several runs, including the device's work, without a warm-up run."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return min(taken)


def rates(device: torch.device, results: Results) -> None:
    """Measure the rates that the device reaches for a copy, and for products in the precisions that mrfpipe uses."""
    n = 8192 if device.type == "cuda" else 1024
    source = torch.randn(n * n * 4, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    taken = seconds(lambda: target.copy_(source), 5)
    results.add("copy", 2 * source.nbytes / taken / 1e9, "GB/s")
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        factors = [torch.randn(n, n, device=device, dtype=dtype) for _ in range(2)]
        product = partial(torch.matmul, *factors)
        product()
        results.add(f"product, {dtype}", 2 * n**3 / seconds(product, 3) / 1e12, "Tflop/s")


def simulation(protocol: Protocol, device: torch.device, results: Results) -> None:
    """Time the component signals of the whole grid for every model, also on the CPU for models that are fast there."""
    few = load_protocol("t1ff-small")
    for spoiling in MODELS:
        simulate = partial(component_signals, model=SignalModel(spoiling=spoiling))
        results.add(f"{spoiling}, first call", seconds(partial(simulate, few, device=device)), "s")
        results.add(f"{spoiling}, all signals", seconds(partial(simulate, protocol, device=device), 2), "s")
        if spoiling == "bloch" and device.type == "cuda":
            continue
        simulate(few, device=CPU)
        results.add(f"{spoiling}, all signals, CPU", seconds(partial(simulate, protocol, device=CPU)), "s")


def matching(dictionary: Dictionary, series: FrameSeries, device: torch.device, results: Results) -> None:
    """Time exact, brute-force and group matching of all voxels, and compare with the CPU."""
    images = np.moveaxis(series.images, 1, 0)
    signals = np.ascontiguousarray(dictionary.compress(np.ascontiguousarray(images[:, series.mask].T)))
    results.add("voxels", len(signals), "")
    results.add("exact, first call", seconds(lambda: match_exact(signals[:64], dictionary, device)), "s")
    results.add("exact", seconds(lambda: match_exact(signals, dictionary, device), 3), "s")
    match_exact(signals[:64], dictionary, CPU)
    results.add("exact, CPU", seconds(lambda: match_exact(signals, dictionary, CPU)), "s")
    ours, theirs = (match_exact(signals, dictionary, each) for each in (device, CPU))
    results.add("exact, worst score against the CPU", float(np.abs(ours.score / theirs.score - 1).max()), "")
    results.add("exact, entries as by the CPU", float(np.mean(ours.entry == theirs.entry)), "")
    some = np.ascontiguousarray(signals[:: max(1, len(signals) // 8192)])
    match_brute(some[:8], dictionary, device)
    results.add("brute, of 8192 voxels", seconds(lambda: match_brute(some, dictionary, device)), "s")
    brute = match_brute(some, dictionary, device)
    exact = match_exact(some, dictionary, device)
    results.add("exact, worst score against brute", float(np.abs(exact.score / brute.score - 1).max()), "")
    start = time.perf_counter()
    groups = build_groups(dictionary, device=device)
    results.add("build groups", time.perf_counter() - start, "s")
    match_group(some[:64], dictionary, groups, device=device)
    results.add("group", seconds(lambda: match_group(signals, dictionary, groups, device=device)), "s")
    grouped = match_group(some, dictionary, groups, device=device)
    results.add("group, voxels with the best score", float(np.mean(grouped.score > brute.score * (1 - 1e-6))), "")


def inference(protocol: Protocol, series: FrameSeries, device: torch.device, results: Results) -> None:
    """Time whole estimations by the networks on all slices, and the networks alone on slices as large as two thighs."""
    for name, (model, precision) in networks(protocol, series).items():
        one = replace(series, images=series.images[:1], mask=series.mask[:1])
        estimate = partial(reconstruct, model=model, protocol=protocol, device=device, precision=precision)
        estimate(one)
        results.add(f"{name}, maps and match", seconds(partial(estimate, series), 2), "s")
    size = (64, 64) if protocol.sequence.matrix < 350 or device.type == "cpu" else (256, 364)
    both = {"paper": untrained("paper", protocol, None), "as shipped for raw scans": load_model(shipped_model())}
    for (name, model), dtype in product(both.items(), (torch.float32, torch.bfloat16)):
        network = folded(model.network).to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.output.float()
        slices = torch.randn(5, 1, model.architecture.n_inputs, *size, device=device, dtype=dtype)
        with torch.inference_mode(), exact_float32():
            alone = partial(_each, network, slices)
            alone()
            results.add(f"network: {name}, {dtype}, alone, five slices", seconds(alone, 3), "s")


def _each(network: torch.nn.Module, slices: torch.Tensor) -> None:
    for one in slices:
        network(one.contiguous(memory_format=torch.channels_last))


def images(protocol: Protocol, dictionary: Dictionary, device: torch.device, results: Results) -> None:
    """Time the reconstruction of a raw scan as frames, subspace and joint, stage by stage and slice by slice."""
    try:
        from mrfpipe.phantom.scanner import scan
    except ImportError as e:
        print(f"  no images of raw scans: {e}", flush=True)
        return
    sequence = protocol.sequence
    phantom = thigh(matrix=sequence.matrix, fov=sequence.fov, n_slices=1, slice_spacing=0.012, seed=3)
    start = time.perf_counter()
    raw = scan(phantom, protocol, n_coils=8)
    results.add("a scan of 8 coils, made on the CPU", time.perf_counter() - start, "s")
    subspace(raw, protocol, device, results)
    slices(replace(raw, kspace=np.repeat(raw.kspace, 5, axis=0), order=None), dictionary, device, results)


def subspace(raw: "RawScan", protocol: Protocol, device: torch.device, results: Results) -> None:
    """Time the subspace reconstruction of a slice, stage by stage, and compare its images with the CPU's."""
    from mrfpipe.imaging.coils import estimate_coil_maps
    from mrfpipe.imaging.density import weights_of
    from mrfpipe.imaging.lowrank import denoise_low_rank
    from mrfpipe.imaging.subspace import normal_equations, solve_subspace, subspace_kernels

    sequence = protocol.sequence
    kspace, trajectory, weights = raw.kspace[0], raw.trajectory, weights_of(raw.readout)
    density = weights(trajectory, sequence.matrix)
    dictionary = build_dictionary(protocol)
    basis = at_readouts(dictionary.subspace, dictionary)
    maps = estimate_coil_maps(kspace, trajectory, sequence.matrix, weights=weights, backend="finufft")
    make_kernels = partial(
        subspace_kernels, trajectory, density, basis, sequence.readouts_per_frame, sequence.matrix, backend="finufft"
    )
    results.add("its kernels, first call", seconds(partial(make_kernels, device=device)), "s")
    results.add("its kernels", seconds(partial(make_kernels, device=device)), "s")
    kernels = make_kernels(device=device)
    settings = {"readouts_per_frame": sequence.readouts_per_frame, "kernels": kernels, "backend": "finufft"}
    right = partial(normal_equations, kspace, trajectory, density, maps, basis, **settings, device=device)

    def work() -> torch.Tensor:
        return torch.from_numpy(solve_subspace(right())).to(device)

    work()
    results.add("subspace, a slice", seconds(work, 2), "s")
    results.add("its right side", seconds(right, 2), "s")
    solution = work()
    results.add("its denoising", seconds(partial(denoise_low_rank, solution), 2), "s")
    if device.type == "cuda":
        settings |= {"kernels": kernels.cpu()}
        by_cpu = partial(normal_equations, kspace, trajectory, density, maps, basis, **settings)
        results.add("its right side, CPU", seconds(by_cpu), "s")
        results.add("right side, difference from the CPU's", apart(right().right, by_cpu().right), "")

        def on_cpu() -> torch.Tensor:
            return torch.from_numpy(solve_subspace(by_cpu()))

        results.add("subspace, a slice, CPU", seconds(on_cpu), "s")
        results.add("subspace, difference from the CPU's", apart(solution, on_cpu()), "")


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Return the norm of the difference divided by the norm of the second tensor."""
    return float(torch.linalg.vector_norm(ours.cpu() - theirs) / torch.linalg.vector_norm(theirs))


def slices(raw: "RawScan", dictionary: Dictionary, device: torch.device, results: Results) -> None:
    """Time slices as the commands process them, from raw samples, with coil maps, to images, or to maps if joint.

    The first slice of each kind, which includes work that all slices share, is timed separately from the next.
    """
    from mrfpipe.imaging.choices import Imaging
    from mrfpipe.imaging.reconstruction import Reconstruction

    sequence = dictionary.protocol.sequence
    with_delays = partial(Reconstruction, raw, sequence)
    results.add("gradient delays, on the CPU", seconds(with_delays), "s")
    make = partial(Reconstruction, raw, sequence, device=device)
    frames = make(Imaging(correct_delays=False))
    results.add("frames, first slice", seconds(partial(next, iter(frames))), "s")
    forget_peak(device)
    results.add("frames, five slices", seconds(lambda: [None for _ in frames]), "s")
    add_peak("frames", device, results)
    joint = Imaging(recon="joint", correct_delays=False)
    one_by_one = iter(make(joint, basis=dictionary.subspace, readout_basis=readout_basis(dictionary)))
    series: list[FrameSeries] = []
    forget_peak(device)
    results.add("joint, images of the first slice", seconds(lambda: series.append(next(one_by_one))), "s")
    match = partial(match_series, dictionary=dictionary, device=device)
    results.add("joint, its maps and deviations", seconds(lambda: match(series[0])), "s")
    add_peak("joint", device, results)
    of_images = seconds(lambda: series.append(next(one_by_one)))
    results.add("joint, a slice: images", of_images, "s")
    of_maps = seconds(lambda: match(series[1]), 2)
    results.add("joint, a slice: maps", of_maps, "s")
    results.add("joint, a slice", of_images + of_maps, "s")


def forget_peak(device: torch.device) -> None:
    """Reset the peak of the GPU's memory."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def add_peak(name: str, device: torch.device, results: Results) -> None:
    """Record the peak memory of tensors on the GPU."""
    if device.type == "cuda":
        results.add(f"{name}, memory of the GPU at its peak", torch.cuda.max_memory_allocated(device) / 1e9, "GB")


def main() -> None:
    """Run all benchmarks on a device."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    device, results = torch.device(arguments.device), Results()
    protocol = load_protocol("t1ff-small" if arguments.small else "t1ff")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(name, machine(), flush=True)
    rates(device, results)
    dictionary = build_dictionary(protocol, rank=12)
    series = phantom_frames(protocol, n_slices=1 if arguments.small else 5)[0]
    for part in (
        lambda: simulation(protocol, device, results),
        lambda: matching(dictionary, series, device, results),
        lambda: inference(protocol, series, device, results),
        lambda: images(protocol, dictionary, device, results),
    ):
        try:
            part()
        except Exception as e:  # noqa: BLE001 - a failure must not prevent the other benchmarks
            print(f"  failed: {type(e).__name__}: {e}", flush=True)
    print(json.dumps({"device": name, "rows": results.rows, **machine()}))


if __name__ == "__main__":
    main()
