"""Detect samples that no receiver can have measured, as damage to the exponent of a number leaves behind.

Samples are compared with the others of the same coil and slice, so that neither the unit of the file nor a weak coil
matters. The level of a coil at one position of the readout is the magnitude that nine readouts in ten stay below at
that position, or at a neighbouring one if that is larger; damage to fewer readouts does not change it. With C the level
at the centre of k-space, a sample is implausible if it is

- above 100 C. At the centre, all magnetisation adds up with one sign, so a sample can only be larger because the signal
  changes along the train: 1.7 times in T1-FF, and less than 60 times for one pulse of 90 degrees among pulses of one;
- or above both 0.1 C and 1000 times the level at its position. Readouts across straight edges exceed the others there:
  without noise 70 times for a thin box, and 150 times for a comb of bars, which has most of its signal far from the
  centre.

A position of the readout is one radius in k-space if all readouts are rotations of one, as with spokes and spirals. For
other readouts, only magnitudes that no computation can handle (`LARGEST`) are refused.

The exponent of float32 is a byte, whose bits are factors of 2, 4, 16, 256, 65,536, 4e9 and more. A change by 65,536 or
more is found wherever it matters, a change by 256 only in the largest samples. Smaller changes and changes towards zero
are not found: they falsify one sample in a million, in one frame.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mrfpipe.acquisition.heads import Acquisition, Heads
from mrfpipe.arrays import Complex, Double, Float
from mrfpipe.errors import InputError

LARGEST = 1e15
"""Largest magnitude accepted; sums of squares of larger values leave the range of float32."""
ABOVE_CENTRE = 100.0
"""Largest sample, in units of the level at the centre of k-space."""
ABOVE_PLACE = 1000.0
"""Largest sample, in units of the level at its position of the readout, if it is above `STANDS_OUT`."""
STANDS_OUT = 0.1
"""Samples below this are not compared with the level at their position; in units of the level at the centre."""
ABOVE_NOISE = 100.0
"""Largest noise sample, in units of the level of its coil; the largest of a million Gaussian samples is at 2.4."""
HONEST = 0.9
"""Share of the readouts that stay below the level."""
NEIGHBOURS = 3
"""Number of samples to either side over which a level is the maximum, as readouts miss the centre by various delays."""


def check_plausible(kspace: Complex, imaging: Heads, path: Path, *, turned: bool = True) -> None:
    """Check the samples of all readouts, shape `(slices, coils, readouts, samples)`; heads can be in any order.

    `turned` says whether all readouts are rotations of one. InputError if a sample cannot have been measured; the error
    names the largest such sample of the first coil that has one.
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
    with np.errstate(over="ignore"):  # overflow gives infinity, which is above any limit
        return np.abs(samples)


def _quantile(magnitude: Float) -> Double:
    """Return the quantile `HONEST` along the first axis."""
    rank = int(HONEST * (len(magnitude) - 1))
    quantile: Double = np.partition(magnitude, rank, axis=0)[rank].astype(np.float64)
    return quantile


def _levels(magnitude: Float) -> Double:
    """Return the level of a coil at every position of the readout, from all readouts. Shape `(samples)`."""
    padded = np.pad(_quantile(magnitude), NEIGHBOURS)
    level: Double = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1).max(axis=1)
    return level


def _limits(levels: Double) -> Double:
    """Return the largest plausible magnitudes in a slice. Shape `(coils, samples)`, like the levels.

    For a coil that is silent in most readouts, the level of the loudest coil counts; if all are silent, only `LARGEST`
    applies.
    """
    centre = levels.max(axis=1, keepdims=True)
    loudest = centre.max()
    limits = np.clip(ABOVE_PLACE * levels, STANDS_OUT * centre, ABOVE_CENTRE * centre)
    limits = np.where(centre > 0, limits, ABOVE_CENTRE * loudest if loudest > 0 else LARGEST)
    return np.minimum(limits, LARGEST)
