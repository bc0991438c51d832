"""Imaging: raw k-space to frames or a subspace with either NUFFT, and the errors of transforms, coil maps and delays.

    python benchmarks/imaging.py [SCAN.h5] [--slices 5] [--coils 12]

Without a scan, one is simulated from a phantom (a minute). Imports and compilation are not timed. Transforms are
compared with the exact sum at some of the voxels and samples. Coil maps are compared with the scanner's own (phantom
only): the root mean square difference of unit vectors, up to their phase, within tissue.

The theoretical limit: a frame of 12 coils takes 12 FFTs of 440 x 440, 12 x 5 x 440^2 x log2(440^2) = 0.2 Gflop, and
5600 samples are spread to 16 grid points for each coil, 9 Mflop in 1.1 million scattered writes, which cost as much as
the FFTs.
"""

import argparse
import importlib.util
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
from harness import Stages, peak_memory_gb, report

from mrfpipe.acquisition.raw import read_raw
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.arrays import Bool, Complex
from mrfpipe.dictionary import build_dictionary
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.coils import MapMethod, compress_coils, estimate_coil_maps, prewhiten
from mrfpipe.imaging.delays import corrected_trajectory, estimate_delays
from mrfpipe.imaging.nufft import Backend, nufft, nufft_adjoint
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.scanner import coil_maps, scan
from mrfpipe.protocol import Protocol, Sequence, load_protocol

N_LOOKED_AT = 1_500
"""Number of voxels, and of samples, at which transforms are compared with the exact sum."""


def make_scan(protocol: Protocol, n_slices: int, n_coils: int) -> tuple[RawScan, Bool]:
    """Scan a phantom; return its mask too."""
    sequence = protocol.sequence
    phantom = thigh(matrix=sequence.matrix, fov=sequence.fov, n_slices=n_slices, slice_spacing=0.012, seed=3)
    return scan(phantom, protocol, n_coils=n_coils), phantom.maps.mask


def backends() -> list[Backend]:
    """Return the NUFFTs that are installed."""
    return [name for name in get_args(Backend) if importlib.util.find_spec(name)]


def transform_errors(raw: RawScan, sequence: Sequence, backend: Backend) -> tuple[float, float]:
    """Return relative errors of forward and adjoint transform for random data of a frame, against the exact sums."""
    rng, n = np.random.default_rng(0), raw.matrix
    trajectory = raw.trajectory[: sequence.readouts_per_frame]
    k = trajectory.reshape(-1, 2).astype(np.float64)
    samples = rng.standard_normal((1, *trajectory.shape)).astype(np.float32).view(np.complex64)[..., 0]
    image = rng.standard_normal((1, n, n, 2)).astype(np.float32).view(np.complex64)[..., 0]
    y, x = rng.integers(0, n, (2, N_LOOKED_AT))
    waves = np.exp(2j * np.pi / n * (np.outer(x - n // 2, k[:, 0]) + np.outer(y - n // 2, k[:, 1])))
    exact, found = waves @ samples.ravel(), nufft_adjoint(samples, trajectory, n, backend=backend)[0, y, x]
    adjoint = float(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    some, voxel = rng.integers(0, len(k), N_LOOKED_AT), -2j * np.pi / n * (np.arange(n) - n // 2)
    along_x, along_y = np.exp(np.outer(k[some, 0], voxel)), np.exp(np.outer(k[some, 1], voxel))
    exact = np.einsum("ky,yx,kx->k", along_y, image[0], along_x, optimize=True)
    found = nufft(image, trajectory, backend=backend).ravel()[some]
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact)), adjoint


def map_error(maps: Complex, mask: Bool) -> float:
    """Return the root mean square distance of coil maps from the scanner's in tissue, as unit vectors up to phase."""
    true = coil_maps(len(maps), maps.shape[-1])
    alike = np.abs(np.sum(maps.conj() * true, axis=0) / np.linalg.norm(true, axis=0))[mask]
    return float(np.sqrt(np.mean(np.maximum(0, 2 - 2 * alike))))


def time_subspace(raw: RawScan, protocol: Protocol, backend: Backend, stages: Stages) -> float:
    """Reconstruct the first two slices in a subspace; return the time of the second, which reuses the kernels."""
    two = replace(raw, kspace=raw.kspace[:2], order=None)
    basis = build_dictionary(protocol, rank=protocol.subspace_rank).subspace
    imaging = Imaging(recon="subspace", backend=backend, correct_delays=False)
    slices = iter(Reconstruction(two, protocol.sequence, imaging, basis=basis))
    with stages.time(f"subspace, {backend}, first slice"):
        next(slices)
    start = time.perf_counter()
    for _ in slices:
        pass
    return round(time.perf_counter() - start, 1)


def main() -> None:
    """Time the stages and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("scan", nargs="?", type=Path)
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--coils", type=int, default=12)
    arguments = parser.parse_args()
    protocol, stages, facts = load_protocol("t1ff"), Stages(), dict[str, object]()
    sequence, mask = protocol.sequence, None
    if arguments.scan is None:
        raw, mask = make_scan(protocol, arguments.slices, arguments.coils)
    else:
        raw = read_raw(arguments.scan, sequence)
    facts["memory_with_scan_gb"] = round(peak_memory_gb(), 2)
    for backend in backends():
        forward, adjoint = transform_errors(raw, sequence, backend)  # compiles, too
        facts[f"error_{backend}"] = f"forward {forward:.1e}, adjoint {adjoint:.1e}"
    with stages.time("delays"):
        found = estimate_delays(raw.kspace, raw.trajectory)
    facts["delays_found"] = f"{found.x:.4f}, {found.y:.4f}, {found.xy:.4f} (significant: {found.significant})"
    for backend in backends():
        start = time.process_time()
        with stages.time(f"frames, {backend}"):
            for _ in Reconstruction(raw, sequence, Imaging(backend=backend, correct_delays=False)):
                pass
        facts[f"processor_seconds_{backend}"] = round(time.process_time() - start, 1)
        facts[f"subspace_seconds_a_slice_{backend}"] = time_subspace(raw, protocol, backend, stages)
    facts["peak_memory_gb"] = round(peak_memory_gb(), 2)
    true = corrected_trajectory(raw.trajectory, found) if found.significant else raw.trajectory
    first = raw.kspace[0] if mask is not None else prewhiten(raw.kspace[0], raw.noise)
    for method in get_args(MapMethod):
        with stages.time(f"coil maps, {method}, a slice"):
            maps = estimate_coil_maps(first, true, raw.matrix, method=method)
        if mask is not None:
            facts[f"map_error_{method}"] = round(map_error(maps, mask[0]), 4)
    with stages.time("coil compression, a slice"):
        _, energy = compress_coils(first, max(1, raw.n_coils // 2))
    facts["energy_of_half_the_coils"] = round(energy, 6)
    facts["scan"] = f"{raw.n_slices} slice(s), {raw.n_coils} coils"
    report("Imaging", stages.seconds, "s", **facts)


if __name__ == "__main__":
    main()
