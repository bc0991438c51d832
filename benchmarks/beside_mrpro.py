"""FISP from raw scan to maps, compared with mrpro (https://pypi.org/project/mrpro): errors, time and memory of both.

    python benchmarks/beside_mrpro.py [SCAN.h5 PROTOCOL.toml]

Needs mrpro in the same environment (`pip install mrpro finufft`). Without a scan, a phantom of spheres is scanned with
the spirals of a protocol like `fisp-spiral` with a coarser grid. SCAN.h5 must have the train of `fisp`, which is
mrpro's `NeuroMRF`, with any trajectory stored in the file, and its truth beside it, as `tests/independent/brains.py`
writes them.

Both packages read the same file, simulate the same grid, reconstruct the same number of coefficients with the same
number of conjugate-gradient iterations on Toeplitz kernels, and match. mrfpipe does so first without denoising its
coefficients, since mrpro does not denoise, and then with denoising and refinement. The compilation of its kernels,
which are kept on disk from then on, is not timed. mrpro uses its own components: density by Voronoi cells, coil maps by
Walsh's method, `PCACompressionOp`, `NonUniformFastFourierOp.toeplitz`, `cg`, `DictionaryMatchOp`. Each package runs in
a separate process, so that peak memory, including imports, can be compared. Scores are the norm of the error divided by
the norm of the truth, over voxels whose true T2 is below 300 ms.
"""

import re
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib import resources
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from harness import Stages, peak_memory_gb, report

from mrfpipe.acquisition.ismrmrd import read_ismrmrd
from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.arrays import Bool, Float
from mrfpipe.dictionary import build_dictionary
from mrfpipe.files.truth import load_truth, save_truth, truth_path
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.lowrank import denoise_low_rank
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.imaging.subspace import N_ITERATIONS
from mrfpipe.maps import ParameterMaps
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.match import match_series
from mrfpipe.matching.refine import refine
from mrfpipe.phantom.scanner import scan
from mrfpipe.phantom.spheres import spheres
from mrfpipe.physics.simulate import signal_model
from mrfpipe.protocol import Delay, Grid, Protocol, load_protocol

RANK = 8
LONGEST_T2 = 0.3
"""Largest T2 that is scored, in s; longer ones are fluid, which 500 readouts of 12 ms hardly distinguish."""
MATCHED_AT_ONCE = 2_048
"""Number of voxels that mrpro compares with all entries at once, which limits its memory."""
SIMULATED_AT_ONCE = 8_192
SCORED = ("T1", "T2")
Result = tuple[dict[str, float], float, dict[str, dict[str, Float]]]
"""Duration of every stage in s, peak memory in GB, and the maps of every way of matching for the voxels of the mask."""
COARSER = {
    "T1": "[[100, 500, 20], [550, 2000, 50], [2100, 4000, 100]]",
    "T2": "[[10, 100, 5], [110, 300, 10]]",
    "B1": "[[0.8, 1.1, 0.05]]",
}


def spheres_scan(folder: Path) -> tuple[Path, Path]:
    """Scan the spheres; return scan and protocol."""
    text = (resources.files("mrfpipe.dictionaries") / "fisp-spiral.toml").read_text()
    for name, ranges in COARSER.items():
        text = re.sub(rf"(\[parameters\.{name}\]\nquantity = \"\w+\"\nranges = ).*", rf"\g<1>{ranges}", text)
    (folder / "fisp.toml").write_text(text)
    protocol = load_protocol(folder / "fisp.toml")
    phantom = spheres(matrix=protocol.sequence.matrix, fov=protocol.sequence.fov, n_slices=1)
    write_ismrmrd(scan(phantom, protocol), protocol.sequence, folder / "spheres.h5")
    save_truth(phantom.maps, phantom.rois, truth_path(folder / "spheres.h5"))
    return folder / "spheres.h5", folder / "fisp.toml"


def by_mrfpipe(raw: Path, protocol: Protocol, mask: Bool) -> Result:
    """Map the scan by matching the images of `--recon subspace --nufft finufft`, on the grid and with refinement."""
    stages = Stages()
    few = Grid(axes={name: axis[:: axis.size // 4] for name, axis in protocol.grid.items()})
    small = build_dictionary(replace(protocol, grid=few), model=signal_model(protocol), rank=RANK)  # compiles
    refine(np.ones((64, RANK), np.complex64), match_exact(np.ones((64, RANK), np.complex64), small).entry, small)
    with stages.time("simulate and compress"):
        dictionary = build_dictionary(protocol, model=signal_model(protocol))
    with stages.time("read"):
        scanned = read_ismrmrd(raw, protocol.sequence)
    with stages.time("coefficients"):
        basis, imaging = np.ascontiguousarray(dictionary.basis[:, :RANK]), Imaging(recon="subspace", backend="finufft")
        reconstruction = Reconstruction(scanned, protocol.sequence, imaging, basis=basis, denoised=False)
        series = replace(reconstruction.series(), mask=mask)
    with stages.time("denoise"):
        denoised = [denoise_low_rank(torch.from_numpy(one)).numpy() for one in series.images]
        clean = replace(series, images=np.stack(denoised))
    maps = {}
    for name, images, refined in (
        ("match", series, False),
        ("match, denoised", clean, False),
        ("match and refine, denoised", clean, True),
    ):
        with stages.time(name):
            found, _ = match_series(images, dictionary, refined=refined)
        maps[name] = {parameter: found.si[parameter][mask] for parameter in SCORED}
    return stages.seconds, peak_memory_gb(), maps


def by_mrpro(raw: Path, protocol: Protocol, mask: Bool) -> Result:
    """Map the scan with mrpro's components and their default settings."""
    import mrpro
    from einops import rearrange

    data, operators, stages = mrpro.data, mrpro.operators, Stages()
    (train,) = protocol.sequence.trains
    waits = [block.duration for block in protocol.sequence.blocks if isinstance(block, Delay)]
    axes = [torch.from_numpy(protocol.grid[name]).float() for name in ("T1", "T2", "B1")]
    grid = [axis.ravel() for axis in torch.meshgrid(*axes, indexing="ij")]
    with stages.time("simulate and compress"):
        model = operators.models.NeuroMRF(
            torch.from_numpy(train.flip).float(), float(train.te[0]), float(train.tr[0]), waits[0]
        )
        parts = zip(*(axis.split(SIMULATED_AT_ONCE) for axis in grid), strict=True)
        signals = torch.cat([model(torch.ones(1), *part)[0].to(torch.complex64) for part in parts], dim=1)
        compress = operators.PCACompressionOp(signals.mT, n_components=RANK, centering=False)
        compressed = compress(signals.mT)[0].mT
        dictionary = operators.DictionaryMatchOp(lambda *_: (compressed,), batch_size=MATCHED_AT_ONCE).append(*grid)
    with stages.time("read"):
        kdata = data.KData.from_file(raw, data.traj_calculators.KTrajectoryIsmrmrd())
        kdata = kdata.prewhiten(data.KNoise.from_file(raw))
    with stages.time("coefficients"):
        weights = data.DcfData.from_traj_voronoi(kdata.traj)
        coils = mrpro.algorithms.reconstruction.DirectReconstruction(kdata, dcf=weights).csm_op
        density, size = weights.data, 2 * (protocol.sequence.matrix,)
        together = operators.NonUniformFastFourierOp(("y", "x"), size, size, kdata.traj)
        by_readout = kdata.traj.rearrange("other coils k2 k1 k0 -> (k1 other) coils k2 1 k0")
        normal = operators.NonUniformFastFourierOp(("y", "x"), size, size, by_readout).toeplitz(
            rearrange(density, "other coils k2 k1 k0 -> (k1 other) coils k2 1 k0"), compress
        )
        basis = rearrange(compress.compression_matrix.squeeze(), "rank k1 -> rank 1 1 k1 1")
        right = coils.adjoint(together.adjoint(basis * (density * kdata.data))[0])[0]
        solved = mrpro.algorithms.optimizers.cg(
            lambda x: coils.adjoint(normal(coils(x)[0])[0]), right, max_iterations=N_ITERATIONS, tolerance=0.0
        )[0]
    with stages.time("match"):
        found = dictionary(solved.squeeze()[:, torch.from_numpy(mask[0])])
    maps = {name: values.numpy() for name, values in zip(("T1", "T2", "B1"), found, strict=True)}
    return stages.seconds, peak_memory_gb(), {"match": {name: maps[name] for name in SCORED}}


def main() -> None:
    """Run both packages, one after the other, and print the results side by side."""
    with tempfile.TemporaryDirectory() as folder:
        raw, toml = map(Path, sys.argv[1:3]) if len(sys.argv) > 1 else spheres_scan(Path(folder))
        protocol = load_protocol(toml)
        truth = load_truth(raw, protocol.parameters)
        if truth is None:
            sys.exit(f"{truth_path(raw)} is not there.")
        for run in (by_mrfpipe, by_mrpro):
            with ProcessPoolExecutor(1, get_context("spawn")) as alone:
                seconds, memory, maps = alone.submit(run, raw, protocol, truth.mask).result()
            errors = {
                f"{name} of {by}, %": 100 * v for by, one in maps.items() for name, v in scores(one, truth).items()
            }
            report(
                run.__name__,
                seconds,
                "s",
                errors={k: round(v, 2) for k, v in errors.items()},
                memory_gb=round(memory, 2),
            )


def scores(maps: Mapping[str, Float], truth: ParameterMaps) -> dict[str, float]:
    """Return the norm of the error divided by that of the truth, where T2 is below `LONGEST_T2`."""
    true = {name: truth.si[name][truth.mask] for name in SCORED}
    some = true["T2"] < LONGEST_T2
    return {n: float(np.linalg.norm((maps[n] - true[n])[some]) / np.linalg.norm(true[n][some])) for n in SCORED}


if __name__ == "__main__":
    main()
