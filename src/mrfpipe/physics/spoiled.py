"""Ideal spoiling: the transverse magnetisation is gone before every pulse.

Then the longitudinal magnetisation alone has a memory, it depends on T1 and B1 only, and off-resonance is nothing but
the phase of the echo. This is the model of the authors of MRF T1-FF (Marty and Carlier, Magn Reson Med 83:621, 2020),
whose inversion does not depend on B1.
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
    """Multiply the longitudinal magnetisation of all lanes."""
    for v in range(LANES):
        mz[v] *= factor[v]


@njit(cache=True)
def _excite(mz: Double, pulse: Double, interval: Double) -> None:
    """Tip the longitudinal magnetisation of all lanes and let it recover until the next event."""
    for v in range(LANES):
        mz[v] = recover(mz[v] * pulse[LANES + v], interval[v], 1.0)


@njit(cache=True)
def _read(mz: Double, pulse: Double, interval: Double, echo: Double) -> None:
    """Add what the pulse is about to tip to the echo of all lanes."""
    for v in range(LANES):
        transverse = mz[v] * pulse[v]
        echo[v] += transverse * interval[LANES + v]
        echo[LANES + v] += transverse * interval[2 * LANES + v]


@njit(cache=True)
def _tabulate(
    events: Events,
    weight: float,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    pulses: Double,
    intervals: Double,
    factors: Double,
) -> None:
    """Compute what pulses, intervals and preparations do to each lane, once a signal."""
    for v in range(LANES):
        for i in range(events.flips.size):
            flip = b1[v] * events.flips[i]
            pulses[i, v], pulses[i, LANES + v] = np.sin(flip), np.cos(flip)
        for i in range(len(events.intervals)):
            te, duration = events.intervals[i]
            echo = weight * np.exp(te * (2j * np.pi * df[v] - 1 / t2[v]))
            intervals[i, v] = np.exp(-duration / t1[v])
            intervals[i, LANES + v], intervals[i, 2 * LANES + v] = echo.real, echo.imag
        for i in range(len(events.preparations)):
            gain, angle, duration = events.preparations[i]
            factors[i, v] = prepared(gain, angle, duration, b1[v], t2[v])


@njit(cache=True)
def _part(events: Events, weight: float, t1: Double, t2: Double, b1: Double, df: Double, frames: ComplexDouble) -> None:
    """Add the signals of one part to `frames` `(lanes, frames)`."""
    pulses, intervals = np.empty((events.flips.size, 2 * LANES)), np.empty((len(events.intervals), 3 * LANES))
    factors = np.empty((len(events.preparations), LANES))
    _tabulate(events, weight, t1, t2, b1, df, pulses, intervals, factors)
    mz, echoes = np.ones(LANES), np.zeros((frames.shape[1], 2 * LANES))
    for e in range(events.kind.size):
        if events.kind[e] == PREPARATION:
            _prepare(mz, factors[events.pulse[e]])
        else:
            pulse, interval = pulses[events.pulse[e]], intervals[events.interval[e]]
            if events.frame[e] != UNREAD:
                _read(mz, pulse, interval, echoes[events.frame[e]])
            _excite(mz, pulse, interval)
    for i in range(frames.shape[1]):
        for v in range(LANES):
            frames[v, i] += complex(echoes[i, v], echoes[i, LANES + v])


@njit(parallel=True, cache=True)
def _all(events: Events, parts: Parts, t1: Double, t2: Double, b1: Double, df: Double, signals: ComplexDouble) -> None:
    for block in prange(len(signals) // LANES):
        lanes = slice(block * LANES, (block + 1) * LANES)
        for part in range(parts.weights.size):
            _part(
                events,
                parts.weights[part] / events.readouts_per_frame,
                t1[lanes],
                t2[lanes],
                b1[lanes] * parts.flip_scales[part],
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
        What is played, from equilibrium; the phases of its pulses and their dephasing have no effect.
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
