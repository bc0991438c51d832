"""Ideally spoiled FLASH train after an inversion: the transverse magnetisation is gone before every pulse.

Then the longitudinal magnetisation alone has a memory, it depends on T1 and B1 only, and off-resonance is nothing but
the phase of the echo (see `mrfpipe.physics.simulate`). This is the model of the sequence's authors (Marty and Carlier,
Magn Reson Med 83:621, 2020), with an inversion that does not depend on B1.
"""

import numpy as np
from numba import njit, prange

from mrfpipe.arrays import Double, Int
from mrfpipe.protocol import Sequence

STEADY_STATE_REPETITIONS = 2
"""Repetitions simulated; the last is kept. From the second on the train changes by less than 3e-5 in norm, the first
differs by up to 7 % (T1 2 s, B1 1) because it starts from equilibrium."""


@njit(cache=True)
def _invert(mz: float) -> float:
    return -mz


@njit(cache=True)
def _recover(mz: float, decay: float) -> float:
    """Relax towards equilibrium 1; `decay` is exp(-t / T1)."""
    return 1.0 + (mz - 1.0) * decay


@njit(parallel=True, cache=True)
def _flash_echoes(
    t1: Double,
    b1: Double,
    flips: Double,
    flip_of: Int,
    trs: Double,
    tr_of: Int,
    decay_te: Double,
    ti: float,
    recovery: float,
    repetitions: int,
) -> Double:
    """Simulate pairs of T1 and B1.

    A train has few different pulses and intervals: `flip_of` and `tr_of` say which of `flips` and `trs` a spoke has, so
    that sines and exponentials are computed once a voxel.
    """
    echoes = np.empty((t1.size, flip_of.size))
    for v in prange(t1.size):
        sine, cosine = np.sin(b1[v] * flips), np.cos(b1[v] * flips)
        decay_tr, decay_ti, decay_recovery = np.exp(-trs / t1[v]), np.exp(-ti / t1[v]), np.exp(-recovery / t1[v])
        mz = 1.0
        for _ in range(repetitions):
            mz = _recover(_invert(mz), decay_ti)
            for spoke in range(flip_of.size):
                echoes[v, spoke] = mz * sine[flip_of[spoke]] * decay_te[spoke]
                mz = _recover(mz * cosine[flip_of[spoke]], decay_tr[tr_of[spoke]])
            mz = _recover(mz, decay_recovery)
    return echoes


def flash_echoes(
    sequence: Sequence, t1: Double, b1: Double, t2: float, repetitions: int = STEADY_STATE_REPETITIONS
) -> Double:
    """Simulate the on-resonance echo of every spoke for pairs of T1 and B1; it is real because ideally spoiled.

    Parameters
    ----------
    sequence
        Inversion, train and recovery.
    t1
        T1 in s. Shape `(voxels)`.
    b1
        Flip angle efficacy. Shape `(voxels)`.
    t2
        T2 in s.
    repetitions
        How many times the sequence is played from equilibrium; the last is returned.

    Returns
    -------
        Echoes for an equilibrium magnetisation of 1. Shape `(voxels, spokes)`.
    """
    s = sequence
    t1, b1 = np.ascontiguousarray(t1, np.float64), np.ascontiguousarray(b1, np.float64)
    pulses, intervals = np.unique(s.flip, return_inverse=True), np.unique(s.tr, return_inverse=True)
    decay_te = np.exp(-s.te / t2)
    echoes: Double = _flash_echoes(t1, b1, *pulses, *intervals, decay_te, s.inversion_time, s.recovery, repetitions)
    return echoes


def flash_train(sequence: Sequence, t1: Double, b1: Double, t2: float) -> Double:
    """Simulate the echoes for every combination of T1 and B1, as `flash_echoes`. Shape `(t1, b1, spokes)`."""
    pairs_t1, pairs_b1 = (axis.ravel() for axis in np.meshgrid(t1, b1, indexing="ij"))
    return flash_echoes(sequence, pairs_t1, pairs_b1, t2).reshape(t1.size, b1.size, -1)
