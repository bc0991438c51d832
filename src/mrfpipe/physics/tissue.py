"""Input of the kernels: T1, T2, B1 and off-resonance of signals, and the parts that a component's signal is the sum of.

A spectrum has several peaks, and a slice consists of thin layers. The signal of a component is therefore a weighted sum
over parts, which differ from the component in frequency and flip angle.
"""

from typing import NamedTuple

import numpy as np

from mrfpipe.arrays import Double, check_shape

FourDoubles = tuple[Double, Double, Double, Double]

LANES = 32
"""Number of signals that are simulated in parallel, in the lanes of the processor's vector units."""


class Parts(NamedTuple):
    """Parts whose weighted sum is the signal of a component."""

    weights: Double
    """Shape `(parts)`."""
    flip_scales: Double
    """Flip angle relative to the component's. Shape `(parts)`."""
    shifts: Double
    """Frequency relative to the component's, in Hz. Shape `(parts)`."""


WHOLE = Parts(np.ones(1), np.ones(1), np.zeros(1))
"""A component with a single part."""


def check_signals(*, t1: Double, t2: Double, b1: Double, df: Double) -> FourDoubles:
    """Check that T1, T2, B1 and df have one value per signal, and return them in this order for the kernels."""
    sizes = check_shape("t1", t1, "signals")
    for name, values in (("t2", t2), ("b1", b1), ("df", df)):
        check_shape(name, values, "signals", sizes)
    t1, t2, b1, df = (np.ascontiguousarray(values, np.float64) for values in (t1, t2, b1, df))
    return t1, t2, b1, df


def fill_lanes(signals: FourDoubles) -> FourDoubles:
    """Repeat the last signal to fill all lanes of the last block."""
    t1, t2, b1, df = (np.pad(values, (0, -values.size % LANES), mode="edge") for values in signals)
    return t1, t2, b1, df
