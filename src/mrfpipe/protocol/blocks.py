"""Blocks: what a pulse sequence is made of, and the readout that every excitation has."""

from dataclasses import dataclass
from typing import Literal

from mrfpipe.arrays import Double, check_shape, frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Inversion:
    """Turns the longitudinal magnetisation over and crushes the transverse; takes no time."""

    efficiency: float = 1.0
    """Mz becomes ``-efficiency Mz``: 1 for a full inversion, 0 for a saturation."""
    scales_with_b1: bool = False
    """Whether it is a pulse of ``180 B1`` degrees, as a hard pulse is, and not adiabatic: Mz becomes
    ``efficiency cos(180 B1) Mz``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class T2Preparation:
    """Lets the longitudinal magnetisation decay with T2 for its duration, and crushes the transverse.

    Its pulses are taken to be perfect: Mz becomes ``exp(-duration / T2) Mz``.
    """

    duration: float
    """From tip-down to tip-up, in s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """Waits; gradients play nothing."""

    duration: float
    """In s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiling:
    """Crushes the transverse magnetisation; takes no time."""


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

    def continues(self, other: "Block") -> bool:
        """Return whether this train goes on as another one, which it follows."""
        return (
            isinstance(other, Excitations)
            and self.rf_spoiling_increment == other.rf_spoiling_increment
            and self.dephasing == other.dephasing
        )


Block = Inversion | T2Preparation | Delay | Spoiling | Excitations


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """Where the samples of an excitation lie in k-space."""

    kind: Literal["golden-radial", "stored"]
    """``golden-radial`` for spokes through the centre that turn by one angle from readout to readout; ``stored`` for a
    trajectory that the scan brings along."""
    readouts_per_frame: int
    """Consecutive readouts that make one frame."""
    angle_increment: float | None = None
    """Angle from spoke to spoke, in rad, never reset."""
    oversampling: int | None = None
    """Samples of a spoke for each voxel of the matrix."""

    def __post_init__(self) -> None:
        computed = self.angle_increment is not None and self.oversampling is not None
        if computed != (self.kind == "golden-radial"):
            raise ValueError("Golden-angle radial readouts, and no others, have an angle increment and an oversampling.")
