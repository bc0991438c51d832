"""Read a protocol from a TOML file: keys are checked, units are converted to SI, and errors name the key."""

import csv
import tomllib
from importlib import resources
from pathlib import Path

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.errors import InputError
from mrfpipe.protocol.blocks import Block, Delay, Excitations, Inversion, Pulses, Readout, Spoiling, T2Preparation
from mrfpipe.protocol.protocol import Component, Grid, History, Protocol
from mrfpipe.protocol.sequence import Sequence
from mrfpipe.protocol.table import Table
from mrfpipe.quantities import QUANTITIES, Condition, Parameter

_BLOCKS = ("inversion", "t2-preparation", "pulses", "delay", "spoiling", "excitations")
_COLUMNS = ("flip_deg", "phase_deg", "te_ms", "tr_ms")
SHORTEST_TR_MS = 0.1
"""Shorter than any repetition time that is played, and longer than one of 20 ms that is given in s."""
SMALLEST_FOV_MM = 1.0
"""Smaller than any field of view of a scanner, and larger than one of 350 mm that is given in m."""
THINNEST_SLICE_MM = 0.02
"""Thinner than any slice that a pulse selects, and thicker than one of 10 mm that is given in m."""
_OLD = "is of an older mrfpipe; write it again as docs/your-protocol.md says, from dictionaries/t1ff.toml"


def built_in_protocols() -> list[str]:
    """Return the names of the protocols that come with mrfpipe."""
    files = resources.files("mrfpipe.dictionaries").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def load_protocol(protocol: str | Path) -> Protocol:
    """Read a protocol from a TOML file, or one that comes with mrfpipe by its name.

    Raises
    ------
    InputError
        If there is no such protocol, or a key is missing, unknown or has an impossible value; the error names the key.
    """
    if str(protocol) in built_in_protocols():
        return parse_protocol((resources.files("mrfpipe.dictionaries") / f"{protocol}.toml").read_text(), str(protocol))
    path = Path(protocol)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(built_in_protocols())
        raise InputError(f"Protocol '{protocol}' is neither a file nor one of: {known}.") from None
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"Protocol '{protocol}' cannot be read: {e}.") from e
    return parse_protocol(text, str(protocol), folder=path.parent)


def parse_protocol(text: str, source: str, *, folder: Path | None = None) -> Protocol:
    """Parse a protocol from TOML text.

    Parameters
    ----------
    text
        Content of a protocol file.
    source
        Origin of the text, for errors.
    folder
        Folder of the files that the protocol refers to; without it, the protocol must not refer to any.

    Raises
    ------
    InputError
        See `load_protocol`.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise InputError(f"{source}: not a TOML file: {e}.") from e
    top = Table(tree, source, "")
    if "tissue" in tree or "grid" in tree:
        raise InputError(f"{source} {_OLD}.")
    try:
        return _protocol(top, folder)
    except ValueError as e:
        raise InputError(f"{source}: {e}") from e


def _protocol(top: Table, folder: Path | None) -> Protocol:
    sequence, history = _sequence(top, folder), _history(top)
    parameters, grid = _parameters(top.table("parameters"))
    components, share = _components(top)
    protocol = Protocol(
        name=top.text("name"),
        description=top.text("description", ""),
        sequence=sequence,
        history=history,
        field=top.number("field_t", above=0),
        parameters=parameters,
        grid=grid,
        components=components,
        share=share,
        subspace_rank=_subspace_rank(top, sequence.n_frames),
    )
    top.refuse_unknown()
    return protocol


def _sequence(top: Table, folder: Path | None) -> Sequence:
    geometry = top.table("geometry")
    sequence = Sequence(
        blocks=tuple(_block(table, folder) for table in top.tables("sequence")),
        readout=_readout(top.table("readout")),
        matrix=geometry.count("matrix"),
        fov=geometry.number("fov_mm", above=SMALLEST_FOV_MM) * 1e-3,
        slice_thickness=geometry.number("slice_thickness_mm", above=THINNEST_SLICE_MM) * 1e-3,
        excitation_time_bandwidth=geometry.number("excitation_time_bandwidth", above=0),
    )
    geometry.refuse_unknown()
    return sequence


def _readout(table: Table) -> Readout:
    per_frame = table.count("readouts_per_frame")
    is_stored = table.choice("kind", ("golden-radial", "stored")) == "stored"
    readout = Readout(
        kind="stored" if is_stored else "golden-radial",
        readouts_per_frame=per_frame,
        angle_increment=None if is_stored else float(np.deg2rad(table.number("angle_increment_deg", -360, 360))),
        oversampling=None if is_stored else table.count("oversampling"),
        pulseq=table.text("pulseq") if table.has("pulseq") else None,
        sha256=table.text("sha256") if table.has("sha256") else None,
        soft_delays=_soft_delays(table),
        heartbeat=table.number("heartbeat_ms", above=0) * 1e-3 if table.has("heartbeat_ms") else None,
    )
    table.refuse_unknown()
    return readout


def _soft_delays(readout: Table) -> tuple[tuple[str, float], ...]:
    if not readout.has("soft_delays_ms"):
        return ()
    delays = readout.table("soft_delays_ms")
    return tuple((name, delays.number(name, least=0) * 1e-3) for name in delays.values)


def _block(table: Table, folder: Path | None) -> Block:
    block: Block
    match table.choice("block", _BLOCKS):
        case "inversion":
            block = Inversion(
                efficiency=table.number("efficiency", 0, 1, default=1.0),
                scales_with_b1=table.flag("scales_with_b1", default=False),
            )
        case "t2-preparation":
            block = T2Preparation(duration=table.number("duration_ms", above=0) * 1e-3)
        case "pulses":
            block = _pulses(table)
        case "delay":
            block = Delay(duration=table.number("duration_ms", least=0) * 1e-3)
        case "spoiling":
            block = Spoiling()
        case _:
            block = _excitations(table, folder)
    table.refuse_unknown()
    return block


def _excitations(table: Table, folder: Path | None) -> Excitations:
    if table.has("file"):
        beside = {key: table.values[key] for key in _COLUMNS if table.has(key)}
        columns = _columns(table, folder)
        for key in beside.keys() & columns.keys():
            raise table.error(key, f"is also a column of {table.values['file']!r}; leave one of them out")
        return _train(table, Table(beside | columns, table.source, table.path), count=0)
    return _train(table, table, count=table.count("count") if table.has("count") else 0)


def _pulses(table: Table) -> Pulses:
    flip = table.number_or_list("flip_deg", 0, 720)
    phase = table.number_or_list("phase_deg", -1e6, 1e6, default=0.0)
    duration = table.number_or_list("duration_ms", 0, np.inf)
    flip, phase, duration = _as_many(
        table, "pulses", table.count("count") if table.has("count") else 0, flip, phase, duration
    )
    return Pulses(
        flip=np.deg2rad(flip),
        phase=np.deg2rad(phase),
        duration=duration * 1e-3,
        dephasing=table.count("dephasing_cycles", least=0, default=0),
    )


def _as_many(table: Table, what: str, count: int, *columns: Double) -> tuple[Double, ...]:
    """Repeat columns of one value to the length of the others, or to `count` values; 0 means that it is not given."""
    sizes = {column.size for column in columns if column.size > 1} | ({count} if count else set())
    if len(sizes) > 1:
        raise table.error(what, f"have columns of {' and '.join(map(str, sorted(sizes)))} values")
    if not sizes:
        raise table.error("count", "is missing")
    n = sizes.pop()
    return tuple(np.broadcast_to(column, n) for column in columns)


def _train(table: Table, columns: Table, count: int) -> Excitations:
    """Make a train from columns with one value in total or one value per readout."""
    flip = columns.number_or_list("flip_deg", 0, 360)
    te = columns.number_or_list("te_ms", 0, np.inf)
    tr = columns.number_or_list("tr_ms", 0, np.inf)
    phase = columns.number_or_list("phase_deg", -1e6, 1e6, default=0.0)
    flip, te, tr, phase = _as_many(table, "excitations", count, flip, te, tr, phase)
    if np.any(te <= 0):
        raise columns.error("te_ms", f"must be above 0, not {te.min():g}")
    if np.any(tr <= te):
        first = int(np.flatnonzero(tr <= te)[0])
        readout = f" in readout {first}" if tr.size > 1 else ""
        raise columns.error("tr_ms", f"must be above te_ms, {te[first]:g}{readout}, not {tr[first]:g}")
    if tr.min() < SHORTEST_TR_MS:
        raise columns.error("tr_ms", f"must be at least {SHORTEST_TR_MS:g}, not {tr.min():g}; it is in ms")
    return Excitations(
        flip=np.deg2rad(flip),
        te=te * 1e-3,
        tr=tr * 1e-3,
        phase=np.deg2rad(phase),
        rf_spoiling_increment=float(np.deg2rad(table.number("rf_spoiling_increment_deg", -360, 360, default=0.0))),
        dephasing=table.count("dephasing_cycles", least=0, default=1),
    )


def _columns(table: Table, folder: Path | None) -> dict[str, list[float]]:
    """Read a CSV file whose first line names the columns."""
    name = table.text("file")
    if folder is None:
        raise table.error("file", f"= {name!r} cannot be found from here; give the numbers as lists")
    try:
        with (folder / name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
        columns = {key: [float(row[key]) for row in rows] for key in _COLUMNS if rows and key in rows[0]}
    except (OSError, ValueError, TypeError, csv.Error) as e:
        raise table.error("file", f"= {name!r} is no file of numbers under {', '.join(_COLUMNS)}: {e}") from e
    return columns


def _subspace_rank(top: Table, n_frames: int) -> int | None:
    if not top.has("reconstruction"):
        return None
    table = top.table("reconstruction")
    rank = table.count("subspace_rank", least=2)
    if rank > n_frames:
        raise table.error("subspace_rank", f"must be at most {n_frames}, the number of frames, not {rank}")
    table.refuse_unknown()
    return rank


def _history(top: Table) -> History:
    if not top.has("history"):
        return History()
    table = top.table("history")
    match table.choice("kind", ("equilibrium", "repeated", "multislice")):
        case "equilibrium":
            history = History(kind="equilibrium")
        case "multislice":
            history = History(kind="multislice", slices=table.count("slices"))
        case _:
            history = History()
    table.refuse_unknown()
    return history


def _parameters(tables: Table) -> tuple[tuple[Parameter, ...], Grid]:
    names = list(tables.values)
    quantities = {name: QUANTITIES[tables.table(name).choice("quantity", QUANTITIES)] for name in names}
    scales = {name: quantity.scale for name, quantity in quantities.items()}
    parameters, axes = [], {}
    for name, quantity in quantities.items():
        table = tables.table(name)
        table.text("quantity")
        low, high = quantity.least * quantity.scale, quantity.most * quantity.scale
        axis = axes[name] = table.ranges("ranges", low, high) / quantity.scale
        parameters.append(
            Parameter(
                name=name,
                quantity=quantity,
                title=table.text("title", quantity.title),
                counts=_condition(table, scales),
                weight=table.number("weight", least=0, default=1.0),
                searched=(float(axis[0]), float(axis[-1])),
            )
        )
        table.refuse_unknown()
    return tuple(parameters), Grid(axes=axes)


def _condition(table: Table, scales: dict[str, float]) -> Condition | None:
    text = table.text("counts_where", "")
    try:
        return Condition.parse(text, scales) if text else None
    except ValueError as e:
        raise table.error("counts_where", f"= {e}") from e


def _components(top: Table) -> tuple[tuple[Component, ...], str | None]:
    tables = top.tables("components")
    shares = [table.text("share", "") for table in tables]
    if len(tables) > 2 or (shares[0] if len(tables) == 1 else shares[0] or not shares[-1]):
        raise top.error("components", "must be one, or two of which the second has a share")
    return tuple(map(_component, tables)), shares[-1] or None


def _component(table: Table) -> Component:
    amplitudes, shifts = np.ones(1), np.zeros(1)
    if table.has("amplitudes") or table.has("shifts_hz"):
        amplitudes, shifts = table.numbers("amplitudes"), table.numbers("shifts_hz")
    if amplitudes.size != shifts.size:
        raise table.error("shifts_hz", f"has {shifts.size} peaks, amplitudes has {amplitudes.size}")
    if np.any(amplitudes < 0) or not 0.95 < amplitudes.sum() < 1.05:
        raise table.error("amplitudes", f"must be shares of one, not a sum of {amplitudes.sum():g}")
    component = Component(
        name=table.text("name"),
        t1=_relaxation(table, "t1"),
        t2=_relaxation(table, "t2"),
        amplitudes=amplitudes,
        shifts=shifts,
    )
    table.refuse_unknown()
    return component


def _relaxation(table: Table, key: str) -> str | float:
    """Return the name of a parameter, or a time in s."""
    if table.has(key):
        return table.text(key)
    return table.number(f"{key}_ms", above=0) * 1e-3
