"""Radial golden-angle trajectory, in cycles/FOV.

Convention: sample j of a spoke lies at ``k = (j - samples // 2) / oversampling`` along the spoke's direction, so that
sample ``samples // 2`` is the centre of k-space, and spoke i points along ``(cos, sin)`` of i times the angle
increment, kx first. The angle is never reset, neither between frames nor between repetitions.
"""

import numpy as np

from mrfpipe.arrays import Float
from mrfpipe.protocol import Sequence


def golden_angle_spokes(sequence: Sequence) -> Float:
    """Compute the trajectory of a sequence's spokes.

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
        If the sequence has no golden-angle spokes.
    """
    increment, oversampling = sequence.readout.angle_increment, sequence.readout.oversampling
    if increment is None or oversampling is None:
        raise ValueError("The trajectory is the scan's; the sequence does not say it.")
    angle, n_samples = increment * np.arange(sequence.n_readouts), sequence.matrix * oversampling
    k = (np.arange(n_samples) - n_samples // 2) / oversampling
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    spokes: Float = (k[None, :, None] * direction[:, None, :]).astype(np.float32)
    return spokes
