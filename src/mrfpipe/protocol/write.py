"""Write a protocol as TOML, so that `mrfpipe.protocol.read` reads back the same protocol.

Defaults are omitted, and numbers are as short as possible without changing the hash: 4.63 ms, stored as 0.00463 s, is
written as 4.63. The hash of a protocol is computed from the same text.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.protocol.blocks import Block, Delay, Excitations, Inversion, Pulses, Spoiling, T2Preparation
from mrfpipe.quantities import Parameter

if TYPE_CHECKING:
    from mrfpipe.protocol.protocol import Component, Protocol
    from mrfpipe.protocol.sequence import Sequence

HASHED_DECIMALS = 12
"""Number of decimals, in SI units, that the hash of a protocol depends on."""
_EVEN = 1e-6
"""Largest difference between the steps of a range, relative to the step."""
_MOST_RUNS = 24
"""Largest number of plateaus in a train that is written as one table per plateau; longer trains are lists."""
_A_LINE = 12
"""Numbers of a list per line."""

Lines = list[str]


def write_toml(protocol: "Protocol") -> str:
    """Return the text of a protocol file."""
    lines = [f"name = {json.dumps(protocol.name)}"]
    if protocol.description:
        lines.append(f"description = {json.dumps(protocol.description)}")
    *searched, field = searched_tables(protocol, described=True)
    rank = [] if protocol.subspace_rank is None else [f"[reconstruction]\nsubspace_rank = {protocol.subspace_rank}"]
    tables = [*sequence_tables(protocol.sequence, described=True), *rank, *searched]
    return "\n\n".join(["\n".join([*lines, field]), *tables]) + "\n"


def sequence_tables(sequence: "Sequence", *, described: bool = False) -> Lines:
    """Write the tables of the sequence; with `described`, also name, soft delays and heartbeat of its Pulseq file."""
    readout = sequence.readout
    geometry = [
        "[geometry]",
        f"matrix = {sequence.matrix}",
        f"fov_mm = {_number(sequence.fov, MILLI)}",
        f"slice_thickness_mm = {_number(sequence.slice_thickness, MILLI)}",
        f"excitation_time_bandwidth = {_number(sequence.excitation_time_bandwidth, PLAIN)}",
    ]
    read = ["[readout]", f'kind = "{readout.kind}"', f"readouts_per_frame = {readout.readouts_per_frame}"]
    if readout.angle_increment is not None:
        read.append(f"angle_increment_deg = {_number(readout.angle_increment, DEGREES)}")
    if readout.oversampling is not None:
        read.append(f"oversampling = {readout.oversampling}")
    if readout.pulseq is not None and described:
        read.append(f"pulseq = {json.dumps(readout.pulseq)}")
    if readout.soft_delays and described:
        delays = ", ".join(f"{json.dumps(name)} = {_number(value, MILLI)}" for name, value in readout.soft_delays)
        read.append(f"soft_delays_ms = {{ {delays} }}")
    if readout.heartbeat is not None and described:
        read.append(f"heartbeat_ms = {_number(readout.heartbeat, MILLI)}")
    if readout.sha256 is not None:
        read.append(f'sha256 = "{readout.sha256}"')
    blocks = [["[[sequence]]", *lines] for block in sequence.blocks for lines in _block(block)]
    return ["\n".join(table) for table in (geometry, read, *blocks)]


def _block(block: Block) -> Iterator[Lines]:
    """Write a block; a train of few plateaus takes one table for each."""
    match block:
        case Inversion():
            efficiency = [f"efficiency = {_number(block.efficiency, PLAIN)}"] if block.efficiency != 1 else []
            yield ['block = "inversion"', *efficiency, *(["scales_with_b1 = true"] if block.scales_with_b1 else [])]
        case T2Preparation():
            yield ['block = "t2-preparation"', f"duration_ms = {_number(block.duration, MILLI)}"]
        case Delay():
            yield ['block = "delay"', f"duration_ms = {_number(block.duration, MILLI)}"]
        case Spoiling():
            yield ['block = "spoiling"']
        case Pulses():
            columns = {
                "flip_deg": [_number(value, DEGREES) for value in block.flip.tolist()],
                "phase_deg": [_number(value, DEGREES) for value in block.phase.tolist()],
                "duration_ms": [_number(value, MILLI) for value in block.duration.tolist()],
            }
            dephasing = [f"dephasing_cycles = {block.dephasing}"] if block.dephasing else []
            yield [
                'block = "pulses"',
                f"count = {block.flip.size}",
                *(f"{key} = {_list(v)}" for key, v in columns.items()),
                *dephasing,
            ]
        case Excitations():
            yield from _train(block)


def _train(train: Excitations) -> Iterator[Lines]:
    columns = {
        "flip_deg": [_number(value, DEGREES) for value in train.flip.tolist()],
        "te_ms": [_number(value, MILLI) for value in train.te.tolist()],
        "tr_ms": [_number(value, MILLI) for value in train.tr.tolist()],
        "phase_deg": [_number(value, DEGREES) for value in train.phase.tolist()],
    }
    if not np.any(train.phase):
        del columns["phase_deg"]
    constant = []
    if train.rf_spoiling_increment:
        constant.append(f"rf_spoiling_increment_deg = {_number(train.rf_spoiling_increment, DEGREES)}")
    if train.dephasing != 1:
        constant.append(f"dephasing_cycles = {train.dephasing}")
    runs = [(row, len(list(same))) for row, same in groupby(zip(*columns.values(), strict=True))]
    if len(runs) <= _MOST_RUNS:
        for row, count in runs:
            plateau = [f"{key} = {value}" for key, value in zip(columns, row, strict=True)]
            yield ['block = "excitations"', f"count = {count}", *plateau, *constant]
        return
    yield ['block = "excitations"', *(f"{key} = {_list(values)}" for key, values in columns.items()), *constant]


def _list(values: Lines) -> str:
    """Write a list, or a single number if all values are equal."""
    if len(set(values)) == 1:
        return values[0]
    rows = [", ".join(values[i : i + _A_LINE]) for i in range(0, len(values), _A_LINE)]
    return f"[\n    {f',{chr(10)}    '.join(rows)},\n]"


def searched_tables(protocol: "Protocol", *, described: bool = False) -> Lines:
    """Write history, parameters, components and field; with `described`, also titles, conditions and weights."""
    history = protocol.history
    kind = [] if history.kind == "repeated" else ["[history]", f'kind = "{history.kind}"']
    if history.kind == "multislice":
        kind.append(f"slices = {history.slices}")
    parameters = [_parameter(p, protocol.grid[p.name], described=described) for p in protocol.parameters]
    components = [
        _component(c, protocol.share if c is not protocol.components[0] else None) for c in protocol.components
    ]
    tables = ["\n".join(table) for table in (kind, *parameters, *components) if table]
    return [*tables, _field(protocol)]


def _field(protocol: "Protocol") -> str:
    return f"field_t = {_number(protocol.field, PLAIN)}"


def _parameter(p: Parameter, axis: Double, *, described: bool) -> Lines:
    unit = Unit(write=lambda value: value * p.scale, read=lambda value: value / p.scale)
    name = p.name if re.fullmatch(r"[A-Za-z0-9_-]+", p.name) else json.dumps(p.name)
    lines = [f"[parameters.{name}]", f'quantity = "{p.quantity.name}"', f"ranges = {_ranges(axis, unit)}"]
    if described:
        lines += [f"title = {json.dumps(p.title)}"] if p.title != p.quantity.title else []
        lines += [f'counts_where = "{p.counts.text}"'] if p.counts else []
        lines += [f"weight = {_number(p.weight, PLAIN)}"] if p.weight != 1 else []
    return lines


def _component(component: "Component", share: str | None) -> Lines:
    lines = ["[[components]]", f"name = {json.dumps(component.name)}"]
    for key, value in (("t1", component.t1), ("t2", component.t2)):
        lines.append(
            f"{key} = {json.dumps(value)}" if isinstance(value, str) else f"{key}_ms = {_number(value, MILLI)}"
        )
    if share is not None:
        lines.append(f"share = {json.dumps(share)}")
    if component.amplitudes.size > 1 or np.any(component.shifts):
        lines.append(f"amplitudes = [{', '.join(_number(a, PLAIN) for a in component.amplitudes.tolist())}]")
        lines.append(f"shifts_hz = [{', '.join(_number(s, PLAIN) for s in component.shifts.tolist())}]")
    return lines


def _ranges(axis: Double, unit: "Unit") -> str:
    """Write an axis as ranges [start, stop, step]; a value outside any run of even steps is a range by itself."""
    runs: list[list[float]] = []
    for value in axis.tolist():
        run = runs[-1] if runs else []
        steps = [b - a for a, b in pairwise([*run[-2:], value])]
        if run and (len(steps) < 2 or abs(steps[1] - steps[0]) < _EVEN * steps[0]):
            run.append(value)
        else:
            runs.append([value])
    return f"[{', '.join(text for run in runs for text in _range(run, unit))}]"


def _range(run: list[float], unit: "Unit") -> list[str]:
    if len(run) > 1:
        start, stop = _number(run[0], unit), _number(run[-1], unit)
        step = (float(stop) - float(start)) / (len(run) - 1)
        read = [unit.read(value) for value in np.linspace(float(start), float(stop), len(run)).tolist()]
        if all(map(_same, read, run)):
            return [f"[{start}, {stop}, {_number(step, PLAIN)}]"]
    return [f"[{_number(value, unit)}, {_number(value, unit)}, 1]" for value in run]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Conversion of numbers to the unit of files, and back as `mrfpipe.protocol.read` does it."""

    write: Callable[[float], float]
    """From SI to the unit of files."""
    read: Callable[[float], float]
    """From the unit of files to SI."""


PLAIN = Unit(write=float, read=float)
MILLI = Unit(write=lambda value: value * 1e3, read=lambda value: value * 1e-3)
DEGREES = Unit(write=lambda value: float(np.rad2deg(value)), read=lambda value: float(np.deg2rad(value)))


def _number(value: float, unit: Unit) -> str:
    """Write a number with as few digits as needed to read back the same value."""
    written = unit.write(value)
    shorter = (f"{written:.{digits}g}" for digits in range(6, 17))
    return next((text for text in shorter if _same(unit.read(float(text)), value)), repr(written))


def _same(value: float, other: float) -> bool:
    return round(value, HASHED_DECIMALS) == round(other, HASHED_DECIMALS)
