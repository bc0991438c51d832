"""Samples that no receiver can have measured: what damage to the exponent of a number leaves behind.

Samples are judged coil by coil against the others of their slice, so that neither the unit of a file nor a weak coil
matters. The level of a coil at a place of the readout is what nine readouts in ten stay below there, or at one of
its neighbours: damage to fewer does not move it. With C the level at the centre of k-space, a sample is
implausible above

- 100 C. The centre adds up all magnetisation with one sign, nothing is larger but by what the signal changes along the
  train: 1.7 times in T1-FF, and less than 60 times for 90 degrees among pulses of one;
- or above both 0.1 C and 1000 times the level at its place. Readouts across straight edges have more than the others
  there: without noise 70 times for a thin box, and 150 times for a comb of bars, which has most far from the centre.

A place is one radius of k-space where the readouts are one that turns, as spokes and spirals are. Of other readouts
only what no computation can stand is refused.

The exponent of float32 is a byte, whose bits are factors of 2, 4, 16, 256, 65,536, 4e9 and more. A change by 65,536 or
more is found wherever it matters, one by 256 only of the largest samples. Not found are smaller changes, and those
towards zero: of a million samples they falsify one, in one frame.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrfpipe.acquisition.heads import Acquisition, Heads
from mrfpipe.arrays import Complex, Double, Float
from mrfpipe.errors import InputError

LARGEST = 1e15
"""Magnitude above which sums of squares leave the range of float32."""
ABOVE_CENTRE = 100.0
"""How many times the level at the centre of k-space a sample may have."""
ABOVE_PLACE = 1000.0
"""How many times the level at its place of the readout a sample may have that stands out from the slice."""
STANDS_OUT = 0.1
"""What stands out, in units of the level at the centre."""
ABOVE_NOISE = 100.0
"""How many times its coil's level a sample of noise may have: of a million Gaussian ones the largest has 2.4 times."""
HONEST = 0.9
"""Share of the readouts whose samples make a level."""
NEIGHBOURS = 3
"""Samples to either side that a level is the largest of: readouts miss the centre by different delays."""


def check_plausible(kspace: Complex, imaging: Heads, path: Path, *, turned: bool = True) -> None:
    """Check the samples `(slices, coils, readouts, samples)` of all readouts, whose heads come in any order.

    `turned` says whether the readouts are one that turns from readout to readout. InputError if a sample cannot have
    been measured; the error names the largest of the first coil that has one.
    """
    for s, of_slice in enumerate(kspace):
        levels = np.stack([_levels(_magnitude(of_coil)) for of_coil in of_slice])
        for coil, limit in enumerate(_limits(levels) if turned else np.full(levels.shape, LARGEST)):
            magnitude = _magnitude(of_slice[coil])
            wrong = magnitude > limit
            if wrong.any():
                readout, sample = np.unravel_index(np.argmax(np.where(wrong, magnitude, 0)), wrong.shape)
                is_readout = (imaging["slice"] == s) & (imaging["kspace_encode_step_1"] == readout)
                raise InputError(
                    f"{path}: acquisition {imaging['number'][is_readout][0]} (slice {s}, readout {readout}, "
                    f"coil {coil}, sample {sample}) measures {magnitude[readout, sample]:.3g} where nine readouts in "
                    f"ten have up to {levels[coil, sample]:.3g}; the file is damaged, copy or convert it again, or "
                    "leave the scan out."
                )


def check_plausible_noise(noise: Sequence[Acquisition], path: Path) -> None:
    """Check the samples of noise measurements.

    InputError if a sample cannot have been measured; the error names the first.
    """
    every = np.concatenate([_magnitude(one.samples) for one in noise], axis=1)
    levels = _quantile(every.T)
    limits = np.minimum(ABOVE_NOISE * np.where(levels > 0, levels, levels.max()), LARGEST)
    limits[limits == 0] = LARGEST
    for one in noise:
        magnitude = _magnitude(one.samples)
        wrong = np.argwhere(magnitude > limits[:, None])
        if wrong.size:
            coil, sample = wrong[0]
            raise InputError(
                f"{path}: acquisition {one.head['number']}, noise, measures {magnitude[coil, sample]:.3g} in coil "
                f"{coil}, sample {sample}, where nine in ten have up to {levels[coil]:.3g}; the file is damaged, copy "
                "or convert it again, or leave the scan out."
            )


def _magnitude(samples: Complex) -> Float:
    with np.errstate(over="ignore"):  # what overflows is infinite, and above any limit
        return np.abs(samples)


def _quantile(magnitude: Float) -> Double:
    """Return what most of the first axis stay below."""
    rank = int(HONEST * (len(magnitude) - 1))
    quantile: Double = np.partition(magnitude, rank, axis=0)[rank].astype(np.float64)
    return quantile


def _levels(magnitude: Float) -> Double:
    """Return the level of a coil at every place of the readout, from all readouts. Shape `(samples)`."""
    padded = np.pad(_quantile(magnitude), NEIGHBOURS)
    level: Double = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1).max(axis=1)
    return level


def _limits(levels: Double) -> Double:
    """Return the largest plausible magnitudes of a slice. Shape `(coils, samples)`, as the levels.

    A coil that is silent in most readouts is held against the loudest one; if all are, only `LARGEST` is left.
    """
    centre = levels.max(axis=1, keepdims=True)
    loudest = centre.max()
    limits = np.clip(ABOVE_PLACE * levels, STANDS_OUT * centre, ABOVE_CENTRE * centre)
    limits = np.where(centre > 0, limits, ABOVE_CENTRE * loudest if loudest > 0 else LARGEST)
    return np.minimum(limits, LARGEST)
