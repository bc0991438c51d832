"""Frames: the undersampled image of every few spokes, the series that fingerprints are read from."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from mrfpipe.acquisition.scan import RawScan
from mrfpipe.arrays import Complex, Float
from mrfpipe.imaging.coils import combine_coils, estimate_coil_maps, prewhiten
from mrfpipe.imaging.density import ramp_weights
from mrfpipe.imaging.mask import tissue_mask
from mrfpipe.imaging.nufft import nufft_adjoint
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.protocol import Sequence

Progress = Callable[[int, int], None]
"""Called with the number of steps done and the number of all steps."""


def reconstruct_frames(scan: RawScan, sequence: Sequence, progress: Progress | None = None) -> FrameSeries:
    """Reconstruct all frames of all slices by density-compensated adjoint NUFFT.

    Each slice is prewhitened, its coil maps are estimated from all spokes, and every frame is gridded, coil by coil,
    and combined. Frames are in units of the scanner's signal over its noise if there is a noise scan.

    Parameters
    ----------
    scan
        Raw k-space; it fits the sequence.
    sequence
        Says how many spokes make a frame.
    progress
        Called after every frame.
    """
    n_frames, matrix = sequence.n_frames, sequence.matrix
    images = np.empty((scan.n_slices, n_frames, matrix, matrix), np.complex64)
    masks = np.empty((scan.n_slices, matrix, matrix), bool)
    for s in range(scan.n_slices):
        kspace = prewhiten(scan.kspace[s], scan.noise)
        maps = estimate_coil_maps(kspace, scan.trajectory, matrix)
        for frame, image in enumerate(_frames(kspace, scan.trajectory, maps, sequence.spokes_per_frame)):
            images[s, frame] = image
            if progress is not None:
                progress(s * n_frames + frame + 1, scan.n_slices * n_frames)
        masks[s] = tissue_mask(images[s])
    return FrameSeries(name=scan.name, images=images, mask=masks, affine=scan.affine, sequence_hash=sequence.hash)


def _frames(kspace: Complex, trajectory: Float, maps: Complex, spokes_per_frame: int) -> Iterator[Complex]:
    """Reconstruct the frames of a slice in order, as many at once as there are threads. Shape `(y, x)` each."""
    matrix = maps.shape[-1]

    def reconstruct(first: int) -> Complex:
        spokes = slice(first, first + spokes_per_frame)
        weights = ramp_weights(trajectory[spokes], matrix)
        return combine_coils(nufft_adjoint(kspace[:, spokes] * weights, trajectory[spokes], matrix), maps)

    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        yield from pool.map(reconstruct, range(0, len(trajectory), spokes_per_frame))
