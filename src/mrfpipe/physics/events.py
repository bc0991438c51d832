"""A sequence and its history, compiled to one list of events that every kernel plays in order.

There are two kinds of events. An excitation is a pulse, an echo and the time until the next event, during which the
magnetisation relaxes, precesses and is dephased. The pulses of a preparation that is played pulse by pulse are
excitations without echo, and delays are excitations without pulse and echo. A preparation multiplies the longitudinal
magnetisation by a factor and crushes the transverse magnetisation: inversions, T2 preparations and spoilers. The
history consists of additional events at the beginning, whose echoes are not read.

A sequence repeats flip angles, intervals and preparations. Each different one is a row of a table, so that kernels
compute sines and exponentials once per signal and look them up for every event.

The frame of reference rotates with the RF phase. All pulses are then about one axis, the receiver phase follows
automatically, and between two pulses the transverse magnetisation is rotated back by the difference of their phases.

Dephasing is counted in units of its greatest common divisor. An event of several units is split into events of one
unit, each with its share of the time, so that kernels dephase by zero or one unit.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from mrfpipe.arrays import Double, Int
from mrfpipe.protocol import Block, Delay, Excitations, History, Inversion, Pulses, Sequence, Spoiling, T2Preparation

STEADY_AFTER = 10.0
"""A repeated sequence is played from equilibrium for this many seconds, and once more for the result. The second time
it is played, the signals of T1-FF change by less than 3e-5 in norm; the first differ by up to 7 % (T1 2 s, B1 1)."""

EXCITATION, PREPARATION = 0, 1
UNREAD = -1
"""Frame of an event whose echo is not read."""
_READ = 0
"""Frame of an event whose echo is read, until frames are counted."""

Steps = npt.NDArray[Any]
"""Events before they are converted to tables. Shape `(events)`."""
_STEP = np.dtype(
    [
        ("kind", np.int64),
        ("gain", np.float64),
        ("angle", np.float64),
        ("te", np.float64),
        ("duration", np.float64),
        ("cycles", np.int64),
        ("is_pulse", np.bool_),
        ("phase", np.float64),
        ("increment", np.float64),
        ("times_increment", np.int64),
        ("turn", np.float64),
        ("frame", np.int64),
    ]
)


class Events(NamedTuple):
    """Compiled events in the form that kernels take: a named tuple, which Numba supports."""

    kind: Int
    """`EXCITATION` or `PREPARATION`. Shape `(events)`."""
    pulse: Int
    """Row in `flips` of an excitation, in `preparations` of a preparation. Shape `(events)`."""
    interval: Int
    """Row in `intervals`, of excitations. Shape `(events)`."""
    turn: Double
    """Angle by which the frame rotates with the RF phase until the next pulse, in rad. Shape `(events)`."""
    frame: Int
    """Frame that the echo contributes to, or `UNREAD`. Shape `(events)`."""
    flips: Double
    """Different nominal flip angles in rad. Shape `(flips)`."""
    intervals: Double
    """Different pairs of echo time and time until the next event, in s. Shape `(intervals, 2)`."""
    cycles: Int
    """Whether the gradients of an interval dephase, 1, or not, 0. Shape `(intervals)`."""
    preparations: Double
    """Different preparations: the arguments `gain, angle, duration` of `prepared`. Shape `(preparations, 3)`."""
    cycle_time: float
    """Least time in which the gradients dephase by one unit, in s; infinite if they never do."""
    n_frames: int
    """Frames of the sequence."""
    readouts_per_frame: int
    """Number of echoes that are averaged to a frame."""


@njit(cache=True)
def prepared(gain: float, angle: float, duration: float, b1: float, t2: float) -> float:
    """Return the factor of a preparation: gain, cosine of a flip angle scaled by B1, and T2 decay over a time."""
    return gain * math.cos(b1 * angle) * math.exp(-duration / t2)


@njit(cache=True)
def recover(mz: float, decay: float) -> float:
    """Relax towards the equilibrium, 1; `decay` is exp(-t / T1)."""
    return 1.0 + (mz - 1.0) * decay


def events_of(sequence: Sequence, history: History) -> Events:
    """Compile a sequence and its history, which starts from equilibrium, to events."""
    played = _played(sequence.blocks, sequence.readouts_per_frame)
    match history.kind:
        case "equilibrium":
            before = []
        case "repeated":
            before = [_unread(played)] * repetitions_before(sequence)
        case "multislice":
            before = [_in_another_slice(sequence)] * history.slices
    return _tables(_cut(_turned(np.concatenate([*before, played]))), sequence)


def repetitions_before(sequence: Sequence) -> int:
    """Return how often a repeated sequence is played before it counts as in steady state."""
    return math.ceil(STEADY_AFTER / sequence.duration)


def _played(blocks: tuple[Block, ...], readouts_per_frame: int) -> Steps:
    """Play all blocks; the echoes are read."""
    steps = np.concatenate([_block(block) for block in blocks])
    read = steps["frame"] == _READ
    n = np.arange(np.count_nonzero(read))
    steps["times_increment"][read] = n * (n + 1) // 2
    steps["frame"][read] = n // readouts_per_frame
    return steps


def _unread(steps: Steps) -> Steps:
    copy = steps.copy()
    copy["frame"] = UNREAD
    return copy


def _in_another_slice(sequence: Sequence) -> Steps:
    """Play only what is not slice-selective; trains of excitations become delays."""
    waited = (Delay(duration=float(b.tr.sum())) if isinstance(b, Excitations) else b for b in sequence.blocks)
    return _played(tuple(waited), sequence.readouts_per_frame)


def _block(block: Block) -> Steps:
    match block:
        case Inversion(scales_with_b1=True):
            return _steps(1, kind=PREPARATION, gain=block.efficiency, angle=np.pi)
        case Inversion():
            return _steps(1, kind=PREPARATION, gain=-block.efficiency)
        case T2Preparation():
            return _steps(1, kind=PREPARATION, gain=1.0, duration=block.duration)
        case Spoiling():
            return _steps(1, kind=PREPARATION, gain=1.0)
        case Delay():
            return _steps(1, duration=block.duration)
        case Pulses():
            return _steps(
                block.flip.size,
                angle=block.flip,
                duration=block.duration,
                cycles=block.dephasing,
                is_pulse=True,
                phase=block.phase,
            )
        case Excitations():
            return _steps(
                block.flip.size,
                angle=block.flip,
                te=block.te,
                duration=block.tr,
                cycles=block.dephasing,
                is_pulse=True,
                phase=block.phase,
                increment=block.rf_spoiling_increment,
                frame=_READ,
            )


def _steps(n: int, **columns: float | Double) -> Steps:
    steps = np.zeros(n, _STEP)
    steps["frame"] = UNREAD
    for name, values in columns.items():
        steps[name] = values
    return steps


def _turned(steps: Steps) -> Steps:
    """Compute the angle from the RF phase of each pulse to that of the next, in rad; 0 after the last pulse.

    Integers such as ``n (n + 1) / 2`` are subtracted before they are multiplied by the increment, because angles of
    many turns lose digits.
    """
    pulses = np.flatnonzero(steps["is_pulse"])
    one, following = steps[pulses[:-1]], steps[pulses[1:]]
    same = (following["times_increment"] - one["times_increment"]) * one["increment"]
    other = following["times_increment"] * (following["increment"] - one["increment"])
    steps["turn"][pulses[:-1]] = np.mod(following["phase"] - one["phase"] + same + other, 2 * np.pi)
    return steps


def _cut(steps: Steps) -> Steps:
    """Split events of several units of dephasing into events of one unit; pulse and echo stay with the first."""
    unit = max(1, int(np.gcd.reduce(steps["cycles"])))
    n_parts = np.maximum(steps["cycles"] // unit, 1)
    cut = np.repeat(steps, n_parts)
    cut["duration"] /= np.repeat(n_parts, n_parts)
    cut["cycles"] = np.minimum(cut["cycles"], 1)
    later = np.ones(len(cut), bool)
    later[np.cumsum(n_parts) - n_parts] = False
    cut["frame"][later] = UNREAD
    for name in ("angle", "te", "turn"):
        cut[name][later] = 0
    return cut


def _tables(steps: Steps, sequence: Sequence) -> Events:
    """Make tables of the different pulses, intervals and preparations."""
    excites = steps["kind"] == EXCITATION
    pulse, interval = np.zeros(len(steps), np.int64), np.zeros(len(steps), np.int64)
    flips, pulse[excites] = np.unique(steps["angle"][excites], return_inverse=True)
    preparations, pulse[~excites] = _different(steps[~excites], "gain", "angle", "duration")
    intervals, interval[excites] = _different(steps[excites], "te", "duration", "cycles")
    return Events(
        kind=steps["kind"].copy(),
        pulse=pulse,
        interval=interval,
        turn=steps["turn"].copy(),
        frame=steps["frame"].copy(),
        flips=flips,
        intervals=np.ascontiguousarray(intervals[:, :2]),
        cycles=intervals[:, 2].astype(np.int64),
        preparations=preparations,
        cycle_time=float(intervals[intervals[:, 2] > 0, 1].min(initial=np.inf)),
        n_frames=sequence.n_frames,
        readouts_per_frame=sequence.readouts_per_frame,
    )


def _different(steps: Steps, *names: str) -> tuple[Double, Int]:
    """Return the different rows of some columns, and which of them each step has."""
    rows = np.stack([steps[name].astype(np.float64) for name in names], axis=1)
    different, which = np.unique(rows, axis=0, return_inverse=True)
    return different, which.reshape(-1)
