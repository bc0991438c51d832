"""Isochromats: Bloch simulation of spins spread evenly over one unit of the gradients' dephasing.

A pulse rotates every spin from z towards x. The spin then relaxes and precesses counterclockwise with off-resonance;
where the gradients dephase, spin j of J precesses by an additional j / J of a turn. The signal is the mean over the
spins. The simulation is exact if there are more spins than twice the number of dephasings whose effect lasts; with
fewer, dephased magnetisation returns as if it were refocused. It is slow and simple, the reference that
`mrfpipe.physics.epg` is tested against.
"""

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from mrfpipe.arrays import Double
from mrfpipe.physics.events import PREPARATION, UNREAD, Events, prepared, recover
from mrfpipe.physics.tissue import WHOLE, Parts, check_signals

N_SPINS = 256
"""Default number of spins."""

ComplexDouble = npt.NDArray[np.complex128]


@njit(cache=True)
def rotate(mx: float, mz: float, cosine: float, sine: float) -> tuple[float, float]:
    """Rotate z towards x."""
    return cosine * mx + sine * mz, cosine * mz - sine * mx


@njit(cache=True)
def _prepare(mx: Double, my: Double, mz: Double, factor: float) -> None:
    """Crush the transverse magnetisation; invert, saturate or T2-weight the longitudinal."""
    for j in range(mx.size):
        mx[j], my[j], mz[j] = 0, 0, factor * mz[j]


@njit(cache=True)
def _pulse(mx: Double, mz: Double, angle: float) -> None:
    cosine, sine = np.cos(angle), np.sin(angle)
    for j in range(mx.size):
        mx[j], mz[j] = rotate(mx[j], mz[j], cosine, sine)


@njit(cache=True)
def _mean(mx: Double, my: Double) -> complex:
    re, im = 0.0, 0.0
    for j in range(mx.size):
        re += mx[j]
        im += my[j]
    return complex(re / mx.size, im / mx.size)


@njit(cache=True)
def _wait(mx: Double, my: Double, mz: Double, dephasing: ComplexDouble, turn: complex, decay: float) -> None:
    """Relax, precess by `turn` and dephase each spin by its own angle."""
    for j in range(mx.size):
        moved = complex(mx[j], my[j]) * (turn * dephasing[j])
        mx[j], my[j], mz[j] = moved.real, moved.imag, recover(mz[j], decay)


@njit(cache=True)
def _part(
    events: Events,
    weight: float,
    scale: float,
    t1: float,
    t2: float,
    b1: float,
    df: float,
    dephasings: ComplexDouble,
    frames: ComplexDouble,
) -> None:
    """Add the signal of one part to `frames` `(frames)`; its pulses are `scale` times the nominal."""
    n_spins = dephasings.shape[1]
    mx, my, mz = np.zeros(n_spins), np.zeros(n_spins), np.ones(n_spins)
    for event in range(events.kind.size):
        row = events.pulse[event]
        if events.kind[event] == PREPARATION:
            gain, angle, spent = events.preparations[row]
            _prepare(mx, my, mz, prepared(gain, angle, spent, b1, t2))
            continue
        interval, frame = events.interval[event], events.frame[event]
        te, duration = events.intervals[interval]
        _pulse(mx, mz, b1 * scale * events.flips[row])
        if frame != UNREAD:
            frames[frame] += weight * _mean(mx, my) * np.exp(te * (2j * np.pi * df - 1 / t2))
        turn = np.exp(duration * (2j * np.pi * df - 1 / t2) - 1j * events.turn[event])
        _wait(mx, my, mz, dephasings[events.cycles[interval]], turn, np.exp(-duration / t1))


@njit(parallel=True, cache=True)
def _all(
    events: Events,
    parts: Parts,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    dephasings: ComplexDouble,
    signals: ComplexDouble,
) -> None:
    for v in prange(t1.size):
        for part in range(parts.weights.size):
            _part(
                events,
                parts.weights[part] / events.readouts_per_frame,
                parts.flip_scales[part],
                t1[v],
                t2[v],
                b1[v],
                df[v] + parts.shifts[part],
                dephasings,
                signals[v],
            )


def bloch_signals(
    events: Events,
    *,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    parts: Parts = WHOLE,
    n_spins: int = N_SPINS,
) -> ComplexDouble:
    """Simulate the signal of every frame with isochromats.

    Parameters
    ----------
    events, t1, t2, b1, df, parts
        As for `mrfpipe.physics.spoiled.spoiled_signals`.
    n_spins
        Isochromats over one unit of dephasing.

    Returns
    -------
        Mean echo of the readouts of each frame, for an equilibrium magnetisation of 1, in the phase of the receiver,
        which follows the RF. Shape `(signals, frames)`.
    """
    t1, t2, b1, df = check_signals(t1=t1, t2=t2, b1=b1, df=df)
    cycles = np.outer([0, 1], np.arange(n_spins) / n_spins)
    signals = np.zeros((t1.size, events.n_frames), np.complex128)
    _all(events, parts, t1, t2, b1, df, np.exp(2j * np.pi * cycles), signals)
    return signals
