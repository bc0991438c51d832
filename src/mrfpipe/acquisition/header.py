"""The header of a raw scan of any format, and its comparison with the expected sequence."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.errors import InputError, MismatchError, MrfpipeError
from mrfpipe.protocol import Sequence

RADIAL_TYPES = ("radial", "goldenangle")
"""Trajectory types in the header that mean radial spokes."""
CARTESIAN_TYPES = ("cartesian", "epi")
"""Trajectory types in the header that mean lines of a Cartesian grid."""

_TIME_TOLERANCE_MS = 0.005  # half of a scanner's 10 us raster
_FLIP_TOLERANCE_DEG = 0.01
_ANGLE_TOLERANCE_DEG = 1e-3
_THICKNESS_TOLERANCE_MM = 0.05
_FOV_TOLERANCE = 1e-3  # relative: a third of a voxel at the edge
_CURE = "use the protocol that the scan was measured with, or --trust-protocol if that is it"
_DUMMIES = ((10.0,), (100.0,), (15.0,))  # TE, TR and flip angle that Pulseq's interpreters write

Contradiction = tuple[tuple[str, ...], MrfpipeError]
"""Fields of a header that differ from the protocol, and the error to raise unless the protocol is trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The fields of a header that are used, in the units of ISMRMRD."""

    vendor: str | None = None
    """Manufacturer of the scanner."""
    field_strength: float | None = None
    """Static field in T."""
    protocol_name: str | None = None
    """Name that the operator gave to the measurement."""
    sequence_name: str | None = None
    """Name of the sequence on the scanner."""
    trajectory: str | None = None
    """Trajectory type in the terms of the ISMRMRD schema; None if the file does not say."""
    trajectory_unit: str | None = None
    """Declared unit of stored trajectories."""
    angle_increment_deg: float | None = None
    """Declared angle between consecutive spokes."""
    readouts_per_frame: int | None = None
    """Declared number of consecutive readouts per frame."""
    readouts_per_slice: int | None = None
    """Declared number of readouts per slice, for files whose counters may not number the readouts."""
    n_slices: int | None = None
    """Declared number of slices."""
    matrix: tuple[int, int] | None = None
    """Number of voxels of the image along x and y."""
    fov_mm: tuple[float, float, float] | None = None
    """Field of view of the image along x, y and the slice normal."""
    slice_thickness_mm: float | None = None
    """Slice thickness, if it is certain that the last number of `fov_mm` is the slice thickness."""
    te_ms: tuple[float, ...] = ()
    """Echo times, as many as the header lists."""
    tr_ms: tuple[float, ...] = ()
    """Repetition times, as many as the header lists."""
    ti_ms: tuple[float, ...] = ()
    """Inversion times, as many as the header lists."""
    flip_deg: tuple[float, ...] = ()
    """Flip angles, as many as the header lists."""

    @property
    def is_of_pulseq(self) -> bool:
        """Whether the scanner's Pulseq interpreter wrote the header; it knows nothing of the sequence it plays."""
        return "pulseq" in (self.sequence_name or "").lower() or (self.te_ms, self.tr_ms, self.flip_deg) == _DUMMIES

    def without(self, *names: str) -> "Header":
        """Return the header with the named fields unset."""
        return replace(self, **{name: getattr(_UNSAID, name) for name in names})

    def says(self, name: str) -> str:
        """Describe the value of a field in words."""
        value = getattr(self, name)
        match name:
            case "trajectory":
                return f"trajectory '{value}'"
            case "matrix":
                return f"matrix {value[0]} x {value[1]}"
            case "fov_mm":
                return f"field of view {value[0]:g} x {value[1]:g} mm"
            case "slice_thickness_mm":
                return f"slice thickness {value:g} mm"
            case "angle_increment_deg":
                return f"angle increment {value:g} deg"
        label, unit = {"flip_deg": ("flip angle", "deg")}.get(name, (name[:2].upper(), "ms"))
        ends = f"{value[0]:g}" if len(value) == 1 else f"{min(value):g} to {max(value):g}"
        return f"{label} {ends} {unit}"


_UNSAID = Header()
_OF_READOUTS = ("te_ms", "tr_ms", "flip_deg")
_OF_GEOMETRY = ("matrix", "fov_mm", "slice_thickness_mm", "n_slices", "readouts_per_slice")
_OF_THE_SEQUENCE = ("trajectory", *_OF_GEOMETRY, *_OF_READOUTS, "ti_ms")


def believed(
    header: Header, sequence: Sequence, path: Path, *, computed: bool, trusted: bool
) -> tuple[Header, tuple[str, ...]]:
    """Compare a header with the sequence; return it without the fields that are not believed, and remarks on those.

    The Pulseq interpreter knows nothing of the sequence it plays, and describes some Cartesian sequence in the header.
    In such a header, or if the protocol is derived from a Pulseq file, only lists with one value per readout are
    compared.

    Parameters
    ----------
    header
        Header as read.
    sequence
        Sequence that the scan is expected to have.
    path
        The file, for errors.
    computed
        Whether the trajectory is to be computed from the sequence.
    trusted
        Whether the sequence overrides the header where they differ.

    Raises
    ------
    InputError
        If the scan is not radial but the sequence is, or a declared value is impossible.
    MismatchError
        If a value differs from the sequence; for values per readout, the error names the first readout that differs.
    """
    remarks = []
    if header.is_of_pulseq and computed and sequence.readout.sha256 is None and not trusted:
        raise InputError(
            f"{path}: was played by the Pulseq interpreter and stores no trajectory; derive the protocol from its "
            "sequence file (mrfpipe protocol SCAN.seq), or use --trust-protocol if it has this protocol's spokes."
        )
    if header.is_of_pulseq or sequence.readout.sha256 is not None:
        n = sequence.n_readouts
        kept = {name for name in _OF_READOUTS if len(getattr(header, name)) == n > 1}
        dropped = [name for name in _OF_THE_SEQUENCE if name not in kept and getattr(header, name)]
        other = {name for names, _ in contradictions(header, sequence, path, computed=computed) for name in names}
        if header.trajectory in CARTESIAN_TYPES:
            other.add("trajectory")
        said = [header.says(name) for name in dropped if name in {*other, *_OF_READOUTS}]
        if header.is_of_pulseq and said:
            remarks.append(f"the header is ignored, as the Pulseq interpreter does not fill it: {', '.join(said)}")
        header = header.without(*dropped)
    if header.readouts_per_frame is not None and header.readouts_per_frame < 1:
        raise InputError(f"{path}: readouts_per_frame in the XML header is {header.readouts_per_frame}, not positive.")
    wrong: list[str] = []
    for names, error in contradictions(header, sequence, path, computed=computed):
        if not trusted:
            raise error
        wrong += names
    if wrong:
        remarks.append(f"the protocol is trusted although the header states {', '.join(map(header.says, wrong))}")
    of_slice = ["fov_mm"] if "slice_thickness_mm" in wrong else []  # its last number
    return header.without(*wrong, *of_slice), tuple(remarks)


def contradictions(header: Header, sequence: Sequence, path: Path, *, computed: bool) -> Iterator[Contradiction]:
    """Yield the contradictions between a header and the sequence; for the parameters, see `believed`."""
    # Type "other" is accepted unless the trajectory is to be computed: a stored trajectory is checked itself.
    is_radial = header.trajectory in {None, *RADIAL_TYPES} or (header.trajectory == "other" and not computed)
    if sequence.readout.kind == "golden-radial" and not is_radial:
        stores = ", and it stores none" if computed else ""
        yield (
            ("trajectory",),
            InputError(
                f"{path}: not a radial scan, its trajectory is '{header.trajectory}'{stores}; needed is one of "
                f"{', '.join(RADIAL_TYPES)}, or a protocol of stored readouts; --trust-protocol if the header is wrong."
            ),
        )
    if header.matrix is not None and header.matrix != (sequence.matrix, sequence.matrix):
        expected = f"{sequence.matrix} x {sequence.matrix}"
        yield ("matrix",), _other(path, f"matrix is {header.matrix[0]} x {header.matrix[1]}", expected)
    fov_mm = sequence.fov * 1e3
    if header.fov_mm is not None and not all(abs(f - fov_mm) <= _FOV_TOLERANCE * fov_mm for f in header.fov_mm[:2]):
        found = f"field of view is {header.fov_mm[0]:g} x {header.fov_mm[1]:g} mm"
        yield ("fov_mm",), _other(path, found, f"{fov_mm:g} x {fov_mm:g} mm")
    thickness_mm, declared_mm = sequence.slice_thickness * 1e3, header.slice_thickness_mm
    if declared_mm and not abs(declared_mm - thickness_mm) <= _THICKNESS_TOLERANCE_MM:
        found = f"slice thickness is {declared_mm:g} mm"
        yield ("slice_thickness_mm",), _other(path, found, f"{thickness_mm:g} mm")
    increment, declared = sequence.readout.angle_increment, header.angle_increment_deg
    if computed and increment is not None and declared is not None:
        expected_deg = float(np.rad2deg(increment))
        if not abs(declared - expected_deg) <= _ANGLE_TOLERANCE_DEG:
            found = f"stores no trajectory and declares an angle increment of {declared:g} deg"
            yield ("angle_increment_deg",), _other(path, found, f"{expected_deg:g} deg")
    for name, label, unit, tolerance, expected_train in (
        ("flip_deg", "flip angle", "deg", _FLIP_TOLERANCE_DEG, np.rad2deg(sequence.flip)),
        ("te_ms", "TE", "ms", _TIME_TOLERANCE_MS, sequence.te * 1e3),
        ("tr_ms", "TR", "ms", _TIME_TOLERANCE_MS, sequence.tr * 1e3),
    ):
        train = _train(getattr(header, name), expected_train, tolerance)
        if train is not None and not (fits := np.abs(train - expected_train) <= tolerance).all():
            i = int(np.argmin(fits))
            found = f"{label} of readout {i} is {train[i]:g} {unit}"
            yield (name,), _other(path, found, f"{expected_train[i]:g} {unit}")
    if len(header.ti_ms) == 1:
        ti = sequence.inversion_time
        if not abs(header.ti_ms[0] - (0.0 if ti is None else ti * 1e3)) <= _TIME_TOLERANCE_MS:
            yield ("ti_ms",), _other(path, f"TI is {header.ti_ms[0]:g} ms", None if ti is None else f"{ti * 1e3:g} ms")


def _other(path: Path, found: str, expected: str | None) -> MismatchError:
    protocol = "the protocol has no inversion" if expected is None else f"in the protocol {expected}"
    return MismatchError(f"{path}: {found}, {protocol}; {_CURE}.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trains:
    """Flip angles, TE, TR and TI of a file in SI units, as far as the file has them."""

    flip: Double | None
    """Nominal flip angle in rad. Shape `(readouts)`."""
    te: Double | None
    """Echo time in s. Shape `(readouts)`."""
    tr: Double | None
    """Repetition time in s. Shape `(readouts)`."""
    inversion_time: float | None
    """Inversion time in s."""


def trains_of(header: Header, sequence: Sequence) -> Trains:
    """Return the trains that a header lists with one value per readout, or one value if the sequence's is constant."""
    flip = _train(header.flip_deg, np.rad2deg(sequence.flip), _FLIP_TOLERANCE_DEG)
    te = _train(header.te_ms, sequence.te * 1e3, _TIME_TOLERANCE_MS)
    tr = _train(header.tr_ms, sequence.tr * 1e3, _TIME_TOLERANCE_MS)
    ti_ms = header.ti_ms
    return Trains(
        flip=None if flip is None else np.deg2rad(flip),
        te=None if te is None else te * 1e-3,
        tr=None if tr is None else tr * 1e-3,
        inversion_time=ti_ms[0] * 1e-3 if len(ti_ms) == 1 else None,
    )


def _train(values: tuple[float, ...], expected: Double, tolerance: float) -> Double | None:
    train = np.array(values, np.float64)
    if train.size == 1 and np.ptp(expected) <= tolerance:
        train = np.full(expected.size, train[0])
    return train if train.size == expected.size else None
