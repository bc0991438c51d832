"""Extended phase graphs: simulation with the transverse magnetisation that gradient and RF spoiling leave.

States F+, F- and Z of order 0, 1, 2, ... stand for magnetisation that gradients have dephased by so many units (Weigel,
J Magn Reson Imaging 41:266, 2015); F- of order n is kept as the conjugate of F(-n). The gradients of an interval
dephase by one unit or not at all. A pulse by the angle a that turns z towards x mixes the states of an order::

    F+ <-  cos^2(a/2) F+ - sin^2(a/2) F- + sin(a) Z
    F- <- -sin^2(a/2) F+ + cos^2(a/2) F- + sin(a) Z
    Z  <- -sin(a)/2 (F+ + F-) + cos(a) Z

Off-resonance multiplies F+ by exp(+2 pi i df t). A preparation crushes F+ and F- of all orders and multiplies Z.

Orders are followed as long as they matter. Pulses and recovery never make a state larger, and order k must spend the
time of k dephasings in the transverse plane to return as an echo. It therefore contributes at most its norm times
exp(-k t / T2) to any later echo, where t is the least time of one dephasing. The highest orders are dropped, for a
block of signals at once, when this contribution is below a tolerance.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from mrfpipe.arrays import Double
from mrfpipe.physics.events import PREPARATION, UNREAD, Events, prepared
from mrfpipe.physics.tissue import LANES, WHOLE, Parts, check_signals, fill_lanes

TOLERANCE = 1e-5
"""Largest contribution of a dropped order to a later echo, relative to equilibrium. In the trains of T1-FF and FISP,
all dropped orders together change a signal by less than 5e-5 of its norm."""
MOST_NORM = math.sqrt(2)
"""Largest norm of the states of an order, with Z counted twice; at the beginning, Z is 1."""
LOOK_EVERY = 4
"""Number of dephasings between two checks of which orders still matter."""

FP_RE, FP_IM, FM_RE, FM_IM, Z_RE, Z_IM = (i * LANES for i in range(6))
ORDER = 6 * LANES
"""Numbers per order: its states are adjacent in memory, real and imaginary part of F+, F- and Z, each for all lanes.
Offsets are known at compile time, so that the kernel can be vectorised."""

Real = npt.NDArray[Any]


@njit(cache=True)
def transverse(plus: float, minus: float, z: float, keep: float, swap: float, sine: float) -> tuple[float, float]:
    """F+ and F- after a pulse, real or imaginary part; keep is cos^2(a/2), swap -sin^2(a/2)."""
    return keep * plus + swap * minus + sine * z, swap * plus + keep * minus + sine * z


@njit(cache=True)
def longitudinal(plus: float, minus: float, z: float, cosine: float, half_sine: float) -> float:
    """Z after a pulse, real or imaginary part."""
    return cosine * z - half_sine * (plus + minus)


def _moved_by(units: int) -> Callable[..., None]:
    """Return the function that plays pulse, relaxation, precession and dephasing by 0 or 1 unit on one order.

    Its output `after` has room for the orders below, at and above: F- moves down, F+ moves up.
    """
    plus, minus, z = (1 + units) * ORDER, (1 - units) * ORDER, ORDER

    @njit(cache=True)
    def move(order: Real, pulse: Real, interval: Real, after: Real) -> None:
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
            after[z + Z_RE + v] = decay * longitudinal(plus_re, minus_re, z_re, cosine, half_sine)
            after[z + Z_IM + v] = decay * longitudinal(plus_im, minus_im, z_im, cosine, half_sine)
            plus_re, minus_re = transverse(plus_re, minus_re, z_re, keep, swap, sine)
            plus_im, minus_im = transverse(plus_im, minus_im, z_im, keep, swap, sine)
            after[plus + FP_RE + v] = turn_re * plus_re - turn_im * plus_im
            after[plus + FP_IM + v] = turn_re * plus_im + turn_im * plus_re
            after[minus + FM_RE + v] = turn_re * minus_re + turn_im * minus_im
            after[minus + FM_IM + v] = turn_re * minus_im - turn_im * minus_re

    return move


_in_phase, _dephased = _moved_by(0), _moved_by(1)


@njit(cache=True)
def _excite_and_wait(states: Real, n: int, pulse: Real, interval: Real, cycles: int, after: Real) -> None:
    """Play an excitation on the orders below n; order k is at ORDER (k + 1), after room for an order -1."""
    for k in range(n):
        order, around = states[(k + 1) * ORDER : (k + 2) * ORDER], after[k * ORDER : (k + 3) * ORDER]
        if cycles:
            _dephased(order, pulse, interval, around)
        else:
            _in_phase(order, pulse, interval, around)
    for v in range(LANES):
        after[ORDER + Z_RE + v] += interval[3 * LANES + v]
    if cycles:
        after[n * ORDER + FM_RE : n * ORDER + FM_RE + 2 * LANES] = 0
        after[(n + 1) * ORDER + FM_RE : (n + 2) * ORDER] = 0
        for v in range(LANES):
            after[ORDER + FP_RE + v] = after[ORDER + FM_RE + v]
            after[ORDER + FP_IM + v] = -after[ORDER + FM_IM + v]


@njit(cache=True)
def _read(zeroth: Real, pulse: Real, echo: Real, frame: Real) -> None:
    """Add the echo, the signal of order zero after the pulse, to the frame."""
    for v in range(LANES):
        keep, swap, sine = pulse[v], pulse[LANES + v], pulse[2 * LANES + v]
        re, _ = transverse(zeroth[FP_RE + v], zeroth[FM_RE + v], zeroth[Z_RE + v], keep, swap, sine)
        im, _ = transverse(zeroth[FP_IM + v], zeroth[FM_IM + v], zeroth[Z_IM + v], keep, swap, sine)
        frame[v] += re * echo[v] - im * echo[LANES + v]
        frame[LANES + v] += re * echo[LANES + v] + im * echo[v]


@njit(cache=True)
def _prepare(states: Real, n: int, factor: Real) -> None:
    """Crush the transverse magnetisation; invert, saturate or T2-weight the longitudinal."""
    for k in range(n):
        order = states[(k + 1) * ORDER : (k + 2) * ORDER]
        order[FP_RE:Z_RE] = 0
        for v in range(LANES):
            order[Z_RE + v] *= factor[v]
            order[Z_IM + v] *= factor[v]


@njit(cache=True)
def _orders_that_matter(states: Real, n: int, damping: float, tolerance: float) -> int:
    """Drop the highest orders while none can add more than the tolerance to an echo.

    `damping` is the largest share of transverse magnetisation that is left after one dephasing.
    """
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
def _tables(
    events: Events, scale: float, t1: Double, t2: Double, b1: Double, df: Double, real: Real
) -> tuple[Real, Real, Real, Real]:
    """Compute the effect of each pulse, interval, echo and preparation on each lane, once per signal."""
    n_intervals = len(events.intervals)
    pulses = np.empty((events.flips.size, 5 * LANES), real.dtype)
    intervals, echoes = np.empty((n_intervals, 4 * LANES), real.dtype), np.empty((n_intervals, 2 * LANES), real.dtype)
    preparations = np.empty((len(events.preparations), LANES), real.dtype)
    for v in range(LANES):
        for i in range(events.flips.size):
            half = b1[v] * scale * events.flips[i] / 2
            cosine, sine = np.cos(half), np.sin(half)
            pulses[i, v], pulses[i, LANES + v] = cosine**2, -(sine**2)
            pulses[i, 2 * LANES + v], pulses[i, 3 * LANES + v] = 2 * sine * cosine, cosine**2 - sine**2
            pulses[i, 4 * LANES + v] = sine * cosine
        for i in range(n_intervals):
            te, duration = events.intervals[i]
            turn, echo = (
                np.exp(duration * (2j * np.pi * df[v] - 1 / t2[v])),
                np.exp(te * (2j * np.pi * df[v] - 1 / t2[v])),
            )
            intervals[i, v], intervals[i, 3 * LANES + v] = np.exp(-duration / t1[v]), -np.expm1(-duration / t1[v])
            intervals[i, LANES + v], intervals[i, 2 * LANES + v] = turn.real, turn.imag
            echoes[i, v], echoes[i, LANES + v] = echo.real, echo.imag
        for i in range(len(events.preparations)):
            gain, angle, duration = events.preparations[i]
            preparations[i, v] = prepared(gain, angle, duration, b1[v], t2[v])
    return pulses, intervals, echoes, preparations


@njit(cache=True)
def _turn_back(interval: Real, turn: float, turned: Real) -> None:
    """Subtract the rotation of the frame with the RF phase from the precession."""
    cosine, sine = interval.dtype.type(np.cos(turn)), interval.dtype.type(np.sin(turn))
    for v in range(LANES):
        re, im = interval[LANES + v], interval[2 * LANES + v]
        turned[v], turned[3 * LANES + v] = interval[v], interval[3 * LANES + v]
        turned[LANES + v], turned[2 * LANES + v] = cosine * re + sine * im, cosine * im - sine * re


@njit(cache=True)
def _part(
    events: Events,
    weight: float,
    scale: float,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    n_orders: int,
    tolerance: float,
    signals: npt.NDArray[Any],
    real: Real,
) -> None:
    """Add the signals of one part to `signals` `(lanes, frames)`; its pulses are `scale` times the nominal.

    The type of `real` is the precision of the computation.
    """
    pulses, intervals, echoes, preparations = _tables(events, scale, t1, t2, b1, df, real)
    turned, frames = np.empty(4 * LANES, real.dtype), np.zeros((events.n_frames, 2 * LANES), real.dtype)
    states, after = np.zeros((n_orders + 2) * ORDER, real.dtype), np.zeros((n_orders + 2) * ORDER, real.dtype)
    states[ORDER + Z_RE : ORDER + Z_RE + LANES] = 1
    damping = np.exp(-events.cycle_time / np.max(t2))
    n, n_dephasings = 1, 0
    for event in range(events.kind.size):
        row = events.pulse[event]
        if events.kind[event] == PREPARATION:
            _prepare(states, n, preparations[row])
            continue
        interval, cycles = events.interval[event], events.cycles[events.interval[event]]
        if events.frame[event] != UNREAD:
            _read(states[ORDER : 2 * ORDER], pulses[row], echoes[interval], frames[events.frame[event]])
        _turn_back(intervals[interval], events.turn[event], turned)
        _excite_and_wait(states, n, pulses[row], turned, cycles, after)
        states, after = after, states
        if cycles:
            n = min(n + 1, n_orders)
            if n_dephasings % LOOK_EVERY == 0:
                n = _orders_that_matter(states, n, damping, tolerance)
            n_dephasings += 1
    for i in range(events.n_frames):
        for v in range(LANES):
            signals[v, i] += weight * complex(frames[i, v], frames[i, LANES + v])


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
                parts.flip_scales[part],
                t1[lanes],
                t2[lanes],
                b1[lanes],
                df[lanes] + parts.shifts[part],
                n_orders,
                tolerance,
                signals[lanes],
                real,
            )


def orders_within(events: Events, time: float) -> int:
    """Return how many orders can return as an echo within a time, in s; at most those that are ever reached."""
    n_dephasings = int(np.sum(events.cycles[events.interval[events.kind != PREPARATION]]))
    return 1 + (n_dephasings if math.isinf(time) else min(n_dephasings, math.ceil(time / events.cycle_time)))


def epg_signals(
    events: Events,
    *,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    parts: Parts = WHOLE,
    n_orders: int | None = None,
    tolerance: float = TOLERANCE,
    dtype: npt.DTypeLike = np.float32,
) -> npt.NDArray[np.complexfloating]:
    """Simulate the signal of every frame with extended phase graphs.

    Parameters
    ----------
    events, t1, t2, b1, df, parts
        As for `mrfpipe.physics.spoiled.spoiled_signals`. It is fastest if neighbouring signals are similar.
    n_orders
        Largest number of orders to follow; if not given, all that matter.
    tolerance
        Largest contribution of a dropped order to a later echo, relative to equilibrium.
    dtype
        Precision of the states, float32 or float64.

    Returns
    -------
        Mean echo of the readouts of each frame, for an equilibrium magnetisation of 1, in the phase of the receiver,
        which follows the RF; complex in the precision of `dtype`. Shape `(signals, frames)`.
    """
    full, real = fill_lanes(check_signals(t1=t1, t2=t2, b1=b1, df=df)), np.zeros(0, dtype)
    if n_orders is None:
        n_orders = orders_within(events, float(np.max(t2)) * math.log(MOST_NORM / tolerance) if tolerance else math.inf)
    signals = np.zeros((full[0].size, events.n_frames), np.result_type(real, np.complex64))
    _all(events, parts, *full, n_orders, tolerance, signals, real)
    return signals[: t1.size]
