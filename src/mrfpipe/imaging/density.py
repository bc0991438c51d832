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
        (kx, ky) in cycles/FOV. Shape `(spokes, samples, 2)`.
    matrix
        Voxels along x and along y.

    Returns
    -------
        Area in (cycles/FOV)^2 over the matrix squared. Shape `(spokes, samples)`.
    """
    n_spokes = check_shape("trajectory", trajectory, "spokes samples 2")["spokes"]
    radius = np.hypot(trajectory[..., 0], trajectory[..., 1])
    spacing = np.hypot(*np.moveaxis(trajectory[:, -1] - trajectory[:, 0], -1, 0))[:, None] / (trajectory.shape[1] - 1)
    ring = np.pi * radius * spacing / n_spokes
    centre = np.pi * (spacing / 2) ** 2 / n_spokes
    weights: Float = (np.maximum(ring, centre) / matrix**2).astype(np.float32)
    return weights
