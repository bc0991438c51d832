"""Extended phase graphs: what gradients and the phase of pulses leave of the transverse magnetisation.

States F+, F- and Z of order 0, 1, 2, ... stand for magnetisation that gradients have dephased by so many cycles
(Weigel, J Magn Reson Imaging 41:266, 2015); F- of order n is kept as the conjugate of F(-n). A unit of dephasing
moves every state by one order. A pulse by the angle a that turns z towards x mixes the states of an order::

    F+ <-  cos^2(a/2) F+ - sin^2(a/2) F- + sin(a) Z
    F- <- -sin^2(a/2) F+ + cos^2(a/2) F- + sin(a) Z
    Z  <- -sin(a)/2 (F+ + F-) + cos(a) Z

Off-resonance turns F+ by exp(+2 pi i df t). Preparations crush the transverse magnetisation.

Orders are followed as long as they matter. Pulses and recovery never make a state larger, and order k needs k units of
dephasing in the transverse plane to come back as an echo, each of a time t or more: it adds at most its norm times
exp(-k t / T2) to any later one. The highest orders are dropped, for a block of signals at once, where this is below a
tolerance.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from mrfpipe.arrays import Double
from mrfpipe.physics.events import PREPARATION, UNREAD, Events, prepared
from mrfpipe.physics.tissue import LANES, WHOLE, Parts, check_signals, fill_lanes

MOST_ORDERS = 128
"""Orders that are followed at most, unless told otherwise."""
TOLERANCE = 1e-5
"""What a dropped order may add to a later echo, relative to equilibrium. For T1-FF all that is dropped changes a signal
by less than 1e-3 of its norm."""
LOOK_EVERY = 4
"""Events between two looks at which orders still matter."""

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


@njit(cache=True, inline="always")
def _excite_order(order: Real, pulse: Real, interval: Real, after: Real, shift: int) -> None:
    """Play pulse, relaxation and precession on the states of one order: Z stays in it, F+ goes up and F- down.

    `after` has room for the orders below, at and above; a shift of `ORDER` dephases, one of 0 does not. Offsets that
    are known when the kernel is compiled let it be vectorised.
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
        after[ORDER + Z_RE + v] = decay * longitudinal(plus_re, minus_re, z_re, cosine, half_sine)
        after[ORDER + Z_IM + v] = decay * longitudinal(plus_im, minus_im, z_im, cosine, half_sine)
        plus_re, minus_re = transverse(plus_re, minus_re, z_re, keep, swap, sine)
        plus_im, minus_im = transverse(plus_im, minus_im, z_im, keep, swap, sine)
        after[ORDER + shift + FP_RE + v] = turn_re * plus_re - turn_im * plus_im
        after[ORDER + shift + FP_IM + v] = turn_re * plus_im + turn_im * plus_re
        after[ORDER - shift + FM_RE + v] = turn_re * minus_re + turn_im * minus_im
        after[ORDER - shift + FM_IM + v] = turn_re * minus_im - turn_im * minus_re


@njit(cache=True)
def _dephased_order(order: Real, pulse: Real, interval: Real, after: Real) -> None:
    _excite_order(order, pulse, interval, after, ORDER)


@njit(cache=True)
def _kept_order(order: Real, pulse: Real, interval: Real, after: Real) -> None:
    _excite_order(order, pulse, interval, after, 0)


@njit(cache=True)
def _excite(states: Real, n: int, pulse: Real, interval: Real, dephases: bool, after: Real) -> None:
    """Play an excitation on the orders below n; order k lies at ORDER (k + 1), before them is room for a -1st."""
    for k in range(n):
        below = k * ORDER
        order, around = states[below + ORDER : below + 2 * ORDER], after[below : below + 3 * ORDER]
        if dephases:
            _dephased_order(order, pulse, interval, around)
        else:
            _kept_order(order, pulse, interval, around)
    for v in range(LANES):
        after[ORDER + Z_RE + v] += interval[3 * LANES + v]
    if dephases:
        after[n * ORDER + FM_RE : n * ORDER + FM_RE + 2 * LANES] = 0
        after[(n + 1) * ORDER + FM_RE : (n + 2) * ORDER] = 0
        for v in range(LANES):
            after[ORDER + FP_RE + v] = after[ORDER + FM_RE + v]
            after[ORDER + FP_IM + v] = -after[ORDER + FM_IM + v]


@njit(cache=True)
def _read(zeroth: Real, pulse: Real, at_echo: Real, echo: Real) -> None:
    """Add what order zero emits after the pulse to the echo."""
    for v in range(LANES):
        keep, swap, sine = pulse[v], pulse[LANES + v], pulse[2 * LANES + v]
        re, _ = transverse(zeroth[FP_RE + v], zeroth[FM_RE + v], zeroth[Z_RE + v], keep, swap, sine)
        im, _ = transverse(zeroth[FP_IM + v], zeroth[FM_IM + v], zeroth[Z_IM + v], keep, swap, sine)
        echo[v] += re * at_echo[v] - im * at_echo[LANES + v]
        echo[LANES + v] += re * at_echo[LANES + v] + im * at_echo[v]


@njit(cache=True)
def _orders_that_matter(states: Real, n: int, damping: float, tolerance: float) -> int:
    """Drop the highest orders while none can add more than the tolerance to an echo; `damping` is that of a unit of dephasing."""
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
def _prepare(states: Real, n: int, factor: Real) -> None:
    """Multiply the longitudinal magnetisation, crush the transverse."""
    for k in range(n):
        order = states[(k + 1) * ORDER : (k + 2) * ORDER]
        for v in range(LANES):
            order[FP_RE + v], order[FP_IM + v], order[FM_RE + v], order[FM_IM + v] = 0, 0, 0, 0
            order[Z_RE + v] *= factor[v]
            order[Z_IM + v] *= factor[v]


@njit(cache=True)
def _tabulate(
    events: Events,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    pulses: Real,
    intervals: Real,
    echoes: Real,
    factors: Real,
) -> None:
    """Compute what pulses, intervals and preparations do to each lane, once a signal; before the RF phase."""
    for v in range(LANES):
        for i in range(events.flips.size):
            angle = b1[v] * events.flips[i]
            pulses[i, v], pulses[i, LANES + v] = np.cos(angle / 2) ** 2, -(np.sin(angle / 2) ** 2)
            pulses[i, 2 * LANES + v], pulses[i, 3 * LANES + v] = np.sin(angle), np.cos(angle)
            pulses[i, 4 * LANES + v] = np.sin(angle) / 2
        for i in range(len(events.intervals)):
            te, duration = events.intervals[i]
            turn = np.exp(duration * (2j * np.pi * df[v] - 1 / t2[v]))
            echo = np.exp(te * (2j * np.pi * df[v] - 1 / t2[v]))
            intervals[i, v], intervals[i, 3 * LANES + v] = np.exp(-duration / t1[v]), -np.expm1(-duration / t1[v])
            intervals[i, LANES + v], intervals[i, 2 * LANES + v] = turn.real, turn.imag
            echoes[i, v], echoes[i, LANES + v] = echo.real, echo.imag
        for i in range(len(events.preparations)):
            gain, angle, duration = events.preparations[i]
            factors[i, v] = prepared(gain, angle, duration, b1[v], t2[v])


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
    events: Events,
    weight: float,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    n_orders: int,
    tolerance: float,
    frames: npt.NDArray[Any],
    real: Real,
) -> None:
    """Add the signals of one part to `frames` `(lanes, frames)`; computes in the type of `real`."""
    pulses = np.empty((events.flips.size, 5 * LANES), real.dtype)
    intervals = np.empty((len(events.intervals), 4 * LANES), real.dtype)
    at_echo = np.empty((len(events.intervals), 2 * LANES), real.dtype)
    factors = np.empty((len(events.preparations), LANES), real.dtype)
    _tabulate(events, t1, t2, b1, df, pulses, intervals, at_echo, factors)
    damping = np.exp(-events.cycle_time / np.max(t2))
    interval, echoes = np.empty(4 * LANES, real.dtype), np.zeros((frames.shape[1], 2 * LANES), real.dtype)
    states, after = np.zeros((n_orders + 2) * ORDER, real.dtype), np.zeros((n_orders + 2) * ORDER, real.dtype)
    states[ORDER + Z_RE : ORDER + Z_RE + LANES] = 1
    n = 1
    for e in range(events.kind.size):
        if events.kind[e] == PREPARATION:
            _prepare(states, n, factors[events.pulse[e]])
            continue
        pulse, i = pulses[events.pulse[e]], events.interval[e]
        if events.frame[e] != UNREAD:
            _read(states[ORDER : 2 * ORDER], pulse, at_echo[i], echoes[events.frame[e]])
        _turn_back(intervals[i], events.turn[e], interval)
        _excite(states, n, pulse, interval, events.cycles[i] != 0, after)
        states, after = after, states
        n = min(n + events.cycles[i], n_orders)
        if e % LOOK_EVERY == 0:
            n = _orders_that_matter(states, n, damping, tolerance)
    for i in range(frames.shape[1]):
        for v in range(LANES):
            frames[v, i] += weight * complex(echoes[i, v], echoes[i, LANES + v])


@njit(parallel=True, cache=True)
def _all(
    events: Events,
    parts: Parts,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    n_orders: int,
    tolerance: float,
    signals: npt.NDArray[Any],
    real: Real,
) -> None:
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
                n_orders,
                tolerance,
                signals[lanes],
                real,
            )


def epg_signals(
    events: Events,
    *,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    parts: Parts = WHOLE,
    n_orders: int = MOST_ORDERS,
    tolerance: float = TOLERANCE,
    dtype: npt.DTypeLike = np.float32,
) -> npt.NDArray[np.complexfloating]:
    """Simulate the signal of every frame with extended phase graphs.

    Parameters
    ----------
    events
        What is played, from equilibrium.
    t1, t2
        In s. Shape `(signals)`. It is fastest where neighbours are alike.
    b1
        Flip angle efficacy. Shape `(signals)`.
    df
        Off-resonance in Hz. Shape `(signals)`.
    parts
        What each signal is the sum of.
    n_orders
        Orders that are followed at most.
    tolerance
        What a dropped order may add to a later echo, relative to equilibrium.
    dtype
        float32 or float64, of the states.

    Returns
    -------
        Mean echo of the readouts of each frame, for an equilibrium magnetisation of 1, in the phase of the receiver,
        which follows the RF; complex in the precision of `dtype`. Shape `(signals, frames)`.
    """
    full, real = fill_lanes(check_signals(t1=t1, t2=t2, b1=b1, df=df)), np.zeros(0, dtype)
    signals = np.zeros((full[0].size, events.n_frames), np.result_type(real, np.complex64))
    _all(events, parts, *full, n_orders, tolerance, signals, real)
    return signals[: t1.size]
