"""What a reconstruction is said to take of memory, beside what it takes."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import small_protocol

from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.errors import ResourceError
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.memory import memory_needed
from mrfpipe.run import source
from mrfpipe.run.source import open_series

GIGABYTE = 1e9
MEASURE = """
import sys
from test_memory import peak
print(*peak(int(sys.argv[1]), int(sys.argv[2])))
"""


def made_scan(protocol, n_coils=8):
    """A scan of noise, brighter at the centre of k-space as that of a body."""
    rng, trajectory = np.random.default_rng(0), golden_angle_spokes(protocol.sequence)
    shape = (1, n_coils, *trajectory.shape[:2], 2)
    kspace = rng.standard_normal(shape, dtype=np.float32).view(np.complex64)[..., 0]
    kspace *= 1 + 100 * np.exp(-np.hypot(trajectory[..., 0], trajectory[..., 1]) / 8).astype(np.float32)
    return RawScan(
        name="noise",
        kspace=kspace,
        trajectory=trajectory,
        noise=None,
        affine=np.eye(4),
        matrix=protocol.sequence.matrix,
        fov=protocol.sequence.fov,
    )


def resident(key):
    """A number of this process's from Linux, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))


def peak(matrix, rank):
    """Bytes that a reconstruction of two iterations took at its peak, and those that are counted; rank 0 for frames."""
    from itertools import islice

    from mrfpipe.imaging import subspace
    from mrfpipe.imaging.reconstruction import Reconstruction

    subspace.islice = lambda solutions, n: islice(solutions, min(n, 2))
    protocol = small_protocol(matrix=matrix)
    scan, imaging = made_scan(protocol), Imaging(recon="subspace" if rank else "nufft")
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.standard_normal((175, rank)))[0].astype(np.complex64) if rank else None
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS")
    for _ in Reconstruction(scan, protocol.sequence, imaging, basis=basis):
        pass
    return resident("VmHWM") - before, memory_needed(scan, protocol.sequence, imaging, rank or None)


def test_the_kernels_of_a_subspace_are_counted():
    protocol = small_protocol(matrix=350)
    scan = made_scan(protocol, n_coils=1)
    subspace = Imaging(recon="subspace")
    by_rank = [memory_needed(scan, protocol.sequence, subspace, rank) for rank in (8, 60)]
    kernels = [rank**2 * 4 * 350**2 * 8 for rank in (8, 60)]  # complex64, on a grid of twice the matrix
    assert kernels[1] > 14 * GIGABYTE
    assert kernels[0] < by_rank[0] < GIGABYTE
    # Beside the kernels a reconstruction holds some images a coefficient, not a coefficient squared.
    assert kernels[1] < by_rank[1] < 1.35 * kernels[1]
    # Off-resonance takes the images of a frequency, their sum so far, and k-space turned back.
    more = memory_needed(scan, protocol.sequence, replace(subspace, field_map="map.nii"), 8) - by_rank[0]
    assert more == 2 * 8 * 8 * 350**2 + scan.kspace.nbytes
    frames = memory_needed(scan, protocol.sequence, Imaging(), None)
    assert 175 * 350**2 * 8 < frames < 0.4 * GIGABYTE


def test_a_subspace_that_does_not_fit_is_refused_before_its_kernels(monkeypatch, tmp_path):
    """Rank 60, of which the images alone would fit."""
    protocol = small_protocol(matrix=350)
    scan = made_scan(protocol, n_coils=1)
    monkeypatch.setattr(source, "read_raw", lambda *_, **__: scan)
    monkeypatch.setattr(source, "schema_of", lambda _: None)
    basis = np.eye(175, 60, dtype=np.complex64)
    line = r"in a subspace of rank 60 takes 1\d\.\d GB, 8\.0 GB of memory are free; take a basis of lower rank"
    for free, fits in ((8e9, False), (24e9, True)):
        monkeypatch.setattr(source, "available_memory", lambda free=free: int(free))
        arguments = (tmp_path / "scan.h5", protocol, lambda _: lambda *_: None)
        if fits:
            open_series(*arguments, imaging=Imaging(recon="subspace"), basis=basis)
        else:
            with pytest.raises(ResourceError, match=line):
                open_series(*arguments, imaging=Imaging(recon="subspace"), basis=basis)


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux tells the peak of memory")
@pytest.mark.parametrize("rank", [0, 8, 16])
def test_what_is_counted_is_what_is_taken(rank):
    """At full size, in a process of its own; the allocator, whose leftovers vary from run to run, has a quarter."""
    folders = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "350", str(rank)],
        env=os.environ | {"PYTHONPATH": folders},
        capture_output=True,
        text=True,
        check=True,
    )
    taken, counted = map(int, done.stdout.split())
    assert 0.75 < counted / taken < 1.4, (taken, counted)
