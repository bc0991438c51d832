"""Ideal spoiling: the transverse magnetisation is zero before every pulse.

Only the longitudinal magnetisation then carries over from pulse to pulse. It depends on T1, on B1 and, through T2
preparations, on T2; off-resonance only affects the phase of the echo. This is the model of the authors of T1-FF (Marty
and Carlier, Magn Reson Med 83:621, 2020).
"""

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from mrfpipe.arrays import Double
from mrfpipe.physics.events import PREPARATION, UNREAD, Events, prepared, recover
from mrfpipe.physics.tissue import LANES, WHOLE, Parts, check_signals, fill_lanes

ComplexDouble = npt.NDArray[np.complex128]


@njit(cache=True)
def _prepare(mz: Double, factor: Double) -> None:
    """Invert, saturate or T2-weight the longitudinal magnetisation."""
    for v in range(LANES):
        mz[v] *= factor[v]


@njit(cache=True)
def _tip_and_recover(mz: Double, pulse: Double, interval: Double) -> None:
    """Apply the pulse to the longitudinal magnetisation, and recover until the next event."""
    for v in range(LANES):
        mz[v] = recover(mz[v] * pulse[LANES + v], interval[v])


@njit(cache=True)
def _tip_read_and_recover(mz: Double, pulse: Double, interval: Double, frame: Double) -> None:
    """Do the same, and add the echo of the excited magnetisation to the frame."""
    for v in range(LANES):
        transverse = mz[v] * pulse[v]
        frame[v] += transverse * interval[LANES + v]
        frame[LANES + v] += transverse * interval[2 * LANES + v]
        mz[v] = recover(mz[v] * pulse[LANES + v], interval[v])


@njit(cache=True)
def _tables(
    events: Events, scale: float, t1: Double, t2: Double, b1: Double, df: Double
) -> tuple[Double, Double, Double]:
    """Compute the effect of each pulse, interval and preparation on each lane, once per signal."""
    pulses, intervals = np.empty((events.flips.size, 2 * LANES)), np.empty((len(events.intervals), 3 * LANES))
    preparations = np.empty((len(events.preparations), LANES))
    for v in range(LANES):
        for i in range(events.flips.size):
            flip = b1[v] * scale * events.flips[i]
            pulses[i, v], pulses[i, LANES + v] = np.sin(flip), np.cos(flip)
        for i in range(len(events.intervals)):
            te, duration = events.intervals[i]
            echo = np.exp(te * (2j * np.pi * df[v] - 1 / t2[v]))
            intervals[i, v] = np.exp(-duration / t1[v])
            intervals[i, LANES + v], intervals[i, 2 * LANES + v] = echo.real, echo.imag
        for i in range(len(events.preparations)):
            gain, angle, duration = events.preparations[i]
            preparations[i, v] = prepared(gain, angle, duration, b1[v], t2[v])
    return pulses, intervals, preparations


@njit(cache=True)
def _part(
    events: Events,
    weight: float,
    scale: float,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    signals: ComplexDouble,
) -> None:
    """Add the signals of one part to `signals` `(lanes, frames)`; its pulses are `scale` times the nominal."""
    pulses, intervals, preparations = _tables(events, scale, t1, t2, b1, df)
    mz, frames = np.ones(LANES), np.zeros((events.n_frames, 2 * LANES))
    for event in range(events.kind.size):
        row, interval, frame = events.pulse[event], events.interval[event], events.frame[event]
        if events.kind[event] == PREPARATION:
            _prepare(mz, preparations[row])
        elif frame == UNREAD:
            _tip_and_recover(mz, pulses[row], intervals[interval])
        else:
            _tip_read_and_recover(mz, pulses[row], intervals[interval], frames[frame])
    for i in range(events.n_frames):
        for v in range(LANES):
            signals[v, i] += weight * complex(frames[i, v], frames[i, LANES + v])


@njit(parallel=True, cache=True)
def _all(events: Events, parts: Parts, t1: Double, t2: Double, b1: Double, df: Double, signals: ComplexDouble) -> None:
    for block in prange(len(signals) // LANES):
        lanes = slice(block * LANES, (block + 1) * LANES)
        for part in range(parts.weights.size):
            _part(
                events,
                parts.weights[part] / events.readouts_per_frame,
                parts.flip_scales[part],
                t1[lanes],
                t2[lanes],
                b1[lanes],
                df[lanes] + parts.shifts[part],
                signals[lanes],
            )


def spoiled_signals(
    events: Events, *, t1: Double, t2: Double, b1: Double, df: Double, parts: Parts = WHOLE
) -> ComplexDouble:
    """Simulate the signal of every frame under ideal spoiling.

    Parameters
    ----------
    events
        Compiled sequence; RF phases and dephasing have no effect.
    t1, t2
        In s. Shape `(signals)`.
    b1
        Relative B1+. Shape `(signals)`.
    df
        Off-resonance in Hz. Shape `(signals)`.
    parts
        Parts that each signal is the sum of.

    Returns
    -------
        Mean echo of the readouts of each frame, for an equilibrium magnetisation of 1. Shape `(signals, frames)`.
    """
    full = fill_lanes(check_signals(t1=t1, t2=t2, b1=b1, df=df))
    signals = np.zeros((full[0].size, events.n_frames), np.complex128)
    _all(events, parts, *full, signals)
    return signals[: t1.size]
