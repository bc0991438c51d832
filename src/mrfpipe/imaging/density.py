"""Density compensation of radial k-space: the area of k-space each sample stands for.

For n spokes evenly spread over half a turn, a sample at radius k stands for a ring segment of ``pi k dk / n``, and the
n samples at the centre share a disc of radius dk / 2. Weights are divided by the matrix squared, so that the adjoint
NUFFT of weighted, fully sampled data is the image itself.
"""

import numpy as np

from mrfpipe.arrays import Float, check_shape


def ramp_weights(trajectory: Float, matrix: int) -> Float:
    """Compute the area of every sample of evenly spread straight spokes.

    Parameters
    ----------
    trajectory
        (kx, ky) in cycles/FOV. Shape `(readouts, samples, 2)`.
    matrix
        Voxels along x and along y.

    Returns
    -------
        Area in (cycles/FOV)^2 over the matrix squared. Shape `(readouts, samples)`.
    """
    n_readouts = check_shape("trajectory", trajectory, "readouts samples 2")["readouts"]
    radius = np.hypot(trajectory[..., 0], trajectory[..., 1])
    spacing = np.hypot(*np.moveaxis(trajectory[:, -1] - trajectory[:, 0], -1, 0))[:, None] / (trajectory.shape[1] - 1)
    ring = np.pi * radius * spacing / n_readouts
    centre = np.pi * (spacing / 2) ** 2 / n_readouts
    weights: Float = (np.maximum(ring, centre) / matrix**2).astype(np.float32)
    return weights
