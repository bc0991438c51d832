"""Quality: how well measured signals agree with the fingerprints that explain them, however these were found."""

import numpy as np

from mrfpipe.arrays import Complex, Float


def compare_signals(measured: Complex, simulated: Complex, norm: Float | None = None) -> tuple[Float, Float, Float]:
    """Compare measured signals y with simulated fingerprints d of the same voxels, in the precision they have.

    Parameters
    ----------
    measured
        Signals, none of which is all zero. Shape `(voxels, frames)` or `(voxels, rank)`.
    simulated
        Fingerprints at the estimated parameters. Shape as `measured`.
    norm
        ``|y|`` over all frames, where `measured` is the part of the signals that lies in a subspace. Shape `(voxels)`.

    Returns
    -------
        m0 ``|<d, y>| / |d|^2``, phase that of ``<d, y>`` in rad, and match ``|<d, y>| / (|d| |y|)``, which is clipped
        to 1 in case of rounding. Shape `(voxels)` each.
    """
    overlap = np.sum(simulated.conj() * measured, axis=1)
    agreement, length = np.abs(overlap), np.linalg.norm(simulated, axis=1)
    norm = np.linalg.norm(measured, axis=1) if norm is None else norm
    m0: Float = (agreement / length**2).astype(np.float32)
    match: Float = np.minimum(agreement / (length * norm), 1).astype(np.float32)
    return m0, np.angle(overlap).astype(np.float32), match
