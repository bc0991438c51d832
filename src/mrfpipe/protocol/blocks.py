"""Blocks: the elements of a pulse sequence, and the readout after every excitation."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mrfpipe.arrays import Double, check_shape, frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Inversion:
    """Inverts the longitudinal magnetisation and crushes the transverse; takes no time."""

    efficiency: float = 1.0
    """Mz becomes ``-efficiency Mz``: 1 for a full inversion, 0 for a saturation."""
    scales_with_b1: bool = False
    """Whether the flip angle is ``180 B1`` degrees, as for a hard pulse, and not adiabatic: Mz becomes
    ``efficiency cos(180 B1) Mz``."""

    def __post_init__(self) -> None:
        if not 0 <= self.efficiency <= 1:
            raise ValueError(f"The efficiency of an inversion must be from 0 to 1, not {self.efficiency:g}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class T2Preparation:
    """Lets the longitudinal magnetisation decay with T2 for its duration, and crushes the transverse.

    Its pulses are assumed to be perfect: Mz becomes ``exp(-duration / T2) Mz``.
    """

    duration: float
    """Time from tip-down to tip-up in s."""

    def __post_init__(self) -> None:
        _check_duration(self.duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """Waits, without gradients."""

    duration: float
    """Duration in s."""

    def __post_init__(self) -> None:
        _check_duration(self.duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiling:
    """Crushes the transverse magnetisation; takes no time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pulses:
    """Pulses without readouts, such as a preparation; transverse magnetisation evolves between them.

    Transverse magnetisation that is left after them is not crushed; add a block `Spoiling` for that. The pulses are not
    slice-selective.
    """

    flip: Double
    """Nominal flip angle in rad. Shape `(pulses)`."""
    phase: Double
    """Phase of the pulse in rad, in the same frame as in `Excitations`. Shape `(pulses)`."""
    duration: Double
    """Time from the pulse to the next, or to the end of the block, in s. Shape `(pulses)`."""
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
    """A train of pulses, each with a readout: excitation by `flip`, echo after `te`, next pulse after `tr`.

    The phase of pulse n, counted over the whole sequence, is ``phase + n (n + 1) / 2 rf_spoiling_increment``; the
    receiver phase follows it.
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
        """Return whether this train continues another one, which it follows, with the same spoiling and dephasing."""
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
    """The readout after every excitation: its trajectory in k-space."""

    kind: Literal["golden-radial", "stored"]
    """``golden-radial``: spokes through the centre that rotate by a constant angle from readout to readout.
    ``stored``: the trajectory is stored in the scan, or follows from its Pulseq file."""
    readouts_per_frame: int
    """Number of consecutive readouts per frame."""
    angle_increment: float | None = None
    """Angle between consecutive spokes in rad, never reset."""
    oversampling: int | None = None
    """Readout oversampling: samples of a spoke per voxel of the matrix."""
    pulseq: str | None = None
    """Name of the Pulseq file of the sequence, if it is known."""
    sha256: str | None = None
    """sha256 of the Pulseq file."""
    soft_delays: tuple[tuple[str, float], ...] = ()
    """Soft delays in s that were set instead of the defaults of the Pulseq file, by name."""
    heartbeat: float | None = None
    """Time in s between its triggers; None if a trigger comes as soon as the sequence waits for one."""

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
