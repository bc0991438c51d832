"""The train as the EPG and Bloch kernels play it: few different pulses and intervals, and which spoke has which.

A train repeats a handful of flip angles and of echo and repetition times, so that kernels compute sines and
exponentials once a signal and look them up spoke by spoke. RF spoiling is put into the frame that turns with the RF
phase: pulses are then all about one axis, the receiver follows by itself, and between two pulses the transverse
magnetisation turns back by the difference of their phases. With the phase of pulse n being ``n (n + 1) / 2`` times the
increment, that difference is ``n + 1`` times the increment after pulse n.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import Double, Int, check_shape
from mrfpipe.protocol import Sequence


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
    inversion_time: float
    """In s."""
    recovery: float
    """In s."""


def train_of(sequence: Sequence) -> Train:
    """Bring a sequence into the form that kernels take."""
    flips, flip_of = np.unique(sequence.flip, return_inverse=True)
    times, time_of = np.unique(np.stack([sequence.te, sequence.tr], axis=1), axis=0, return_inverse=True)
    turns = np.mod((1 + np.arange(sequence.n_spokes)) * sequence.rf_spoiling_increment, 2 * np.pi)
    return Train(flips, flip_of, times, time_of.reshape(-1), turns, sequence.inversion_time, sequence.recovery)


def check_signals(
    dtype: npt.DTypeLike, *, t1: Double, t2: Double, b1: Double, df: Double
) -> tuple[npt.NDArray[Any], ...]:
    """Check that T1, T2, B1 and df have one value a signal, and return them in this order as kernels take them."""
    sizes = check_shape("t1", t1, "signals")
    for name, values in (("t2", t2), ("b1", b1), ("df", df)):
        check_shape(name, values, "signals", sizes)
    return tuple(np.ascontiguousarray(values, dtype) for values in (t1, t2, b1, df))
