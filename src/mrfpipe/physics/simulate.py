"""From a protocol to signals: what water and fat emit, frame by frame, over the protocol's grid or voxel by voxel.

Conventions owned by this module: off-resonance turns a signal by ``exp(+2 pi i df TE)``; a fat peak's shift adds to df,
so that fat as a whole is multiplied by ``sum_k a_k exp(+2 pi i shift_k TE)``. A frame is the mean of its spokes. The
fingerprint of a voxel is ``(1 - FF) water + FF fat``.
"""

from dataclasses import dataclass

import numpy as np

from mrfpipe.arrays import Complex, Double, check_shape
from mrfpipe.physics.spoiled import flash_echoes, flash_train
from mrfpipe.protocol import Protocol, Sequence, Tissue

VOXELS_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComponentSignals:
    """The water and fat signals that all entries of a grid are made of."""

    water: Complex
    """Shape `(t1w, b1, df, frames)`."""
    fat: Complex
    """Shape `(t1f, b1, df, frames)`."""


def component_signals(protocol: Protocol) -> ComponentSignals:
    """Simulate all water and fat signals of a protocol's grid under ideal spoiling.

    Parameters
    ----------
    protocol
        Sequence, tissue and grid.

    Returns
    -------
        Frame signals for an equilibrium magnetisation of 1.

    References
    ----------
    Marty and Carlier, Magn Reson Med 83:621 (2020).
    """
    sequence, tissue, grid = protocol.sequence, protocol.tissue, protocol.grid
    water = flash_train(sequence, grid.t1w, grid.b1, tissue.t2_water)
    fat = flash_train(sequence, grid.t1f, grid.b1, tissue.t2_fat)
    return ComponentSignals(
        water=_frames(water, sequence, np.ones(sequence.n_spokes, complex), grid.df),
        fat=_frames(fat, sequence, fat_phasor(sequence, tissue), grid.df),
    )


def fat_phasor(sequence: Sequence, tissue: Tissue) -> np.ndarray[tuple[int], np.dtype[np.complex128]]:
    """Sum of the fat peaks at every echo, relative to water: ``sum_k a_k exp(2 pi i shift_k TE)``. Shape `(spokes)`."""
    turns = np.outer(sequence.te, tissue.fat_shifts)
    phasor: np.ndarray[tuple[int], np.dtype[np.complex128]] = np.exp(2j * np.pi * turns) @ tissue.fat_amplitudes
    return phasor


def _frames(
    echoes: Double, sequence: Sequence, phasor: np.ndarray[tuple[int], np.dtype[np.complex128]], df: Double
) -> Complex:
    """Give echoes `(t1, b1, spokes)` their phase and average the spokes of each frame: `(t1, b1, df, frames)`."""
    signals = np.empty((*echoes.shape[:2], df.size, sequence.n_frames), np.complex64)
    for i, hertz in enumerate(df):
        turned = echoes * (phasor * np.exp(2j * np.pi * hertz * sequence.te))
        signals[:, :, i] = frame_mean(turned, sequence)
    return signals


def frame_mean(spokes: np.ndarray[tuple[int, ...], np.dtype[np.complex128]], sequence: Sequence) -> Complex:
    """Average the spokes of each frame. Shape `(..., spokes)` to `(..., frames)`."""
    mean: Complex = (
        spokes.reshape(*spokes.shape[:-1], sequence.n_frames, sequence.spokes_per_frame).mean(-1).astype(np.complex64)
    )
    return mean


def spoke_signals(
    protocol: Protocol, *, ff: Double, t1w: Double, t1f: Double, df: Double, b1: Double
) -> np.ndarray[tuple[int, int], np.dtype[np.complex128]]:
    """Simulate the signal of each voxel at every spoke's echo.

    Parameters
    ----------
    protocol
        Sequence and tissue; the grid is not used.
    ff, t1w, t1f, df, b1
        One value a voxel, in SI units. Shape `(voxels)` each.

    Returns
    -------
        Signals for an equilibrium magnetisation of 1. Shape `(voxels, spokes)`.
    """
    sequence, tissue = protocol.sequence, protocol.tissue
    sizes = check_shape("ff", ff, "voxels")
    for name, values in (("t1w", t1w), ("t1f", t1f), ("df", df), ("b1", b1)):
        check_shape(name, values, "voxels", sizes)
    water = flash_echoes(sequence, t1w, b1, tissue.t2_water)
    fat = flash_echoes(sequence, t1f, b1, tissue.t2_fat) * fat_phasor(sequence, tissue)
    te, te_of = np.unique(sequence.te, return_inverse=True)
    phase = np.exp(2j * np.pi * np.outer(df, te))[:, te_of]
    signals: np.ndarray[tuple[int, int], np.dtype[np.complex128]] = (
        (1 - ff)[:, None] * water + ff[:, None] * fat
    ) * phase
    return signals


def fingerprints(protocol: Protocol, *, ff: Double, t1w: Double, t1f: Double, df: Double, b1: Double) -> Complex:
    """Simulate the fingerprint of each voxel: as `spoke_signals`, averaged over the spokes of each frame.

    Returns
    -------
        Shape `(voxels, frames)`.
    """
    result = np.empty((ff.size, protocol.sequence.n_frames), np.complex64)
    for start in range(0, ff.size, VOXELS_AT_ONCE):
        part = slice(start, start + VOXELS_AT_ONCE)
        signals = spoke_signals(protocol, ff=ff[part], t1w=t1w[part], t1f=t1f[part], df=df[part], b1=b1[part])
        result[part] = frame_mean(signals, protocol.sequence)
    return result
