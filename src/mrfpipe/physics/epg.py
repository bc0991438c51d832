"""Extended phase graphs: the train with what gradient and RF spoiling leave of the transverse magnetisation.

States F+, F- and Z of order 0, 1, 2, ... stand for magnetisation that gradients have dephased by so many cycles
(Weigel, J Magn Reson Imaging 41:266, 2015); F- of order n is kept as the conjugate of F(-n). The gradients of one
repetition time dephase by one cycle. A pulse by the angle a that turns z towards x mixes the states of an order::

    F+ <-  cos^2(a/2) F+ - sin^2(a/2) F- + sin(a) Z
    F- <- -sin^2(a/2) F+ + cos^2(a/2) F- + sin(a) Z
    Z  <- -sin(a)/2 (F+ + F-) + cos(a) Z

Off-resonance turns F+ by exp(+2 pi i df t). The transverse magnetisation is crushed around every inversion.

Orders are followed as long as they matter: the highest are dropped, for a block of signals at once, when all their
states are below a tolerance, and no order beyond a limit is ever followed.
"""

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from mrfpipe.arrays import Double
from mrfpipe.physics.spoiled import STEADY_STATE_REPETITIONS
from mrfpipe.physics.train import Train, check_signals, train_of
from mrfpipe.protocol import Sequence

BLOCK = 16
"""Signals that are simulated side by side, their states in the cache."""
MOST_STATES = 64
"""Orders that are followed at most, unless told otherwise."""
TOLERANCE = 1e-5
"""States below this, relative to equilibrium, may be dropped."""
TRIM_EVERY = 8
"""Spokes between two looks at which orders still matter."""

Real = npt.NDArray[np.floating]


@njit(cache=True)
def _invert(z: Real, decay: Real) -> None:
    """Invert the longitudinal states (2, orders, block) and let them recover by `decay` = exp(-TI / T1)."""
    z *= -decay
    z[0, 0] += 1 - decay


@njit(cache=True)
def _recover(z: Real, decay: Real) -> None:
    """Let the longitudinal states recover."""
    z *= decay
    z[0, 0] += 1 - decay


@njit(cache=True)
def _spoke(
    a: Real,
    b: Real,
    z: Real,
    shifted: Real,
    n: int,
    cos: Real,
    sin: Real,
    decay: Real,
    turn_re: Real,
    turn_im: Real,
    echo: Real,
) -> None:
    """Play one repetition time on the orders below n: pulse, echo, relaxation and precession, dephasing by one cycle.

    a is F+, b is F-, each (2, orders, block) with real and imaginary part; F+ of the next repetition time is written to
    `shifted`. `decay` is exp(-TR / T1), `turn` the decay and precession of F+ over TR.
    """
    half = cos.dtype.type(0.5)
    for k in range(n):
        for v in range(cos.size):
            plus, minus, far = half * (1 + cos[v]), half * (cos[v] - 1), half * sin[v]
            ar, ai, br, bi, zr, zi = a[0, k, v], a[1, k, v], b[0, k, v], b[1, k, v], z[0, k, v], z[1, k, v]
            fr, fi = plus * ar + minus * br + sin[v] * zr, plus * ai + minus * bi + sin[v] * zi
            gr, gi = minus * ar + plus * br + sin[v] * zr, minus * ai + plus * bi + sin[v] * zi
            z[0, k, v] = decay[v] * (cos[v] * zr - far * (ar + br))
            z[1, k, v] = decay[v] * (cos[v] * zi - far * (ai + bi))
            shifted[0, k + 1, v] = turn_re[v] * fr - turn_im[v] * fi
            shifted[1, k + 1, v] = turn_re[v] * fi + turn_im[v] * fr
            if k == 0:
                echo[0, v], echo[1, v] = fr, fi
            else:
                b[0, k - 1, v] = turn_re[v] * gr + turn_im[v] * gi
                b[1, k - 1, v] = turn_re[v] * gi - turn_im[v] * gr
    b[:, n - 1] = 0
    z[0, 0] += 1 - decay
    shifted[0, 0], shifted[1, 0] = b[0, 0], -b[1, 0]


@njit(cache=True)
def _orders_that_matter(a: Real, b: Real, z: Real, n: int, tolerance: float) -> int:
    """Drop the highest orders while all their states are below the tolerance."""
    while n > 1:
        largest = max(np.max(np.abs(a[:, n - 1])), np.max(np.abs(b[:, n - 1])), np.max(np.abs(z[:, n - 1])))
        if largest > tolerance:
            break
        a[:, n - 1], b[:, n - 1], z[:, n - 1] = 0, 0, 0
        n -= 1
    return n


@njit(parallel=True, cache=True)
def _epg_echoes(
    train: Train, t1: Real, t2: Real, b1: Real, df: Real, repetitions: int, n_states: int, tolerance: float
) -> npt.NDArray[np.complex128]:
    n_signals, n_spokes = t1.size, train.flip_of.size
    echoes = np.empty((n_signals, n_spokes), np.complex128)
    for block in prange((n_signals + BLOCK - 1) // BLOCK):
        part = slice(block * BLOCK, min((block + 1) * BLOCK, n_signals))
        _epg_block(train, t1[part], t2[part], b1[part], df[part], repetitions, n_states, tolerance, echoes[part])
    return echoes


@njit(cache=True)
def _epg_block(
    train: Train,
    t1: Real,
    t2: Real,
    b1: Real,
    df: Real,
    repetitions: int,
    n_states: int,
    tolerance: float,
    echoes: npt.NDArray[np.complex128],
) -> None:
    """Simulate a block of signals; `echoes` is (block, spokes)."""
    real = t1.dtype
    n_times, size = len(train.times), t1.size
    cos, sin = np.empty((len(train.flips), size), real), np.empty((len(train.flips), size), real)
    for i in range(len(train.flips)):
        cos[i], sin[i] = np.cos(b1 * train.flips[i]), np.sin(b1 * train.flips[i])
    decay = np.empty((n_times, size), real)
    at_echo, over_tr = np.empty((n_times, size), np.complex128), np.empty((n_times, size), np.complex128)
    for i in range(n_times):
        te, tr = train.times[i]
        decay[i] = np.exp(-tr / t1)
        at_echo[i] = np.exp(te * (2j * np.pi * df - 1 / t2))
        over_tr[i] = np.exp(tr * (2j * np.pi * df - 1 / t2))
    turn_re, turn_im = np.empty(size, real), np.empty(size, real)
    echo = np.empty((2, size), real)
    a, b, z, shifted = (
        np.zeros((2, n_states + 1, size), real),
        np.zeros((2, n_states + 1, size), real),
        np.zeros((2, n_states + 1, size), real),
        np.zeros((2, n_states + 1, size), real),
    )
    z[0, 0] = 1
    n = 1
    for repetition in range(repetitions):
        a[:], b[:], shifted[:] = 0, 0, 0
        _invert(z, np.exp(-train.inversion_time / t1).astype(real))
        for spoke in range(train.flip_of.size):
            flip, time = train.flip_of[spoke], train.time_of[spoke]
            back = np.exp(-1j * train.turns[spoke])
            for v in range(size):
                turn = over_tr[time, v] * back
                turn_re[v], turn_im[v] = turn.real, turn.imag
            _spoke(a, b, z, shifted, n, cos[flip], sin[flip], decay[time], turn_re, turn_im, echo)
            a, shifted = shifted, a
            n = min(n + 1, n_states)
            if spoke % TRIM_EVERY == 0:
                n = _orders_that_matter(a, b, z, n, tolerance)
            if repetition == repetitions - 1:
                for v in range(size):
                    echoes[v, spoke] = (echo[0, v] + 1j * echo[1, v]) * at_echo[time, v]
        _recover(z, np.exp(-train.recovery / t1).astype(real))


def epg_echoes(
    sequence: Sequence,
    *,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    repetitions: int = STEADY_STATE_REPETITIONS,
    n_states: int = MOST_STATES,
    tolerance: float = TOLERANCE,
    dtype: npt.DTypeLike = np.float32,
) -> npt.NDArray[np.complex128]:
    """Simulate the echo of every spoke with extended phase graphs.

    Parameters
    ----------
    sequence
        Inversion, train and recovery; its RF spoiling increment counts.
    t1, t2
        In s. Shape `(signals)`.
    b1
        Flip angle efficacy. Shape `(signals)`.
    df
        Off-resonance in Hz. Shape `(signals)`.
    repetitions
        How many times the sequence is played from equilibrium; the last is returned.
    n_states
        Orders that are followed at most.
    tolerance
        States below this, relative to equilibrium, may be dropped.
    dtype
        float32 or float64, of the states.

    Returns
    -------
        Echoes for an equilibrium magnetisation of 1, in the phase of the receiver, which follows the RF. Shape
        `(signals, spokes)`.
    """
    t1, t2, b1, df = check_signals(dtype, t1=t1, t2=t2, b1=b1, df=df)
    echoes: npt.NDArray[np.complex128] = _epg_echoes(
        train_of(sequence), t1, t2, b1, df, repetitions, n_states, tolerance
    )
    return echoes
