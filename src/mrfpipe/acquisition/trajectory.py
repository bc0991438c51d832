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
        (kx, ky) in cycles/FOV. Shape `(spokes, samples, 2)`.
    """
    angle = sequence.angle_increment * np.arange(sequence.n_spokes)
    k = (np.arange(sequence.n_samples) - sequence.n_samples // 2) / sequence.readout_oversampling
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    spokes: Float = (k[None, :, None] * direction[:, None, :]).astype(np.float32)
    return spokes
