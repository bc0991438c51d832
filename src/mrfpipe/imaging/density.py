"""Density compensation: the area of k-space each sample stands for.

Weights are areas in (cycles/FOV)^2 divided by the matrix squared, so that the adjoint NUFFT of weighted, fully sampled
data is the image itself. They are computed from all readouts together, even for single frames: computed from the few
readouts of a frame alone, they would not account for the gaps between these, and the mean of the frames would not be
the image. With spirals whose turns were 19 cycles/FOV apart, that mean lacked half of the image, and a fifth of the
voxels had the fingerprint of their neighbours.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from mrfpipe.acquisition.trajectory import check_spokes
from mrfpipe.arrays import Float, check_shape
from mrfpipe.imaging.nufft import cell_sums

Weights = Callable[[Float, int], Float]
"""Function that computes the weights of a trajectory for a matrix."""
N_ITERATIONS = 10
_LEAST_STEP = 1e-3  # cycles/FOV


def weights_of(readout: Literal["golden-radial", "stored"]) -> Weights:
    """Return the function that computes the weights of a kind of readouts: the ramp for spokes, else an iteration."""
    return ramp_weights if readout == "golden-radial" else iterated_weights


def ramp_weights(trajectory: Float, matrix: int) -> Float:
    """Compute the area of every sample of evenly spread straight spokes.

    Each of n spokes, evenly spread over half a turn, crosses a ring of radius k twice. A sample stands for its share of
    the ring from one sample of its spoke to the next, ``2 pi k / (2 n)`` times the step in radius. With t the distance
    along the spoke from its point nearest to the centre, that step is ``t / k dk``, and the area is ``pi t dk / n``. If
    the spoke passes through the centre, t is k; gradient delays let spokes miss it. The sample nearest to the centre
    stands for the spoke's share of the disc within, too: ``pi (k^2 + dk^2 / 4) / n``.

    Parameters
    ----------
    trajectory, matrix
        As for `mrfpipe.imaging.nufft.nufft_adjoint`.

    Returns
    -------
        Area in (cycles/FOV)^2 over the matrix squared. Shape `(readouts, samples)`.

    Raises
    ------
    ValueError
        If the readouts are not evenly spread straight spokes.
    """
    n_readouts = check_shape("trajectory", trajectory, "readouts samples 2")["readouts"]
    check_spokes(trajectory)
    spokes = trajectory[:, -1:] - trajectory[:, :1]
    length = np.linalg.norm(spokes, axis=-1)
    spacing = length / (trajectory.shape[1] - 1)
    along = np.abs(np.sum(trajectory * spokes, axis=-1)) / length
    areas = np.pi * along * spacing / n_readouts
    nearest = np.argmin(along, axis=1)[:, None]
    radius = np.linalg.norm(np.take_along_axis(trajectory, nearest[..., None], axis=1), axis=-1)
    np.put_along_axis(areas, nearest, np.pi * (radius**2 + spacing**2 / 4) / n_readouts, axis=1)
    weights: Float = (areas / matrix**2).astype(np.float32)
    return weights


def iterated_weights(trajectory: Float, matrix: int) -> Float:
    """Compute the area of every sample of any trajectory, after Pipe and Menon, Magn Reson Med 41:179 (1999).

    Weights start as the distances between neighbouring samples of a readout. They are then repeatedly divided by the
    sum of the weights around their sample, until that sum is about 1. Samples surrounded by gaps wider than a cycle/FOV
    stand for a cell of that size and no more. Samples at the edge of k-space, which have neighbours on one side only,
    stand for about twice their area.

    Parameters
    ----------
    trajectory, matrix
        As for `ramp_weights`; the weights have the same unit.
    """
    check_shape("trajectory", trajectory, "readouts samples 2")
    steps = np.gradient(trajectory, axis=1)
    weights: Float = np.hypot(steps[..., 0], steps[..., 1]) + np.float32(_LEAST_STEP)
    for _ in range(N_ITERATIONS):
        weights /= cell_sums(weights, trajectory, matrix)
    return weights
