"""Blocks: what a pulse sequence is made of, and the readout that every excitation has."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mrfpipe.arrays import Double, check_shape, frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Inversion:
    """Turns the longitudinal magnetisation over and crushes the transverse; takes no time."""

    efficiency: float = 1.0
    """Mz becomes ``-efficiency Mz``: 1 for a full inversion, 0 for a saturation."""
    scales_with_b1: bool = False
    """Whether it is a pulse of ``180 B1`` degrees, as a hard pulse is, and not adiabatic: Mz becomes
    ``efficiency cos(180 B1) Mz``."""

    def __post_init__(self) -> None:
        if not 0 <= self.efficiency <= 1:
            raise ValueError(f"The efficiency of an inversion must be from 0 to 1, not {self.efficiency:g}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class T2Preparation:
    """Lets the longitudinal magnetisation decay with T2 for its duration, and crushes the transverse.

    Its pulses are taken to be perfect: Mz becomes ``exp(-duration / T2) Mz``.
    """

    duration: float
    """From tip-down to tip-up, in s."""

    def __post_init__(self) -> None:
        _check_duration(self.duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """Waits; gradients play nothing."""

    duration: float
    """In s."""

    def __post_init__(self) -> None:
        _check_duration(self.duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiling:
    """Crushes the transverse magnetisation; takes no time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pulses:
    """Pulses without readouts, as they are played: those of a preparation, between which there is transverse signal.

    What they leave of it is not crushed; a block `Spoiling` after them does that. They reach all slices.
    """

    flip: Double
    """Nominal flip angle in rad. Shape `(pulses)`."""
    phase: Double
    """Phase of the pulse in rad, in the frame of the phases of `Excitations`. Shape `(pulses)`."""
    duration: Double
    """From the pulse to the next, or to the end of the block, in s. Shape `(pulses)`."""
    dephasing: int = 0
    """Cycles by which the gradients dephase the transverse magnetisation over a voxel after each pulse."""

    def __post_init__(self) -> None:
        sizes = check_shape("flip", self.flip, "pulses")
        for name in ("flip", "phase", "duration"):
            array = getattr(self, name)
            check_shape(name, array, "pulses", sizes)
            object.__setattr__(self, name, frozen(array))
        if not np.all((self.duration >= 0) & np.isfinite(self.duration) & np.isfinite(self.flip + self.phase)):
            raise ValueError("Every duration must be 0 or more, and every angle be finite.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Excitations:
    """A train of pulses with a readout each: excitation by `flip`, echo `te` after it, the next `tr` after it.

    The phase of pulse n, counted over the whole sequence, is ``phase + n (n + 1) / 2 rf_spoiling_increment``; the
    receiver follows it.
    """

    flip: Double
    """Nominal flip angle in rad. Shape `(readouts)`."""
    te: Double
    """Echo time in s. Shape `(readouts)`."""
    tr: Double
    """Repetition time in s. Shape `(readouts)`."""
    phase: Double
    """Phase of the pulse in rad. Shape `(readouts)`."""
    rf_spoiling_increment: float = 0.0
    """Increment of the quadratic RF phase, in rad."""
    dephasing: int = 1
    """Cycles by which the gradients of a repetition time dephase the transverse magnetisation over a voxel."""

    def __post_init__(self) -> None:
        sizes = check_shape("flip", self.flip, "readouts")
        for name in ("flip", "te", "tr", "phase"):
            array = getattr(self, name)
            check_shape(name, array, "readouts", sizes)
            object.__setattr__(self, name, frozen(array))
        if not np.all((self.te > 0) & (self.te < self.tr) & np.isfinite(self.tr) & np.isfinite(self.flip + self.phase)):
            raise ValueError("Every echo time must lie between its pulse and the next, and every angle be finite.")

    def continues(self, other: "Block") -> bool:
        """Return whether this train goes on as another one, which it follows."""
        return (
            isinstance(other, Excitations)
            and self.rf_spoiling_increment == other.rf_spoiling_increment
            and self.dephasing == other.dephasing
        )


def _check_duration(duration: float) -> None:
    if not 0 <= duration < float("inf"):
        raise ValueError(f"A duration must be 0 or more and finite, not {duration:g} s.")


Block = Inversion | T2Preparation | Pulses | Delay | Spoiling | Excitations


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """Where the samples of an excitation lie in k-space."""

    kind: Literal["golden-radial", "stored"]
    """``golden-radial`` for spokes through the centre that turn by one angle from readout to readout; ``stored`` for a
    trajectory that the scan brings along, or the Pulseq file that was played."""
    readouts_per_frame: int
    """Consecutive readouts that make one frame."""
    angle_increment: float | None = None
    """Angle from spoke to spoke, in rad, never reset."""
    oversampling: int | None = None
    """Samples of a spoke for each voxel of the matrix."""
    pulseq: str | None = None
    """Name of the Pulseq file that was played, if it is known."""
    sha256: str | None = None
    """Of that file."""
    soft_delays: tuple[tuple[str, float], ...] = ()
    """Its delays that were set otherwise than it says, by name, in s."""
    heartbeat: float | None = None
    """Time in s from one of its triggers to the next; None if they come as soon as they are waited for."""

    def __post_init__(self) -> None:
        computed = self.angle_increment is not None and self.oversampling is not None
        if computed != (self.kind == "golden-radial"):
            raise ValueError(
                "Golden-angle radial readouts, and no others, have an angle increment and an oversampling."
            )
        if (self.pulseq is None) != (self.sha256 is None):
            raise ValueError("Readouts have a Pulseq file and its sha256, or neither.")
        if self.pulseq is None and (self.soft_delays or self.heartbeat is not None):
            raise ValueError("Soft delays and a heartbeat are those of a Pulseq file.")
