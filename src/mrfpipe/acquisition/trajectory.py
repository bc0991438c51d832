"""Trajectories: positions of the samples of every readout in k-space, in cycles/FOV.

Convention for golden-angle spokes: sample j of a spoke lies at ``k = (j - samples // 2) / oversampling`` along the
direction of the spoke, so that sample ``samples // 2`` is the centre of k-space. Spoke i points along ``(cos, sin)`` of
i times the angle increment, kx first. The angle is never reset, neither between frames nor between repetitions.
"""

import numpy as np

from mrfpipe.arrays import Float, check_shape
from mrfpipe.protocol import Sequence

GYROMAGNETIC_RATIO = 42.577478518e6
"""Gyromagnetic ratio of 1H over 2 pi, in Hz/T."""
_STRAIGHT = 1.0  # cycles/FOV by which a sample may be off a straight, even spoke; closer samples are not independent
_OFF_CENTRE = 4.0  # cycles/FOV by which a spoke may miss the centre; late gradients miss it by a few samples
_SAME_PLACE = 1.0  # cycles/FOV between readouts


def golden_angle_spokes(sequence: Sequence) -> Float:
    """Compute the trajectory of the golden-angle spokes of a sequence.

    Parameters
    ----------
    sequence
        Gives the number of spokes and samples, the oversampling and the angle increment.

    Returns
    -------
        (kx, ky) in cycles/FOV. Shape `(readouts, samples, 2)`.

    Raises
    ------
    ValueError
        If the readouts of the sequence are not spokes, but have a stored trajectory.
    """
    increment, oversampling = sequence.readout.angle_increment, sequence.readout.oversampling
    if increment is None or oversampling is None:
        raise ValueError("The trajectory of stored readouts is the scan's; it cannot be computed.")
    angle, n_samples = increment * np.arange(sequence.n_readouts), sequence.matrix * oversampling
    k = (np.arange(n_samples) - n_samples // 2) / oversampling
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    spokes: Float = (k[None, :, None] * direction[:, None, :]).astype(np.float32)
    return spokes


def check_spokes(trajectory: Float) -> None:
    """Raise ValueError unless all readouts are spokes: straight, evenly sampled, with the centre between their ends.

    Parameters
    ----------
    trajectory
        (kx, ky) in cycles/FOV. Shape `(readouts, samples, 2)`.
    """
    n_samples = check_shape("trajectory", trajectory, "readouts samples 2")["samples"]
    first, last = trajectory[:, 0], trajectory[:, -1]
    along = last - first
    even = first[:, None] + np.linspace(0, 1, n_samples, dtype=np.float32)[:, None] * along[:, None]
    missed = np.abs(first[:, 0] * along[:, 1] - first[:, 1] * along[:, 0])
    if (
        np.abs(trajectory - even).max() > _STRAIGHT
        or np.any(missed > _OFF_CENTRE * np.hypot(along[:, 0], along[:, 1]))
        or np.any(np.sum(first * last, axis=1) >= 0)
    ):
        raise ValueError("The readouts are no straight, evenly sampled spokes through the centre of k-space.")


def is_one_readout_turned(trajectory: Float) -> bool:
    """Whether all readouts are rotations of one: sample j has the same distance from the centre of k-space in each.

    Parameters
    ----------
    trajectory
        (kx, ky) in cycles/FOV. Shape `(readouts, samples, 2)`.
    """
    radius = np.hypot(trajectory[..., 0], trajectory[..., 1])
    return bool(np.ptp(radius, axis=0).max() <= _SAME_PLACE)
