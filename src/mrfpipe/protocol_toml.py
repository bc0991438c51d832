"""A protocol as TOML, written from its values: what `mrfpipe.protocol` reads back as the same protocol.

Numbers are as short as their hash allows, so that 4.63 ms, kept as 0.00463 s, is written 4.63.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np

from mrfpipe.arrays import Double

if TYPE_CHECKING:
    from mrfpipe.protocol import Grid, Sequence, Tissue

HASHED_DECIMALS = 12
"""Decimals, in SI units, that a protocol's hash looks at."""
_EVEN = 1e-6
"""Share of a step by which the steps of a range may differ."""


def write_toml(name: str, sequence: "Sequence", tissue: "Tissue", grid: "Grid") -> str:
    """Write the text of a protocol's file."""
    lines = [f"name = {json.dumps(name)}", f"description = {json.dumps(f'{name}, written from its values')}"]
    for table in (_sequence(sequence), _tissue(tissue), _grid(grid)):
        lines += ["", *table]
    return "\n".join(lines) + "\n"


def _sequence(sequence: "Sequence") -> list[str]:
    lines = [
        "[sequence]",
        f"inversion_efficiency = {_number(sequence.inversion_efficiency, PLAIN)}",
        f"inversion_time_ms = {_number(sequence.inversion_time, MILLI)}",
        f"recovery_ms = {_number(sequence.recovery, MILLI)}",
        f"rf_spoiling_increment_deg = {_number(sequence.rf_spoiling_increment, DEGREES)}",
        f"excitation_time_bandwidth = {_number(sequence.excitation_time_bandwidth, PLAIN)}",
        f"spokes_per_frame = {sequence.spokes_per_frame}",
        f"angle_increment_deg = {_number(sequence.angle_increment, DEGREES)}",
        f"matrix = {sequence.matrix}",
        f"readout_oversampling = {sequence.readout_oversampling}",
        f"fov_mm = {_number(sequence.fov, MILLI)}",
        f"slice_thickness_mm = {_number(sequence.slice_thickness, MILLI)}",
    ]
    train = zip(sequence.flip.tolist(), sequence.te.tolist(), sequence.tr.tolist(), strict=True)
    for (flip, te, tr), spokes in groupby(train):
        values = {
            "spokes": len(list(spokes)),
            "flip_deg": _number(flip, DEGREES),
            "te_ms": _number(te, MILLI),
            "tr_ms": _number(tr, MILLI),
        }
        lines += ["", "[[sequence.train]]", *(f"{key} = {value}" for key, value in values.items())]
    return lines


def _tissue(tissue: "Tissue") -> list[str]:
    return [
        "[tissue]",
        f"field_t = {_number(tissue.field, PLAIN)}",
        f"water_t2_ms = {_number(tissue.t2_water, MILLI)}",
        f"fat_t2_ms = {_number(tissue.t2_fat, MILLI)}",
        f"fat_amplitudes = [{', '.join(_number(share, PLAIN) for share in tissue.fat_amplitudes.tolist())}]",
        f"fat_shifts_hz = [{', '.join(_number(shift, PLAIN) for shift in tissue.fat_shifts.tolist())}]",
    ]


def _grid(grid: "Grid") -> list[str]:
    return [
        "[grid]",
        f"fat_fraction = {_ranges(grid.ff, PLAIN)}",
        f"t1_water_ms = {_ranges(grid.t1w, MILLI)}",
        f"t1_fat_ms = {_ranges(grid.t1f, MILLI)}",
        f"df_hz = {_ranges(grid.df, PLAIN)}",
        f"b1 = {_ranges(grid.b1, PLAIN)}",
    ]


def _ranges(axis: Double, unit: "Unit") -> str:
    """Write an axis as ranges [start, stop, step]; a value that is in no run of even steps is a range by itself."""
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
    """How a number is written in a file, and read back as `mrfpipe.protocol` reads it."""

    write: Callable[[float], float]
    """From SI to the unit of files."""
    read: Callable[[float], float]
    """Back."""


PLAIN = Unit(write=float, read=float)
MILLI = Unit(write=lambda value: value * 1e3, read=lambda value: value * 1e-3)
DEGREES = Unit(write=lambda value: float(np.rad2deg(value)), read=lambda value: float(np.deg2rad(value)))


def _number(value: float, unit: Unit) -> str:
    """Write a number with no more digits than it takes to read back the same."""
    written = unit.write(value)
    shorter = (f"{written:.{digits}g}" for digits in range(6, 17))
    return next((text for text in shorter if _same(unit.read(float(text)), value)), repr(written))


def _same(value: float, other: float) -> bool:
    return round(value, HASHED_DECIMALS) == round(other, HASHED_DECIMALS)
