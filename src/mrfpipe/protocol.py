"""Protocol: what is measured (sequence), in what (tissue), and what is searched for (grid), read from TOML.

Every number of a protocol is written once, in its TOML file (``dictionaries/*.toml`` or the user's own). Units stand in
the key names there and are turned into SI here and nowhere else.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from mrfpipe.arrays import Double, check_shape, frozen
from mrfpipe.errors import InputError
from mrfpipe.protocol_toml import HASHED_DECIMALS, write_toml

AXES = ("ff", "t1w", "t1f", "df", "b1")
"""The five axes of a grid, in the order in which its entries are numbered (the last varies fastest)."""


LONGEST_T1 = 100.0
"""No T1 is longer, in s: what is above was meant in ms."""


def check_t1(name: str, t1: Double) -> None:
    """Raise ValueError for a T1 that can only be in ms."""
    longest = float(np.max(t1, initial=0))
    if longest > LONGEST_T1:
        raise ValueError(f"{name} goes to {longest:g} s, and no T1 does; give it in s, not in ms.")


def _digest(value: object) -> str:
    """sha256 of a dataclass of numbers and arrays, independent of how its file was written."""

    def plain(v: object) -> object:
        if isinstance(v, np.ndarray):
            return [round(float(x), HASHED_DECIMALS) for x in v]
        return round(v, HASHED_DECIMALS) if isinstance(v, float) else v

    content = {f.name: plain(getattr(value, f.name)) for f in fields(value)}  # type: ignore[arg-type]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sequence:
    """The pulse sequence of one slice: inversion, a train of spoiled gradient echoes, recovery.

    Times run from pulse to pulse: inversion, `inversion_time`, then for every spoke an excitation by `flip`, the echo
    `te` after it and the next excitation `tr` after it; `recovery` follows the last `tr`.
    """

    flip: Double
    """Nominal flip angle in rad. Shape `(spokes)`."""
    te: Double
    """Echo time in s. Shape `(spokes)`."""
    tr: Double
    """Repetition time in s. Shape `(spokes)`."""
    inversion_efficiency: float
    """The inversion turns Mz into ``-efficiency Mz``: 1 for a full inversion, 0 for a saturation."""
    inversion_time: float
    """From inversion to first excitation, in s."""
    recovery: float
    """From the end of the train to the next inversion, in s."""
    rf_spoiling_increment: float
    """Increment of the quadratic RF phase, in rad."""
    excitation_time_bandwidth: float
    """Time-bandwidth product of the excitation, a Hann-windowed sinc."""
    spokes_per_frame: int
    """Consecutive spokes that make one frame."""
    angle_increment: float
    """Angle from spoke to spoke, in rad, never reset."""
    matrix: int
    """Voxels along x and along y."""
    readout_oversampling: int
    """Samples of a spoke for each voxel of the matrix."""
    fov: float
    """Field of view along x and along y, in m."""
    slice_thickness: float
    """Slice thickness in m."""

    def __post_init__(self) -> None:
        for name in ("flip", "te", "tr"):
            array = getattr(self, name)
            check_shape(name, array, "spokes", {"spokes": self.flip.size})
            object.__setattr__(self, name, frozen(array))

    @property
    def n_spokes(self) -> int:
        """Spokes of the whole train."""
        return self.flip.size

    @property
    def n_frames(self) -> int:
        """Frames of the whole train."""
        return self.n_spokes // self.spokes_per_frame

    @property
    def n_samples(self) -> int:
        """Samples of a spoke."""
        return self.matrix * self.readout_oversampling

    @property
    def hash(self) -> str:
        """sha256 over all values: frames and dictionaries of one sequence share it, whatever their grid."""
        return _digest(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tissue:
    """What does not vary from voxel to voxel: relaxation of the transverse signal and the fat spectrum."""

    t2_water: float
    """T2 of water in s."""
    t2_fat: float
    """T2 of fat in s."""
    fat_amplitudes: Double
    """Share of each fat peak. Shape `(peaks)`."""
    fat_shifts: Double
    """Shift of each fat peak from water in Hz, in the sign in which df adds to it. Shape `(peaks)`."""
    field: float
    """Static field in T."""

    def __post_init__(self) -> None:
        sizes = check_shape("fat_amplitudes", self.fat_amplitudes, "peaks")
        check_shape("fat_shifts", self.fat_shifts, "peaks", sizes)
        for name in ("fat_amplitudes", "fat_shifts"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @property
    def hash(self) -> str:
        """sha256 over all values."""
        return _digest(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """The five axes of a dictionary, each rising. Entry number and axis positions follow the order of `AXES`."""

    ff: Double
    """Fat fraction, 0 to 1."""
    t1w: Double
    """T1 of water in s."""
    t1f: Double
    """T1 of fat in s."""
    df: Double
    """Off-resonance in Hz."""
    b1: Double
    """Flip angle efficacy: actual over nominal flip angle."""

    def __post_init__(self) -> None:
        for name in AXES:
            axis = getattr(self, name)
            check_shape(name, axis, name)
            if axis.size == 0 or np.any(np.diff(axis) <= 0):
                raise ValueError(f"Grid axis {name} must have values that rise.")
            if name in ("t1w", "t1f"):
                check_t1(f"Grid axis {name}", axis)
            object.__setattr__(self, name, frozen(axis))

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Length of the axes in the order of `AXES`."""
        return self.ff.size, self.t1w.size, self.t1f.size, self.df.size, self.b1.size

    @property
    def n_entries(self) -> int:
        """Number of combinations."""
        return int(np.prod(self.shape))

    @property
    def hash(self) -> str:
        """sha256 over all values."""
        return _digest(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Protocol:
    """A named sequence, tissue and grid, with the TOML text that says the same."""

    name: str
    """Short name."""
    sequence: Sequence
    """What is measured."""
    tissue: Tissue
    """In what."""
    grid: Grid
    """What is searched for."""
    toml: str = ""
    """The text of the protocol's file; written from the values if it is not given or, after `dataclasses.replace`, says
    others."""

    def __post_init__(self) -> None:
        try:
            name, sequence, tissue, grid = _parse(self.toml, self.name)
            says_the_same = (name, _joint_hash(sequence, tissue, grid)) == (self.name, self.hash)
        except InputError:
            says_the_same = False
        if not says_the_same:
            object.__setattr__(self, "toml", write_toml(self.name, self.sequence, self.tissue, self.grid))

    def __repr__(self) -> str:
        train = f"{self.sequence.n_spokes} spokes in {self.sequence.n_frames} frames, matrix {self.sequence.matrix}"
        return f"<Protocol {self.name}: {train}, {self.grid.n_entries:,} entries>"

    @property
    def hash(self) -> str:
        """sha256 over the values of sequence, tissue and grid; names and comments do not count."""
        return _joint_hash(self.sequence, self.tissue, self.grid)


def _joint_hash(*parts: Sequence | Tissue | Grid) -> str:
    return hashlib.sha256("".join(part.hash for part in parts).encode()).hexdigest()


def built_in_protocols() -> list[str]:
    """Names of the protocols that come with mrfpipe."""
    files = resources.files("mrfpipe.dictionaries").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def load_protocol(protocol: str | Path) -> Protocol:
    """Read a protocol from a TOML file, or by the name of one that comes with mrfpipe.

    Raises
    ------
    InputError
        If there is no such protocol, or a key is missing, unknown or has an impossible value; the error names the key.
    """
    if str(protocol) in built_in_protocols():
        return parse_protocol((resources.files("mrfpipe.dictionaries") / f"{protocol}.toml").read_text(), str(protocol))
    try:
        text = Path(protocol).read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(built_in_protocols())
        raise InputError(f"Protocol '{protocol}' is neither a file nor one of: {known}.") from None
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"Protocol '{protocol}' cannot be read: {e}.") from e
    return parse_protocol(text, str(protocol))


def parse_protocol(text: str, source: str) -> Protocol:
    """Make a protocol from TOML text; `source` says in errors where the text is from.

    Raises
    ------
    InputError
        As `load_protocol`.
    """
    name, sequence, tissue, grid = _parse(text, source)
    return Protocol(name=name, sequence=sequence, tissue=tissue, grid=grid, toml=text)


def _parse(text: str, source: str) -> tuple[str, Sequence, Tissue, Grid]:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise InputError(f"{source}: not a TOML file: {e}.") from e
    top = _Table(tree, source, "")
    parts = (
        top.text("name"),
        _sequence(top.table("sequence")),
        _tissue(top.table("tissue")),
        _grid(top.table("grid")),
    )
    top.text("description")
    top.refuse_unknown()
    return parts


class _Table:
    """A TOML table that hands out checked values and names the key in every complaint."""

    def __init__(self, values: Mapping[str, Any], source: str, path: str) -> None:
        self.values, self.source, self.path = values, source, path
        self.seen: set[str] = set()

    def error(self, key: str, complaint: str) -> InputError:
        return InputError(f"{self.source}: {self.path}{key} {complaint}.")

    def take(self, key: str) -> Any:  # noqa: ANN401 - TOML values are what they are until checked
        self.seen.add(key)
        if key not in self.values:
            raise self.error(key, "is missing")
        return self.values[key]

    def text(self, key: str) -> str:
        value = self.take(key)
        if not isinstance(value, str) or not value:
            raise self.error(key, f"must be a text, not {value!r}")
        return value

    def table(self, key: str) -> "_Table":
        value = self.take(key)
        if not isinstance(value, dict):
            raise self.error(key, f"must be a table [{key}], not {value!r}")
        return _Table(value, self.source, f"{self.path}{key}.")

    def tables(self, key: str) -> "list[_Table]":
        value = self.take(key)
        if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
            raise self.error(key, f"must be one or more tables [[{self.path}{key}]]")
        return [_Table(v, self.source, f"{self.path}{key}[{i}].") for i, v in enumerate(value)]

    def number(self, key: str, least: float = -np.inf, most: float = np.inf, above: float = -np.inf) -> float:
        return self._number(key, self.take(key), least, most, above)

    def _number(self, key: str, value: object, least: float, most: float, above: float = -np.inf) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise self.error(key, f"must be a finite number, not {value!r}")
        if not (least <= value <= most and value > above):
            bound = f"above {above:g}" if above > -np.inf else f"from {least:g} to {most:g}"
            raise self.error(key, f"must be {bound}, not {value:g}")
        return float(value)

    def count(self, key: str) -> int:
        value = self.take(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error(key, f"must be a whole number of at least 1, not {value!r}")
        return value

    def numbers(self, key: str) -> Double:
        value = self.take(key)
        if not isinstance(value, list) or not value:
            raise self.error(key, f"must be a list of numbers, not {value!r}")
        return np.array([self._number(key, v, -np.inf, np.inf) for v in value])

    def ranges(self, key: str, least: float, most: float) -> Double:
        """Expand a list of ranges ``[start, stop, step]``, both ends included."""
        value = self.take(key)
        if not isinstance(value, list) or not value or not all(isinstance(r, list) and len(r) == 3 for r in value):
            raise self.error(key, f"must be a list of ranges [start, stop, step], not {value!r}")
        axis: list[float] = []
        for numbers in value:
            start, stop, step = (self._number(key, v, -np.inf, np.inf) for v in numbers)
            if step <= 0 or stop < start:
                raise self.error(key, f"has a range {numbers} that does not rise")
            n_steps = round((stop - start) / step)
            if n_steps > 100_000 or abs(start + n_steps * step - stop) > 1e-6 * step:
                raise self.error(key, f"has a range {numbers} whose step does not end at its stop, or too many steps")
            axis.extend(np.linspace(start, stop, n_steps + 1))
        if min(axis) < least or max(axis) > most:
            raise self.error(key, f"must lie from {least:g} to {most:g}")
        if np.any(np.diff(axis) <= 0):
            raise self.error(key, "must rise from range to range")
        return np.array(axis)

    def refuse_unknown(self) -> None:
        unknown = sorted(set(self.values) - self.seen)
        if unknown:
            raise self.error(unknown[0], f"is not known here; known are {', '.join(sorted(self.seen))}")


def _sequence(table: _Table) -> Sequence:
    segments = table.tables("train")
    flip, te, tr = (np.concatenate(parts) for parts in zip(*map(_segment, segments), strict=True))
    sequence = Sequence(
        flip=flip,
        te=te,
        tr=tr,
        inversion_efficiency=table.number("inversion_efficiency", 0, 1),
        inversion_time=table.number("inversion_time_ms", above=0) * 1e-3,
        recovery=table.number("recovery_ms", least=0) * 1e-3,
        rf_spoiling_increment=np.deg2rad(table.number("rf_spoiling_increment_deg", -360, 360)),
        excitation_time_bandwidth=table.number("excitation_time_bandwidth", above=0),
        spokes_per_frame=table.count("spokes_per_frame"),
        angle_increment=np.deg2rad(table.number("angle_increment_deg", -360, 360)),
        matrix=table.count("matrix"),
        readout_oversampling=table.count("readout_oversampling"),
        fov=table.number("fov_mm", above=0) * 1e-3,
        slice_thickness=table.number("slice_thickness_mm", above=0) * 1e-3,
    )
    table.refuse_unknown()
    if sequence.n_spokes % sequence.spokes_per_frame:
        raise table.error("spokes_per_frame", f"= {sequence.spokes_per_frame} must divide {sequence.n_spokes} spokes")
    return sequence


def _segment(table: _Table) -> Iterable[Double]:
    spokes = table.count("spokes")
    flip = table.number("flip_deg", 0, 180)
    te = table.number("te_ms", above=0)
    tr = table.number("tr_ms", above=te)
    table.refuse_unknown()
    return np.full(spokes, np.deg2rad(flip)), np.full(spokes, te * 1e-3), np.full(spokes, tr * 1e-3)


def _tissue(table: _Table) -> Tissue:
    amplitudes, shifts = table.numbers("fat_amplitudes"), table.numbers("fat_shifts_hz")
    if amplitudes.size != shifts.size:
        raise table.error("fat_shifts_hz", f"has {shifts.size} peaks, fat_amplitudes has {amplitudes.size}")
    if np.any(amplitudes < 0) or not 0.95 < amplitudes.sum() < 1.05:
        raise table.error("fat_amplitudes", f"must be shares of one, not a sum of {amplitudes.sum():g}")
    tissue = Tissue(
        t2_water=table.number("water_t2_ms", above=0) * 1e-3,
        t2_fat=table.number("fat_t2_ms", above=0) * 1e-3,
        fat_amplitudes=amplitudes,
        fat_shifts=shifts,
        field=table.number("field_t", above=0),
    )
    table.refuse_unknown()
    return tissue


def _grid(table: _Table) -> Grid:
    grid = Grid(
        ff=table.ranges("fat_fraction", 0, 1),
        t1w=table.ranges("t1_water_ms", 1, 1e5) * 1e-3,
        t1f=table.ranges("t1_fat_ms", 1, 1e5) * 1e-3,
        df=table.ranges("df_hz", -1e4, 1e4),
        b1=table.ranges("b1", 0.01, 10),
    )
    table.refuse_unknown()
    return grid
