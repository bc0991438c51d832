"""Frames: undersampled images, each from a few consecutive readouts, whose series shows the fingerprints."""

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch

from mrfpipe.arrays import Complex, Float, check_shape
from mrfpipe.imaging import nufft_torch
from mrfpipe.imaging.nufft import Backend, combined_adjoint
from mrfpipe.progress import UNTOLD, Steps

CPU = torch.device("cpu")
GRIDS = 256 << 20
"""Bytes of the grids of the frames that a GPU computes at once; its peak memory is up to four times as much."""


def reconstruct_frames(
    kspace: Complex,
    trajectory: Float,
    maps: Complex,
    density: Float,
    readouts_per_frame: int,
    *,
    backend: Backend = "sigpy",
    device: torch.device = CPU,
    progress: Steps = UNTOLD,
) -> Complex:
    """Reconstruct all frames of a slice by density-compensated adjoint NUFFT, each from its own readouts.

    Parameters
    ----------
    kspace
        Prewhitened k-space. Shape `(coils, readouts, samples)`.
    trajectory, backend
        As for `mrfpipe.imaging.nufft.nufft`, with the same errors.
    maps
        Coil sensitivities. Shape `(coils, y, x)` with as many rows as columns.
    density
        Area of every sample among all readouts; see `mrfpipe.imaging.density`. Shape `(readouts, samples)`.
    readouts_per_frame
        Consecutive readouts that make a frame.
    device
        Where to compute; on a GPU, torch is used whatever the backend.
    progress
        Called with the number of frames done and the number of all frames.

    Returns
    -------
        Coil-combined frames. Shape `(frames, y, x)`.
    """
    sizes = check_shape("trajectory", trajectory, "readouts samples 2")
    sizes = check_shape("density", density, "readouts samples", sizes)
    check_shape("kspace", kspace, "coils readouts samples", sizes | {"coils": len(maps)})
    n_frames, matrix = len(trajectory) // readouts_per_frame, maps.shape[-1]
    # The readouts of one frame alone represent all of k-space.
    weights = density * np.float32(n_frames)
    if nufft_torch.runs_on(device):
        return _frames_on(device, kspace, trajectory, maps, weights, readouts_per_frame, progress)
    images = np.empty((n_frames, matrix, matrix), np.complex64)

    def reconstruct(frame: int) -> None:
        readouts = slice(frame * readouts_per_frame, (frame + 1) * readouts_per_frame)
        samples = kspace[:, readouts] * weights[readouts]
        images[frame] = combined_adjoint(samples, trajectory[readouts], maps, backend=backend)

    # Frames are distributed over the threads, so that each transform has a single thread.
    with ThreadPoolExecutor(numba.get_num_threads(), initializer=numba.set_num_threads, initargs=(1,)) as pool:
        for done, _ in enumerate(pool.map(reconstruct, range(n_frames)), start=1):
            progress(done, n_frames)
    return images


def _frames_on(
    device: torch.device,
    kspace: Complex,
    trajectory: Float,
    maps: Complex,
    weights: Float,
    readouts_per_frame: int,
    progress: Steps,
) -> Complex:
    """Compute the same on a GPU, some frames at a time."""
    (n_coils, matrix), n_frames = maps.shape[:2], len(trajectory) // readouts_per_frame
    n_readouts = n_frames * readouts_per_frame
    points = torch.tensor(trajectory[:n_readouts], device=device).reshape(n_frames, -1, 2)
    samples = torch.tensor(kspace[:, :n_readouts], device=device) * torch.tensor(weights[:n_readouts], device=device)
    samples = samples.reshape(n_coils, n_frames, -1).transpose(0, 1)
    sensitivities = torch.tensor(maps, device=device).conj()
    images = np.empty((n_frames, matrix, matrix), np.complex64)
    at_once = max(1, GRIDS // (n_coils * (2 * matrix) ** 2 * samples.element_size()))
    for first in range(0, n_frames, at_once):
        some = slice(first, first + at_once)
        made = (sensitivities * nufft_torch.adjoint(samples[some], points[some], matrix)).sum(dim=1)
        images[some] = made.cpu().numpy()
        for done in range(first, first + len(made)):
            progress(done + 1, n_frames)
    return images
