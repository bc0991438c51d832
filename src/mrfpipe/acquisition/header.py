"""What a raw scan's header says, whatever its format: held against the sequence that it should belong to."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.protocol import Sequence

RADIAL_TYPES = ("radial", "goldenangle")
"""Trajectory types of the header that are radial spokes."""
CARTESIAN_TYPES = ("cartesian", "epi")
"""Trajectory types that are lines of a grid."""

_TIME_TOLERANCE_MS = 0.005  # half of a scanner's 10 us raster
_FLIP_TOLERANCE_DEG = 0.01
_FOV_TOLERANCE = 1e-3  # relative: a third of a voxel at the edge
_CURE = "use the protocol that the scan was measured with"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is used of a header, in the units of ISMRMRD."""

    vendor: str | None
    """Who made the scanner."""
    field_strength: float | None
    """Static field in T."""
    protocol_name: str | None
    """What the operator called the measurement."""
    trajectory: str | None
    """Trajectory type, one of the words of ISMRMRD's schema; None if the file does not say."""
    trajectory_unit: str | None
    """Declared unit of stored trajectories."""
    angle_increment_deg: float | None
    """Declared angle from spoke to spoke."""
    readouts_per_frame: int | None
    """Declared number of consecutive readouts of a frame."""
    n_slices: int | None
    """Announced number of slices."""
    matrix: tuple[int, int] | None
    """Voxels along x and y of the image."""
    fov_mm: tuple[float, float, float] | None
    """Field of view of the image along x, y and the slice's normal."""
    te_ms: tuple[float, ...]
    """Echo times, as many as the header lists."""
    tr_ms: tuple[float, ...]
    """Repetition times, as many as the header lists."""
    ti_ms: tuple[float, ...]
    """Inversion times, as many as the header lists."""
    flip_deg: tuple[float, ...]
    """Flip angles, as many as the header lists."""


_UNSAID = Header(
    vendor=None,
    field_strength=None,
    protocol_name=None,
    trajectory=None,
    trajectory_unit=None,
    angle_increment_deg=None,
    readouts_per_frame=None,
    n_slices=None,
    matrix=None,
    fov_mm=None,
    te_ms=(),
    tr_ms=(),
    ti_ms=(),
    flip_deg=(),
)


def believed(header: Header, sequence: Sequence) -> Header:
    """Return what of a header can be believed.

    What plays a Pulseq file knows nothing of it and writes a Cartesian sequence of its own: TE 10 ms, TR 100 ms,
    15 degrees. Of a scan whose protocol is derived from a Pulseq file only lists of a value a readout are compared.
    """
    n = sequence.n_readouts
    is_dummy = (header.te_ms, header.tr_ms, header.flip_deg) == ((10.0,), (100.0,), (15.0,))
    if not is_dummy and sequence.readout.sha256 is None:
        return header

    def listed(values: tuple[float, ...]) -> tuple[float, ...]:
        return values if len(values) == n > 1 else ()

    return replace(
        _UNSAID,
        trajectory_unit=header.trajectory_unit,
        angle_increment_deg=header.angle_increment_deg,
        readouts_per_frame=header.readouts_per_frame,
        te_ms=listed(header.te_ms),
        tr_ms=listed(header.tr_ms),
        flip_deg=listed(header.flip_deg),
    )


def check_header(header: Header, sequence: Sequence, path: Path) -> None:
    """Check that a header is of a scan with the readouts, matrix and field of view of the sequence.

    Raises
    ------
    InputError
        If the scan is not radial but the sequence is, or a declared value is impossible.
    MismatchError
        If matrix or field of view are others than the sequence's.
    """
    # Of another type the file must store its trajectory, which is looked at.
    is_radial = header.trajectory in {None, "other", *RADIAL_TYPES}
    if sequence.readout.kind == "golden-radial" and not is_radial:
        raise InputError(
            f"{path}: not a radial scan, its trajectory is '{header.trajectory}'; "
            f"needed is one of {', '.join(RADIAL_TYPES)}, or a protocol of stored readouts."
        )
    if header.readouts_per_frame is not None and header.readouts_per_frame < 1:
        raise InputError(f"{path}: readouts_per_frame in the XML header is {header.readouts_per_frame}, not positive.")
    if header.matrix is not None and header.matrix != (sequence.matrix, sequence.matrix):
        raise MismatchError(
            f"{path}: matrix is {header.matrix[0]} x {header.matrix[1]}, "
            f"in the protocol {sequence.matrix} x {sequence.matrix}; {_CURE}."
        )
    fov_mm = sequence.fov * 1e3
    if header.fov_mm is not None and not all(abs(f - fov_mm) <= _FOV_TOLERANCE * fov_mm for f in header.fov_mm[:2]):
        raise MismatchError(
            f"{path}: field of view is {header.fov_mm[0]:g} x {header.fov_mm[1]:g} mm, "
            f"in the protocol {fov_mm:g} x {fov_mm:g} mm; {_CURE}."
        )


def check_angle_increment(header: Header, sequence: Sequence, path: Path) -> None:
    """Raise MismatchError if the header declares another angle increment than the sequence's."""
    increment, declared = sequence.readout.angle_increment, header.angle_increment_deg
    if increment is None or declared is None:
        return
    expected = float(np.rad2deg(increment))
    if not abs(declared - expected) <= 1e-3:
        raise MismatchError(
            f"{path}: stores no trajectory and declares an angle increment of {declared:g} deg, "
            f"in the protocol it is {expected:g} deg; {_CURE}."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trains:
    """The trains of a file, in SI units, as far as it has them."""

    flip: Double | None
    """Nominal flip angle in rad. Shape `(readouts)`."""
    te: Double | None
    """Echo time in s. Shape `(readouts)`."""
    tr: Double | None
    """Repetition time in s. Shape `(readouts)`."""
    inversion_time: float | None
    """Inversion time in s."""


def trains_of(header: Header, sequence: Sequence, path: Path) -> Trains:
    """Take the trains of a header that lists them readout by readout, or once where the sequence's are constant.

    Raises
    ------
    MismatchError
        If they contradict the sequence; the error names the first readout that does.
    """
    flip_deg = np.rad2deg(sequence.flip)
    flip = _train(header.flip_deg, flip_deg, _FLIP_TOLERANCE_DEG, ("flip angle", "deg"), path)
    te = _train(header.te_ms, sequence.te * 1e3, _TIME_TOLERANCE_MS, ("TE", "ms"), path)
    tr = _train(header.tr_ms, sequence.tr * 1e3, _TIME_TOLERANCE_MS, ("TR", "ms"), path)
    ti_ms = header.ti_ms
    if len(ti_ms) == 1:
        _check_inversion_time(ti_ms[0], sequence.inversion_time, path)
    return Trains(
        flip=None if flip is None else np.deg2rad(flip),
        te=None if te is None else te * 1e-3,
        tr=None if tr is None else tr * 1e-3,
        inversion_time=ti_ms[0] * 1e-3 if len(ti_ms) == 1 else None,
    )


def _check_inversion_time(ti_ms: float, expected: float | None, path: Path) -> None:
    if not abs(ti_ms - (0.0 if expected is None else expected * 1e3)) <= _TIME_TOLERANCE_MS:
        protocol = "the protocol has no inversion" if expected is None else f"in the protocol {expected * 1e3:g} ms"
        raise MismatchError(f"{path}: TI is {ti_ms:g} ms, {protocol}; {_CURE}.")


def _train(
    values: tuple[float, ...], expected: Double, tolerance: float, name_and_unit: tuple[str, str], path: Path
) -> Double | None:
    name, unit = name_and_unit
    train = np.array(values, np.float64)
    if train.size == 1 and np.ptp(expected) <= tolerance:
        train = np.full(expected.size, train[0])
    if train.size != expected.size:
        return None
    wrong = np.flatnonzero(~(np.abs(train - expected) <= tolerance))
    if wrong.size:
        i = wrong[0]
        raise MismatchError(
            f"{path}: {name} of readout {i} is {train[i]:g} {unit}, in the protocol {expected[i]:g} {unit}; {_CURE}."
        )
    return train
