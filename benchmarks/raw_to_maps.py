"""Raw scan to maps on the CPU, stage by stage: simulate the dictionary, reconstruct the frames, match every voxel.

    python benchmarks/raw_to_maps.py [SCAN.h5]

Without a scan, a phantom of one slice and 8 coils is made first. Imports and compilation are not timed: each kernel
runs once on a small problem before. Peak memory is that of the whole process, including imports.

The theoretical limit of matching: the bounds of 375 groups take 375 x 7 dimensions x 12 x 8 operations per voxel, ten
visited groups 10 x (122 x 12 x 8 + 912 x 20), together 0.55 Mflop. Visiting all groups would take 11 Mflop.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from harness import Stages, peak_memory_gb, report

from mrfpipe.acquisition.ismrmrd import read_ismrmrd
from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.dictionary import build_dictionary
from mrfpipe.files.dictionaries import load_dictionary, save_dictionary
from mrfpipe.imaging.nufft import nufft_adjoint
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.match import match_series
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.scanner import scan
from mrfpipe.protocol import Protocol, load_protocol


def make_scan(protocol: Protocol, path: Path) -> None:
    """Write a phantom's raw scan."""
    sequence = protocol.sequence
    phantom = thigh(matrix=sequence.matrix, fov=sequence.fov, n_slices=1, slice_spacing=0.012, seed=3)
    write_ismrmrd(scan(phantom, protocol), sequence, path)


def compile_kernels() -> None:
    """Run every kernel once."""
    small = build_dictionary(load_protocol("t1ff-small"), rank=12)
    match_exact(np.ones((64, 12), np.complex64), small)
    nufft_adjoint(np.ones((8, 8, 700), np.complex64), np.zeros((8, 700, 2), np.float32), 350)


def main() -> None:
    """Time the stages and print them."""
    protocol, stages = load_protocol("t1ff"), Stages()
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "phantom.h5"
        if len(sys.argv) == 1:
            make_scan(protocol, raw)
        compile_kernels()
        with stages.time("simulate: components, basis"):
            dictionary = build_dictionary(protocol)
        with stages.time("simulate: write"):
            save_dictionary(dictionary, Path(folder) / "t1ff.h5")
        size_mb = (Path(folder) / "t1ff.h5").stat().st_size / 1e6
        with stages.time("match: read dictionary"):
            dictionary = load_dictionary(Path(folder) / "t1ff.h5")
        with stages.time("match: read scan"):
            loaded = read_ismrmrd(raw, protocol.sequence)
        with stages.time("match: coils and frames"):
            series = Reconstruction(loaded, protocol.sequence).series()
        with stages.time("match: exact matching"):
            maps = match_series(series, dictionary, refined=False)[0]
    n_voxels = int(maps.mask.sum())
    report(
        "Raw scan to maps",
        stages.seconds,
        "s",
        voxels=n_voxels,
        matching_us_a_voxel=round(1e6 * stages.seconds["match: exact matching"] / n_voxels, 1),
        dictionary_mb=round(size_mb, 1),
        peak_memory_gb=round(peak_memory_gb(), 2),
        scan=f"{loaded.n_slices} slice(s), {loaded.n_coils} coils",
    )


if __name__ == "__main__":
    main()
