"""Ideally spoiled FLASH train after an inversion: the transverse magnetisation is gone before every pulse.

Then the longitudinal magnetisation alone has a memory, it depends on T1 and B1 only, and off-resonance is nothing but
the phase of the echo. This is the model of the sequence's authors (Marty and Carlier, Magn Reson Med 83:621, 2020),
with an inversion that does not depend on B1.
"""

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from mrfpipe.arrays import Double
from mrfpipe.physics.train import (
    LANES,
    STEADY_STATE_REPETITIONS,
    WHOLE,
    Parts,
    Train,
    check_signals,
    fill_lanes,
    invert,
    recover,
    train_of,
)
from mrfpipe.protocol import Sequence

ComplexDouble = npt.NDArray[np.complex128]


@njit(cache=True)
def _spoke(mz: Double, pulse: Double, interval: Double, frame: Double) -> None:
    """Tip the longitudinal magnetisation of all lanes, add the echoes to the frame and recover until the next pulse."""
    for v in range(LANES):
        sine, cosine = pulse[v], pulse[LANES + v]
        decay, echo_re, echo_im = interval[v], interval[LANES + v], interval[2 * LANES + v]
        transverse = mz[v] * sine
        frame[v] += transverse * echo_re
        frame[LANES + v] += transverse * echo_im
        mz[v] = recover(mz[v] * cosine, decay, 1.0)


@njit(cache=True)
def _tables(
    train: Train, weight: float, t1: Double, t2: Double, b1: Double, df: Double, pulses: Double, intervals: Double
) -> None:
    """Compute what pulses and intervals do to each lane, once a signal."""
    for v in range(LANES):
        for i in range(train.flips.size):
            flip = b1[v] * train.flips[i]
            pulses[i, v], pulses[i, LANES + v] = np.sin(flip), np.cos(flip)
        for i in range(len(train.times)):
            te, tr = train.times[i]
            echo = weight * np.exp(te * (2j * np.pi * df[v] - 1 / t2[v]))
            intervals[i, v] = np.exp(-tr / t1[v])
            intervals[i, LANES + v], intervals[i, 2 * LANES + v] = echo.real, echo.imag


@njit(cache=True)
def _part(
    train: Train,
    weight: float,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    repetitions: int,
    frames: ComplexDouble,
) -> None:
    """Add the signals of one part to `frames` `(lanes, frames)`."""
    pulses, intervals = np.empty((train.flips.size, 2 * LANES)), np.empty((len(train.times), 3 * LANES))
    _tables(train, weight, t1, t2, b1, df, pulses, intervals)
    mz, frame = np.ones(LANES), np.empty(2 * LANES)
    for repetition in range(repetitions):
        for v in range(LANES):
            mz[v] = invert(mz[v], train.inversion_efficiency)
            mz[v] = recover(mz[v], np.exp(-train.inversion_time / t1[v]), 1.0)
        for i in range(frames.shape[1]):
            frame[:] = 0
            for spoke in range(i * train.spokes_per_frame, (i + 1) * train.spokes_per_frame):
                _spoke(mz, pulses[train.flip_of[spoke]], intervals[train.time_of[spoke]], frame)
            if repetition == repetitions - 1:
                for v in range(LANES):
                    frames[v, i] += complex(frame[v], frame[LANES + v])
        for v in range(LANES):
            mz[v] = recover(mz[v], np.exp(-train.recovery / t1[v]), 1.0)


@njit(parallel=True, cache=True)
def _all(
    train: Train,
    parts: Parts,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    repetitions: int,
    signals: ComplexDouble,
) -> None:
    for block in prange(len(signals) // LANES):
        lanes = slice(block * LANES, (block + 1) * LANES)
        for part in range(parts.weights.size):
            _part(
                train,
                parts.weights[part] / train.spokes_per_frame,
                t1[lanes],
                t2[lanes],
                b1[lanes] * parts.flip_scales[part],
                df[lanes] + parts.shifts[part],
                repetitions,
                signals[lanes],
            )


def spoiled_signals(
    sequence: Sequence,
    *,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    parts: Parts = WHOLE,
    repetitions: int = STEADY_STATE_REPETITIONS,
) -> ComplexDouble:
    """Simulate the signal of every frame under ideal spoiling.

    Parameters
    ----------
    sequence
        Inversion, train and recovery; its RF spoiling increment has no effect.
    t1, t2
        In s. Shape `(signals)`.
    b1
        Flip angle efficacy. Shape `(signals)`.
    df
        Off-resonance in Hz. Shape `(signals)`.
    parts
        What each signal is the sum of.
    repetitions
        How many times the sequence is played from equilibrium; the last is returned.

    Returns
    -------
        Mean echo of the spokes of each frame, for an equilibrium magnetisation of 1. Shape `(signals, frames)`.
    """
    full = fill_lanes(check_signals(t1=t1, t2=t2, b1=b1, df=df))
    signals = np.zeros((full[0].size, sequence.n_frames), np.complex128)
    _all(train_of(sequence), parts, *full, repetitions, signals)
    return signals[: t1.size]
