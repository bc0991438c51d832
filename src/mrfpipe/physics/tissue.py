"""What kernels simulate: T1, T2, B1 and off-resonance of signals, and the parts a component's signal is the sum of.

A spectrum has several peaks and a slice is many thin layers: the signal of a component is a weighted sum of what its
parts emit, and a part differs from the component in its frequency and in how much of the flip angle it gets.
"""

from typing import NamedTuple

import numpy as np

from mrfpipe.arrays import Double, check_shape

FourDoubles = tuple[Double, Double, Double, Double]

LANES = 32
"""Signals that are simulated side by side, in the lanes of the processor's vector units."""


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
