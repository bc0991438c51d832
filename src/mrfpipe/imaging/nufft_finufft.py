"""The transforms of `mrfpipe.imaging.nufft`, by finufft (Barnett et al., SIAM J Sci Comput 41:C479, 2019).

The only user of finufft, which is imported on first use. Coils are distributed over threads here rather than inside
finufft, whose OpenMP threads wait busily for each other, which made it six times slower beside other work.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np
from numba import get_num_threads

from mrfpipe.arrays import Complex, Float

OPTIONS = {"eps": 1e-4, "upsampfac": 1.25, "nthreads": 1}
"""Options of finufft; lower accuracy would save no time."""


def forward(images: Complex, trajectory: Float) -> Complex:
    """Sample the Fourier transform of images; see `mrfpipe.imaging.nufft.nufft`."""
    transform, points = _finufft().nufft2d2, _radians(trajectory, images.shape[-1])
    samples = _shared_out(lambda part: transform(*points, part, isign=-1, **OPTIONS), images)
    return samples.reshape(len(images), *trajectory.shape[:2])


def adjoint(samples: Complex, trajectory: Float, matrix: int) -> Complex:
    """Sum samples into images; see `mrfpipe.imaging.nufft.nufft_adjoint`."""
    transform, points = _finufft().nufft2d1, _radians(trajectory, matrix)
    flat = samples.reshape(len(samples), -1)
    return _shared_out(lambda part: transform(*points, part, (matrix, matrix), isign=1, **OPTIONS), flat)


def _finufft() -> ModuleType:
    import finufft

    module: ModuleType = finufft
    return module


def _radians(trajectory: Float, matrix: int) -> tuple[Float, Float]:
    """Frequencies along y and x in radians a voxel: finufft's first frequency goes with the first axis."""
    k = trajectory.reshape(-1, 2) * (2 * np.pi / matrix)
    return np.ascontiguousarray(k[:, 1], np.float32), np.ascontiguousarray(k[:, 0], np.float32)


def _shared_out(transform: Callable[[Complex], Complex], batch: Complex) -> Complex:
    """Transform the coils of a batch, the first axis, on as many threads as the calling thread may use."""
    batch = np.ascontiguousarray(batch, np.complex64)
    n_parts = min(get_num_threads(), len(batch))
    if n_parts == 1:
        return transform(batch)
    with ThreadPoolExecutor(n_parts) as pool:
        return np.concatenate(list(pool.map(transform, np.array_split(batch, n_parts))))
