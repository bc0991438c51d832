"""Extended phase graphs: the train with what gradient and RF spoiling leave of the transverse magnetisation.

States F+, F- and Z of order 0, 1, 2, ... stand for magnetisation that gradients have dephased by so many cycles
(Weigel, J Magn Reson Imaging 41:266, 2015); F- of order n is kept as the conjugate of F(-n). The gradients of one
repetition time dephase by one cycle. A pulse by the angle a that turns z towards x mixes the states of an order::

    F+ <-  cos^2(a/2) F+ - sin^2(a/2) F- + sin(a) Z
    F- <- -sin^2(a/2) F+ + cos^2(a/2) F- + sin(a) Z
    Z  <- -sin(a)/2 (F+ + F-) + cos(a) Z

Off-resonance turns F+ by exp(+2 pi i df t). The transverse magnetisation is crushed around every inversion.

Orders are followed as long as they matter. Pulses and recovery never make a state larger, and order k needs k
repetition times in the transverse plane to come back as an echo: it adds at most its norm times exp(-k TR / T2) to any
later one. The highest orders are dropped, for a block of signals at once, where this is below a tolerance.
"""

from typing import Any

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

MOST_ORDERS = 128
"""Orders that are followed at most, unless told otherwise."""
TOLERANCE = 1e-5
"""What a dropped order may add to a later echo, relative to equilibrium. For T1-FF all that is dropped changes a signal
by less than 1e-3 of its norm."""
LOOK_EVERY = 4
"""Spokes between two looks at which orders still matter."""

FP_RE, FP_IM, FM_RE, FM_IM, Z_RE, Z_IM = (i * LANES for i in range(6))
ORDER = 6 * LANES
"""The states of an order lie side by side, real and imaginary part of F+, F- and Z, each with all lanes. Offsets that
are known when the kernel is compiled let it be vectorised."""

Real = npt.NDArray[Any]


@njit(cache=True)
def transverse(plus: float, minus: float, z: float, keep: float, swap: float, sine: float) -> tuple[float, float]:
    """F+ and F- after a pulse, real or imaginary part; keep is cos^2(a/2), swap -sin^2(a/2)."""
    return keep * plus + swap * minus + sine * z, swap * plus + keep * minus + sine * z


@njit(cache=True)
def longitudinal(plus: float, minus: float, z: float, cosine: float, half_sine: float) -> float:
    """Z after a pulse, real or imaginary part."""
    return cosine * z - half_sine * (plus + minus)


@njit(cache=True)
def _repetition_time(order: Real, pulse: Real, interval: Real, dephased: Real) -> None:
    """Play pulse, relaxation, precession and dephasing by one cycle on the states of one order.

    `dephased` has room for the orders below, at and above: F- goes down, F+ up.
    """
    for v in range(LANES):
        keep, swap, sine, cosine, half_sine = (
            pulse[v],
            pulse[LANES + v],
            pulse[2 * LANES + v],
            pulse[3 * LANES + v],
            pulse[4 * LANES + v],
        )
        decay, turn_re, turn_im = interval[v], interval[LANES + v], interval[2 * LANES + v]
        plus_re, plus_im = order[FP_RE + v], order[FP_IM + v]
        minus_re, minus_im = order[FM_RE + v], order[FM_IM + v]
        z_re, z_im = order[Z_RE + v], order[Z_IM + v]
        dephased[ORDER + Z_RE + v] = decay * longitudinal(plus_re, minus_re, z_re, cosine, half_sine)
        dephased[ORDER + Z_IM + v] = decay * longitudinal(plus_im, minus_im, z_im, cosine, half_sine)
        plus_re, minus_re = transverse(plus_re, minus_re, z_re, keep, swap, sine)
        plus_im, minus_im = transverse(plus_im, minus_im, z_im, keep, swap, sine)
        dephased[2 * ORDER + FP_RE + v] = turn_re * plus_re - turn_im * plus_im
        dephased[2 * ORDER + FP_IM + v] = turn_re * plus_im + turn_im * plus_re
        dephased[FM_RE + v] = turn_re * minus_re + turn_im * minus_im
        dephased[FM_IM + v] = turn_re * minus_im - turn_im * minus_re


@njit(cache=True)
def _spoke(states: Real, n: int, pulse: Real, interval: Real, dephased: Real) -> None:
    """Play one repetition time on the orders below n; order k lies at ORDER (k + 1), before them is room for a -1st."""
    for k in range(n):
        below = k * ORDER
        _repetition_time(
            states[below + ORDER : below + 2 * ORDER], pulse, interval, dephased[below : below + 3 * ORDER]
        )
    dephased[n * ORDER + FM_RE : n * ORDER + FM_RE + 2 * LANES] = 0
    dephased[(n + 1) * ORDER + FM_RE : (n + 2) * ORDER] = 0
    for v in range(LANES):
        dephased[ORDER + Z_RE + v] += interval[3 * LANES + v]
        dephased[ORDER + FP_RE + v] = dephased[ORDER + FM_RE + v]
        dephased[ORDER + FP_IM + v] = -dephased[ORDER + FM_IM + v]


@njit(cache=True)
def _echo(zeroth: Real, pulse: Real, at_echo: Real, frame: Real) -> None:
    """Add what order zero emits after the pulse to the frame."""
    for v in range(LANES):
        keep, swap, sine = pulse[v], pulse[LANES + v], pulse[2 * LANES + v]
        re, _ = transverse(zeroth[FP_RE + v], zeroth[FM_RE + v], zeroth[Z_RE + v], keep, swap, sine)
        im, _ = transverse(zeroth[FP_IM + v], zeroth[FM_IM + v], zeroth[Z_IM + v], keep, swap, sine)
        frame[v] += re * at_echo[v] - im * at_echo[LANES + v]
        frame[LANES + v] += re * at_echo[LANES + v] + im * at_echo[v]


@njit(cache=True)
def _orders_that_matter(states: Real, n: int, damping: float, tolerance: float) -> int:
    """Drop the highest orders while none can add more than the tolerance to an echo; `damping` is exp(-TR / T2)."""
    while n > 1:
        order = states[n * ORDER : (n + 1) * ORDER]
        least = (tolerance / damping ** (n - 1)) ** 2
        for v in range(LANES):
            transverse_energy = (
                order[FP_RE + v] ** 2 + order[FP_IM + v] ** 2 + order[FM_RE + v] ** 2 + order[FM_IM + v] ** 2
            )
            if transverse_energy + 2 * (order[Z_RE + v] ** 2 + order[Z_IM + v] ** 2) > least:
                return n
        order[:] = 0
        n -= 1
    return n


@njit(cache=True)
def _relax_without_transverse(states: Real, n: int, efficiency: float, wait: float, t1: Double) -> None:
    """Crush the transverse magnetisation, let `-efficiency` times the longitudinal recover for a time."""
    for k in range(n):
        order = states[(k + 1) * ORDER : (k + 2) * ORDER]
        for v in range(LANES):
            decay = np.exp(-wait / t1[v])
            order[FP_RE + v], order[FP_IM + v], order[FM_RE + v], order[FM_IM + v] = 0, 0, 0, 0
            order[Z_RE + v] = recover(invert(order[Z_RE + v], efficiency), decay, 1.0 if k == 0 else 0.0)
            order[Z_IM + v] = recover(invert(order[Z_IM + v], efficiency), decay, 0.0)


@njit(cache=True)
def _tables(
    train: Train, t1: Double, t2: Double, b1: Double, df: Double, pulses: Real, intervals: Real, echoes: Real
) -> None:
    """Compute what pulses and intervals do to each lane, once a signal; `intervals` before the RF phase."""
    for v in range(LANES):
        for i in range(train.flips.size):
            angle = b1[v] * train.flips[i]
            pulses[i, v], pulses[i, LANES + v] = np.cos(angle / 2) ** 2, -(np.sin(angle / 2) ** 2)
            pulses[i, 2 * LANES + v], pulses[i, 3 * LANES + v] = np.sin(angle), np.cos(angle)
            pulses[i, 4 * LANES + v] = np.sin(angle) / 2
        for i in range(len(train.times)):
            te, tr = train.times[i]
            turn, echo = np.exp(tr * (2j * np.pi * df[v] - 1 / t2[v])), np.exp(te * (2j * np.pi * df[v] - 1 / t2[v]))
            intervals[i, v], intervals[i, 3 * LANES + v] = np.exp(-tr / t1[v]), -np.expm1(-tr / t1[v])
            intervals[i, LANES + v], intervals[i, 2 * LANES + v] = turn.real, turn.imag
            echoes[i, v], echoes[i, LANES + v] = echo.real, echo.imag


@njit(cache=True)
def _turn_back(interval: Real, turn: float, turned: Real) -> None:
    """Take the angle by which the frame turns with the RF phase off the precession."""
    cosine, sine = interval.dtype.type(np.cos(turn)), interval.dtype.type(np.sin(turn))
    for v in range(LANES):
        re, im = interval[LANES + v], interval[2 * LANES + v]
        turned[v], turned[3 * LANES + v] = interval[v], interval[3 * LANES + v]
        turned[LANES + v], turned[2 * LANES + v] = cosine * re + sine * im, cosine * im - sine * re


@njit(cache=True)
def _part(
    train: Train,
    weight: float,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    repetitions: int,
    n_orders: int,
    tolerance: float,
    frames: npt.NDArray[Any],
    real: Real,
) -> None:
    """Add the signals of one part to `frames` `(lanes, frames)`; computes in the type of `real`."""
    pulses, intervals = (
        np.empty((train.flips.size, 5 * LANES), real.dtype),
        np.empty((len(train.times), 4 * LANES), real.dtype),
    )
    echoes = np.empty((len(train.times), 2 * LANES), real.dtype)
    _tables(train, t1, t2, b1, df, pulses, intervals, echoes)
    damping = np.exp(-np.min(train.times[:, 1]) / np.max(t2))
    interval, frame = np.empty(4 * LANES, real.dtype), np.empty(2 * LANES, real.dtype)
    states, dephased = np.zeros((n_orders + 2) * ORDER, real.dtype), np.zeros((n_orders + 2) * ORDER, real.dtype)
    states[ORDER + Z_RE : ORDER + Z_RE + LANES] = 1
    n = 1
    for repetition in range(repetitions):
        _relax_without_transverse(states, n, train.inversion_efficiency, train.inversion_time, t1)
        for i in range(frames.shape[1]):
            frame[:] = 0
            for spoke in range(i * train.spokes_per_frame, (i + 1) * train.spokes_per_frame):
                pulse, time = pulses[train.flip_of[spoke]], train.time_of[spoke]
                _echo(states[ORDER : 2 * ORDER], pulse, echoes[time], frame)
                _turn_back(intervals[time], train.turns[spoke], interval)
                _spoke(states, n, pulse, interval, dephased)
                states, dephased = dephased, states
                n = min(n + 1, n_orders)
                if spoke % LOOK_EVERY == 0:
                    n = _orders_that_matter(states, n, damping, tolerance)
            if repetition == repetitions - 1:
                for v in range(LANES):
                    frames[v, i] += weight * complex(frame[v], frame[LANES + v])
        _relax_without_transverse(states, n, -1.0, train.recovery, t1)


@njit(parallel=True, cache=True)
def _all(
    train: Train,
    parts: Parts,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    repetitions: int,
    n_orders: int,
    tolerance: float,
    signals: npt.NDArray[Any],
    real: Real,
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
                n_orders,
                tolerance,
                signals[lanes],
                real,
            )


def epg_signals(
    sequence: Sequence,
    *,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    parts: Parts = WHOLE,
    repetitions: int = STEADY_STATE_REPETITIONS,
    n_orders: int = MOST_ORDERS,
    tolerance: float = TOLERANCE,
    dtype: npt.DTypeLike = np.float32,
) -> npt.NDArray[np.complexfloating]:
    """Simulate the signal of every frame with extended phase graphs.

    Parameters
    ----------
    sequence
        Inversion, train and recovery; its RF spoiling increment counts.
    t1, t2
        In s. Shape `(signals)`. It is fastest where neighbours are alike.
    b1
        Flip angle efficacy. Shape `(signals)`.
    df
        Off-resonance in Hz. Shape `(signals)`.
    parts
        What each signal is the sum of.
    repetitions
        How many times the sequence is played from equilibrium; the last is returned.
    n_orders
        Orders that are followed at most.
    tolerance
        What a dropped order may add to a later echo, relative to equilibrium.
    dtype
        float32 or float64, of the states.

    Returns
    -------
        Mean echo of the spokes of each frame, for an equilibrium magnetisation of 1, in the phase of the receiver,
        which follows the RF; complex in the precision of `dtype`. Shape `(signals, frames)`.
    """
    full, real = fill_lanes(check_signals(t1=t1, t2=t2, b1=b1, df=df)), np.zeros(0, dtype)
    signals = np.zeros((full[0].size, sequence.n_frames), np.result_type(real, np.complex64))
    _all(train_of(sequence), parts, *full, repetitions, n_orders, tolerance, signals, real)
    return signals[: t1.size]
