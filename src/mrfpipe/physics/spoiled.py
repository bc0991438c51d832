"""Ideal spoiling: the transverse magnetisation is gone before every pulse.

Then the longitudinal magnetisation alone has a memory, it depends on T1, on B1 and, by T2 preparations, on T2, and
off-resonance is nothing but the phase of the echo. This is the model of the authors of T1-FF (Marty and Carlier, Magn
Reson Med 83:621, 2020).
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
    """Invert, saturate or let decay with T2."""
    for v in range(LANES):
        mz[v] *= factor[v]


@njit(cache=True)
def _read(mz: Double, pulse: Double, echo: Double, frame: Double) -> None:
    """Add the echo of what the pulse will tip to the frame."""
    for v in range(LANES):
        transverse = mz[v] * pulse[v]
        frame[v] += transverse * echo[v]
        frame[LANES + v] += transverse * echo[LANES + v]


@njit(cache=True)
def _tip_and_recover(mz: Double, pulse: Double, decay: Double) -> None:
    """Keep what the pulse leaves longitudinal, and recover until the next event."""
    for v in range(LANES):
        mz[v] = recover(mz[v] * pulse[LANES + v], decay[v], 1.0)


@njit(cache=True)
def _tables(
    events: Events, scale: float, t1: Double, t2: Double, b1: Double, df: Double
) -> tuple[Double, Double, Double, Double]:
    """Compute what each pulse, interval, echo and preparation does to each lane, once a signal."""
    pulses = np.empty((events.flips.size, 2 * LANES))
    decays, echoes = np.empty((len(events.intervals), LANES)), np.empty((len(events.intervals), 2 * LANES))
    preparations = np.empty((len(events.preparations), LANES))
    for v in range(LANES):
        for i in range(events.flips.size):
            flip = b1[v] * scale * events.flips[i]
            pulses[i, v], pulses[i, LANES + v] = np.sin(flip), np.cos(flip)
        for i in range(len(events.intervals)):
            te, duration = events.intervals[i]
            decays[i, v] = np.exp(-duration / t1[v])
            echo = np.exp(te * (2j * np.pi * df[v] - 1 / t2[v]))
            echoes[i, v], echoes[i, LANES + v] = echo.real, echo.imag
        for i in range(len(events.preparations)):
            gain, angle, duration = events.preparations[i]
            preparations[i, v] = prepared(gain, angle, duration, b1[v], t2[v])
    return pulses, decays, echoes, preparations


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
    pulses, decays, echoes, preparations = _tables(events, scale, t1, t2, b1, df)
    mz, frames = np.ones(LANES), np.zeros((events.n_frames, 2 * LANES))
    for event in range(events.kind.size):
        if events.kind[event] == PREPARATION:
            _prepare(mz, preparations[events.pulse[event]])
            continue
        pulse, interval = pulses[events.pulse[event]], events.interval[event]
        if events.frame[event] != UNREAD:
            _read(mz, pulse, echoes[interval], frames[events.frame[event]])
        _tip_and_recover(mz, pulse, decays[interval])
    for v in range(LANES):
        for i in range(events.n_frames):
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
        What is played; RF phases and dephasing have no effect.
    t1, t2
        In s. Shape `(signals)`.
    b1
        Flip angle efficacy. Shape `(signals)`.
    df
        Off-resonance in Hz. Shape `(signals)`.
    parts
        What each signal is the sum of.

    Returns
    -------
        Mean echo of the readouts of each frame, for an equilibrium magnetisation of 1. Shape `(signals, frames)`.
    """
    full = fill_lanes(check_signals(t1=t1, t2=t2, b1=b1, df=df))
    signals = np.zeros((full[0].size, events.n_frames), np.complex128)
    _all(events, parts, *full, signals)
    return signals[: t1.size]
