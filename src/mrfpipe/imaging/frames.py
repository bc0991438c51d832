"""Frames: the undersampled image of every few spokes, the series that fingerprints are read from."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np

from mrfpipe.acquisition.scan import RawScan
from mrfpipe.arrays import Bool, Complex, Float
from mrfpipe.imaging.coils import MapMethod, combine_coils, estimate_coil_maps, prewhiten
from mrfpipe.imaging.delays import Delays, correct_delays, estimate_delays
from mrfpipe.imaging.density import ramp_weights
from mrfpipe.imaging.mask import tissue_mask
from mrfpipe.imaging.nufft import Backend, nufft_adjoint
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.protocol import Sequence

Progress = Callable[[int, int], None]
"""Called with the number of steps done and the number of all steps."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceFrames:
    """The frames of one slice."""

    images: Complex
    """Coil-combined. Shape `(frames, y, x)`."""
    mask: Bool
    """True where there is tissue. Shape `(y, x)`."""
    coil_maps: Complex
    """Sensitivities of the prewhitened coils. Shape `(coils, y, x)`."""


def reconstruct_frames(
    scan: RawScan,
    sequence: Sequence,
    progress: Progress | None = None,
    *,
    delays: Delays | None = None,
    maps: MapMethod = "centre",
    backend: Backend = "sigpy",
) -> FrameSeries:
    """Reconstruct all frames of all slices by density-compensated adjoint NUFFT; see `reconstruct_slices`."""
    n_frames, matrix = sequence.n_frames, sequence.matrix
    images = np.empty((scan.n_slices, n_frames, matrix, matrix), np.complex64)
    masks = np.empty((scan.n_slices, matrix, matrix), bool)
    slices = reconstruct_slices(scan, sequence, progress, delays=delays, maps=maps, backend=backend)
    for s, frames in enumerate(slices):
        images[s], masks[s] = frames.images, frames.mask
    return FrameSeries(name=scan.name, images=images, mask=masks, affine=scan.affine, sequence_hash=sequence.hash)


def reconstruct_slices(
    scan: RawScan,
    sequence: Sequence,
    progress: Progress | None = None,
    *,
    delays: Delays | None = None,
    maps: MapMethod = "centre",
    backend: Backend = "sigpy",
) -> Iterator[SliceFrames]:
    """Reconstruct the frames of one slice after the other, so that never more than one is in memory.

    Each slice is prewhitened, its coil maps are estimated from all spokes, and every frame is gridded, all coils at
    once, and combined. Frames are in units of the scanner's signal over its noise if there is a noise scan.

    Parameters
    ----------
    scan
        Raw k-space; it fits the sequence.
    sequence
        Says how many spokes make a frame.
    progress
        Called after every frame.
    delays
        Of the gradients. Without them they are estimated from the scan. They are corrected if they are significant; to
        record them, estimate them first and hand them in. `mrfpipe.imaging.delays.NO_DELAYS` corrects nothing.
    maps
        How to estimate coil maps.
    backend
        What computes the NUFFT.

    Raises
    ------
    InputError
        If the noise scan cannot be whitened with.
    ResourceError
        If the backend is not installed.
    """
    found = estimate_delays(scan.kspace, scan.trajectory) if delays is None else delays
    scan = correct_delays(scan, found) if found.significant else scan
    n_steps = scan.n_slices * sequence.n_frames
    for s in range(scan.n_slices):
        kspace = prewhiten(scan.kspace[s], scan.noise)
        coil_maps = estimate_coil_maps(kspace, scan.trajectory, sequence.matrix, method=maps, backend=backend)
        images = np.empty((sequence.n_frames, sequence.matrix, sequence.matrix), np.complex64)
        for frame, image in enumerate(_frames(kspace, scan.trajectory, coil_maps, sequence.spokes_per_frame, backend)):
            images[frame] = image
            if progress is not None:
                progress(s * sequence.n_frames + frame + 1, n_steps)
        yield SliceFrames(images=images, mask=tissue_mask(images), coil_maps=coil_maps)


def _frames(
    kspace: Complex, trajectory: Float, maps: Complex, spokes_per_frame: int, backend: Backend
) -> Iterator[Complex]:
    """Reconstruct the frames of a slice in order, as many at once as there are threads. Shape `(y, x)` each."""
    matrix, n_spokes = maps.shape[-1], len(trajectory)
    weights = ramp_weights(trajectory, matrix) * np.float32(n_spokes / spokes_per_frame)

    def reconstruct(first: int) -> Complex:
        spokes = slice(first, first + spokes_per_frame)
        samples = kspace[:, spokes] * weights[spokes]
        return combine_coils(nufft_adjoint(samples, trajectory[spokes], matrix, backend=backend), maps)

    # The threads are used up by the frames: within one, the transform has a single thread.
    with ThreadPoolExecutor(numba.get_num_threads(), initializer=numba.set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(reconstruct, range(0, n_spokes, spokes_per_frame))
