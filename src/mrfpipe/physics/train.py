"""What the kernels of all signal models take: the train, and the parts a component's signal is the sum of.

A train repeats a handful of flip angles and of echo and repetition times, so that kernels compute sines and
exponentials once a signal and look them up spoke by spoke. RF spoiling is put into the frame that turns with the RF
phase: pulses are then all about one axis, the receiver follows by itself, and between two pulses the transverse
magnetisation turns back by the difference of their phases. With the phase of pulse n being ``n (n + 1) / 2`` times the
increment, that difference is ``n + 1`` times the increment after pulse n.

Fat is six peaks and a slice is many thin layers: the signal of a component is a weighted sum of what its parts emit,
and a part differs from the component in its frequency and in how much of the flip angle it gets.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from mrfpipe.arrays import Double, Int, check_shape
from mrfpipe.protocol import Sequence

STEADY_STATE_REPETITIONS = 2
"""Repetitions simulated; the last is kept. From the second on the train changes by less than 3e-5 in norm, the first
differs by up to 7 % (T1 2 s, B1 1) because it starts from equilibrium."""


FourDoubles = tuple[Double, Double, Double, Double]

LANES = 32
"""Signals that are simulated side by side, in the lanes of the processor's vector units."""


class Train(NamedTuple):
    """A sequence in the form that kernels take; a tuple, so that Numba can."""

    flips: Double
    """Different flip angles in rad. Shape `(flips)`."""
    flip_of: Int
    """Which of them a spoke has. Shape `(spokes)`."""
    times: Double
    """Different pairs of echo and repetition time in s. Shape `(times, 2)`."""
    time_of: Int
    """Which of them a spoke has. Shape `(spokes)`."""
    turns: Double
    """Angle by which the frame has turned from each pulse to the next, in rad. Shape `(spokes)`."""
    inversion_efficiency: float
    """Share of the longitudinal magnetisation that the inversion turns over."""
    inversion_time: float
    """In s."""
    recovery: float
    """In s."""
    spokes_per_frame: int
    """Consecutive spokes whose echoes are averaged."""


class Parts(NamedTuple):
    """What the signal of a component is the weighted sum of."""

    weights: Double
    """Shape `(parts)`."""
    flip_scales: Double
    """Flip angle relative to the component's. Shape `(parts)`."""
    shifts: Double
    """Frequency relative to the component's, in Hz. Shape `(parts)`."""


WHOLE = Parts(np.ones(1), np.ones(1), np.zeros(1))
"""A component that is all alike."""


def train_of(sequence: Sequence) -> Train:
    """Bring a sequence into the form that kernels take."""
    flips, flip_of = np.unique(sequence.flip, return_inverse=True)
    times, time_of = np.unique(np.stack([sequence.te, sequence.tr], axis=1), axis=0, return_inverse=True)
    increment = sequence.trains[0].rf_spoiling_increment
    turns = np.mod((1 + np.arange(sequence.n_readouts)) * increment, 2 * np.pi)
    inversion, wait, _, recovery = sequence.blocks
    return Train(
        flips=flips,
        flip_of=flip_of,
        times=times,
        time_of=time_of.reshape(-1),
        turns=turns,
        inversion_efficiency=inversion.efficiency,
        inversion_time=wait.duration,
        recovery=recovery.duration,
        spokes_per_frame=sequence.readouts_per_frame,
    )


def check_signals(*, t1: Double, t2: Double, b1: Double, df: Double) -> FourDoubles:
    """Check that T1, T2, B1 and df have one value a signal, and return them in this order as kernels take them."""
    sizes = check_shape("t1", t1, "signals")
    for name, values in (("t2", t2), ("b1", b1), ("df", df)):
        check_shape(name, values, "signals", sizes)
    t1, t2, b1, df = (np.ascontiguousarray(values, np.float64) for values in (t1, t2, b1, df))
    return t1, t2, b1, df


def fill_lanes(signals: FourDoubles) -> FourDoubles:
    """Repeat the last signal until all lanes of the last block have one."""
    t1, t2, b1, df = (np.pad(values, (0, -values.size % LANES), mode="edge") for values in signals)
    return t1, t2, b1, df


@njit(cache=True)
def invert(mz: float, efficiency: float) -> float:
    """Turn the longitudinal magnetisation over; an efficiency of 1 negates it (MP2RAGE: Marques et al., 2010)."""
    return -efficiency * mz


@njit(cache=True)
def recover(mz: float, decay: float, equilibrium: float) -> float:
    """Relax towards the equilibrium, which only order zero of a phase graph has; `decay` is exp(-t / T1)."""
    return equilibrium + (mz - equilibrium) * decay
