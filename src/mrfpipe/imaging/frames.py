"""Frames: the undersampled image of every few readouts, the series that fingerprints are read from."""

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from mrfpipe.arrays import Complex, Float, check_shape
from mrfpipe.imaging.nufft import Backend, combined_adjoint
from mrfpipe.progress import UNTOLD, Steps


def reconstruct_frames(
    kspace: Complex,
    trajectory: Float,
    maps: Complex,
    density: Float,
    readouts_per_frame: int,
    *,
    backend: Backend = "sigpy",
    progress: Steps = UNTOLD,
) -> Complex:
    """Reconstruct all frames of a slice by density-compensated adjoint NUFFT, each from its own readouts.

    Parameters
    ----------
    kspace
        Prewhitened k-space. Shape `(coils, readouts, samples)`.
    trajectory, backend
        As for `mrfpipe.imaging.nufft.nufft`, and so are errors.
    maps
        Coil sensitivities. Shape `(coils, y, x)` with as many rows as columns.
    density
        Area of every sample among all readouts; see `mrfpipe.imaging.density`. Shape `(readouts, samples)`.
    readouts_per_frame
        Consecutive readouts that make a frame.
    progress
        Called with the number of frames done and of all.

    Returns
    -------
        Coil-combined frames. Shape `(frames, y, x)`.
    """
    sizes = check_shape("trajectory", trajectory, "readouts samples 2")
    sizes = check_shape("density", density, "readouts samples", sizes)
    check_shape("kspace", kspace, "coils readouts samples", sizes | {"coils": len(maps)})
    n_frames, matrix = len(trajectory) // readouts_per_frame, maps.shape[-1]
    # A frame's readouts alone stand for all of k-space.
    weights = density * np.float32(n_frames)
    images = np.empty((n_frames, matrix, matrix), np.complex64)

    def reconstruct(frame: int) -> None:
        readouts = slice(frame * readouts_per_frame, (frame + 1) * readouts_per_frame)
        samples = kspace[:, readouts] * weights[readouts]
        images[frame] = combined_adjoint(samples, trajectory[readouts], maps, backend=backend)

    # The threads are used up by the frames: within one, the transform has a single thread.
    with ThreadPoolExecutor(numba.get_num_threads(), initializer=numba.set_num_threads, initargs=(1,)) as pool:
        for done, _ in enumerate(pool.map(reconstruct, range(n_frames)), start=1):
            progress(done, n_frames)
    return images
