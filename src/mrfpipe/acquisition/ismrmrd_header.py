"""The XML header of an ISMRMRD file: read into a value, and held against the sequence it should belong to."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ismrmrd.xsd as xsd
import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.protocol import Sequence

RADIAL_TYPES = ("radial", "goldenangle")
"""Trajectory types of the header that are radial spokes."""

_TIME_TOLERANCE_MS = 0.005  # half of a scanner's 10 us raster
_FLIP_TOLERANCE_DEG = 0.01
_FOV_TOLERANCE = 1e-3  # relative: a third of a voxel at the edge
_CURE = "use the protocol that the scan was measured with"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is used of an ISMRMRD header, in the file's own units."""

    vendor: str | None
    """Who made the scanner."""
    field_strength: float | None
    """Static field in T."""
    protocol_name: str | None
    """What the operator called the measurement."""
    trajectory: str
    """Trajectory type, one of the schema's words."""
    trajectory_unit: str | None
    """Declared unit of stored trajectories."""
    angle_increment_deg: float | None
    """Declared angle from spoke to spoke."""
    spokes_per_frame: int | None
    """Declared number of consecutive spokes of a frame."""
    n_slices: int | None
    """Announced number of slices."""
    matrix: tuple[int, int]
    """Voxels along x and y of the image."""
    fov_mm: tuple[float, float, float]
    """Field of view of the image along x, y and the slice's normal."""
    te_ms: tuple[float, ...]
    """Echo times, as many as the header lists."""
    tr_ms: tuple[float, ...]
    """Repetition times, as many as the header lists."""
    ti_ms: tuple[float, ...]
    """Inversion times, as many as the header lists."""
    flip_deg: tuple[float, ...]
    """Flip angles, as many as the header lists."""


def parse_header(xml: bytes, path: Path, encoding: int = 0) -> Header:
    """Parse the XML header.

    Parameters
    ----------
    xml
        The document.
    path
        The file it is from, for errors.
    encoding
        Which of its encodings describes the acquisitions.

    Raises
    ------
    InputError
        If it is not XML, not an ISMRMRD header, or has values that are none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # values that the parser only warns about are refused below
            document = xsd.CreateFromDocument(xml)
    except (ValueError, TypeError) as e:
        raise InputError(f"{path}: the XML header is not valid ISMRMRD ({_first_line(e)}); convert again.") from e
    if encoding >= len(document.encoding):
        raise InputError(f"{path}: the XML header has no encoding number {encoding}; convert the scan again.")
    try:
        return _header(document, document.encoding[encoding])
    except (ValueError, TypeError, AttributeError) as e:
        raise InputError(f"{path}: the XML header has a value that is none ({_first_line(e)}); convert again.") from e


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(". ")


def _header(document: Any, encoding: Any) -> Header:  # noqa: ANN401 - the schema's classes are untyped
    system, measurement = document.acquisitionSystemInformation, document.measurementInformation
    sequence, described = document.sequenceParameters, encoding.trajectoryDescription
    field_strength = system.systemFieldStrength_T if system else None
    unit = _parameter(described, "userParameterString", "trajectory_unit")
    angle = _parameter(described, "userParameterDouble", "angle_increment_deg")
    spokes_per_frame = _parameter(described, "userParameterLong", "spokes_per_frame")
    space, slices = encoding.reconSpace, encoding.encodingLimits.slice
    return Header(
        vendor=system.systemVendor if system else None,
        field_strength=None if field_strength is None else float(field_strength),
        protocol_name=measurement.protocolName if measurement else None,
        trajectory=str(encoding.trajectory.value),
        trajectory_unit=None if unit is None else str(unit),
        angle_increment_deg=None if angle is None else float(angle),
        spokes_per_frame=None if spokes_per_frame is None else int(spokes_per_frame),
        n_slices=None if slices is None else int(slices.maximum) + 1,
        matrix=(int(space.matrixSize.x), int(space.matrixSize.y)),
        fov_mm=(float(space.fieldOfView_mm.x), float(space.fieldOfView_mm.y), float(space.fieldOfView_mm.z)),
        te_ms=_numbers(sequence.TE if sequence else ()),
        tr_ms=_numbers(sequence.TR if sequence else ()),
        ti_ms=_numbers(sequence.TI if sequence else ()),
        flip_deg=_numbers(sequence.flipAngle_deg if sequence else ()),
    )


def _parameter(description: Any, kind: str, name: str) -> Any:  # noqa: ANN401 - the schema's classes are untyped
    parameters = getattr(description, kind) if description else []
    return next((p.value for p in parameters if p.name == name), None)


def _numbers(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def check_header(header: Header, sequence: Sequence, path: Path) -> None:
    """Check that a header is of a radial scan with the matrix and field of view of the sequence.

    Raises
    ------
    InputError
        If the scan is not radial, or a declared value is impossible.
    MismatchError
        If matrix or field of view are others than the sequence's.
    """
    if header.trajectory not in RADIAL_TYPES:
        raise InputError(
            f"{path}: not a radial scan, its trajectory is '{header.trajectory}'; "
            f"needed is one of {', '.join(RADIAL_TYPES)}."
        )
    if header.spokes_per_frame is not None and header.spokes_per_frame < 1:
        raise InputError(f"{path}: spokes_per_frame in the XML header is {header.spokes_per_frame}, not positive.")
    if header.matrix != (sequence.matrix, sequence.matrix):
        raise MismatchError(
            f"{path}: matrix is {header.matrix[0]} x {header.matrix[1]}, "
            f"in the protocol {sequence.matrix} x {sequence.matrix}; {_CURE}."
        )
    fov_mm = sequence.fov * 1e3
    if not all(abs(f - fov_mm) <= _FOV_TOLERANCE * fov_mm for f in header.fov_mm[:2]):
        raise MismatchError(
            f"{path}: field of view is {header.fov_mm[0]:g} x {header.fov_mm[1]:g} mm, "
            f"in the protocol {fov_mm:g} x {fov_mm:g} mm; {_CURE}."
        )


def check_angle_increment(header: Header, sequence: Sequence, path: Path) -> None:
    """Raise MismatchError if the header declares another angle increment than the sequence's."""
    expected, declared = float(np.rad2deg(sequence.angle_increment)), header.angle_increment_deg
    if declared is not None and not abs(declared - expected) <= 1e-3:
        raise MismatchError(
            f"{path}: stores no trajectory and declares an angle increment of {declared:g} deg, "
            f"in the protocol it is {expected:g} deg; {_CURE}."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trains:
    """The trains of a file, in SI units, as far as it has them."""

    flip: Double | None
    """Nominal flip angle in rad. Shape `(spokes)`."""
    te: Double | None
    """Echo time in s. Shape `(spokes)`."""
    tr: Double | None
    """Repetition time in s. Shape `(spokes)`."""
    inversion_time: float | None
    """Inversion time in s."""


def trains_of(header: Header, sequence: Sequence, path: Path) -> Trains:
    """Take the trains of a header that lists them spoke by spoke, or once where the sequence's are constant.

    Raises
    ------
    MismatchError
        If they contradict the sequence; the error names the first spoke that does.
    """
    flip_deg = np.rad2deg(sequence.flip)
    flip = _train(header.flip_deg, flip_deg, _FLIP_TOLERANCE_DEG, ("flip angle", "deg"), path)
    te = _train(header.te_ms, sequence.te * 1e3, _TIME_TOLERANCE_MS, ("TE", "ms"), path)
    tr = _train(header.tr_ms, sequence.tr * 1e3, _TIME_TOLERANCE_MS, ("TR", "ms"), path)
    ti_ms, expected_ms = header.ti_ms, sequence.inversion_time * 1e3
    if len(ti_ms) == 1 and not abs(ti_ms[0] - expected_ms) <= _TIME_TOLERANCE_MS:
        raise MismatchError(f"{path}: TI is {ti_ms[0]:g} ms, in the protocol {expected_ms:g} ms; {_CURE}.")
    return Trains(
        flip=None if flip is None else np.deg2rad(flip),
        te=None if te is None else te * 1e-3,
        tr=None if tr is None else tr * 1e-3,
        inversion_time=ti_ms[0] * 1e-3 if len(ti_ms) == 1 else None,
    )


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
            f"{path}: {name} of spoke {i} is {train[i]:g} {unit}, in the protocol {expected[i]:g} {unit}; {_CURE}."
        )
    return train
