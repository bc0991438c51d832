"""Make a protocol from a Pulseq sequence (``.seq``): what is measured is taken from what the scanner plays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np

from mrfpipe.acquisition.pulseq_blocks import blocks_of
from mrfpipe.acquisition.pulseq_file import Events, read_events
from mrfpipe.acquisition.pulseq_readouts import Readouts, readouts_of
from mrfpipe.acquisition.pulseq_trains import Measured, sort_events
from mrfpipe.arrays import Double
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.protocol import (
    Block,
    Excitations,
    Grid,
    History,
    Inversion,
    Protocol,
    Pulses,
    Readout,
    T2Preparation,
    load_protocol,
    parse_protocol,
)
from mrfpipe.protocol import Sequence as Played

Components = Literal["tissue", "water-fat"]
_MOST_PER_FRAME = 8  # readouts of a frame that differ in nothing but their place in k-space
_SAME_THICKNESS = 0.25  # relative: between what a file defines and what its pulse selects
_BASES = {"tissue": ("fisp", ("T1", "T2")), "water-fat": ("t1ff", ("FF", "T1H2O", "T1fat", "df", "B1"))}
"""The protocol whose components and grid are taken, and the parameters that are searched for unless told otherwise."""
_NEEDED = {"tissue": ("T1", "T2"), "water-fat": ("FF", "T1H2O", "T1fat")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What is to be searched for."""

    components: Components = "tissue"
    """What a voxel's signal is the sum of."""
    parameters: tuple[str, ...] = ()
    """Names of the parameters; those that the components need at least, and B1 and df at will."""
    ranges: Mapping[str, Sequence[tuple[float, ...]]] | None = None
    """Start, stop and step of a parameter's grid, by name, in the unit of files."""


TISSUE = Searched()
"""T1 and T2."""


def protocol_from_pulseq(
    path: str | Path,
    *,
    searched: Searched = TISSUE,
    soft_delays: Mapping[str, float] | None = None,
    heartbeat: float | None = None,
) -> Protocol:
    """Derive a protocol.

    Everything of the sequence is the file's: pulses, delays, dephasing, readouts, field of view. The matrix is what the
    readouts resolve.

    Parameters
    ----------
    path
        The Pulseq file.
    searched
        What is to be searched for.
    soft_delays
        Values in s of the delays that the operator sets, by name; the file's for those that are not given.
    heartbeat
        Time in s from trigger to trigger; without it a trigger comes as soon as it is waited for.

    Returns
    -------
        The protocol, named after the file.

    Raises
    ------
    InputError
        If the file is not Pulseq, or plays what cannot be simulated.
    MismatchError
        If the parameters are not those of the components.
    ResourceError
        If pypulseq is not installed.
    """
    path = Path(path)
    known = _searched(searched)
    events = read_events(path, soft_delays, heartbeat)
    measured = sort_events(events)
    try:
        sequence = _sequence(events, measured)
    except ValueError as e:
        raise InputError(f"{path}: plays what is no sequence to mrfpipe: {e}") from e
    protocol = replace(
        known,
        name=path.stem,
        description=f"Derived from the Pulseq file {path.name}",
        sequence=sequence,
        history=_history(measured, sequence.blocks),
        subspace_rank=None,
    )
    # What a protocol's file cannot say, such as echoes after the next pulse, is no sequence either.
    return parse_protocol(protocol.toml, str(path))


def _sequence(events: Events, measured: Measured) -> Played:
    part = measured.parts[0]
    thickness, time_bandwidth = _slice(events, measured)
    readouts = readouts_of(events, part, thickness)
    voxel = np.array([readouts.fov / readouts.matrix, readouts.fov / readouts.matrix, thickness])
    blocks = blocks_of(events, part, readouts.te, voxel)
    return Played(
        blocks=blocks,
        readout=_readout(readouts, blocks, events),
        matrix=readouts.matrix,
        fov=round(readouts.fov, 6),
        slice_thickness=thickness,
        excitation_time_bandwidth=time_bandwidth,
    )


def _slice(events: Events, measured: Measured) -> tuple[float, float]:
    """Return the slice thickness in m, and the time-bandwidth product of the excitation that selects it."""
    pulse = max((one.pulse for one in measured.parts[0].excitations), key=lambda pulse: pulse.flip)
    defined = events.fov[2] if len(events.fov) > 2 else None
    if not pulse.gradient:
        if defined is None:
            raise InputError(f"{events.path}: selects no slice and defines no FOV along z; write it with one, in m.")
        return round(defined, 6), round(pulse.bandwidth * pulse.duration, 3)
    selected = pulse.bandwidth / abs(pulse.gradient)
    agrees = defined is not None and abs(selected / defined - 1) <= _SAME_THICKNESS
    thickness = defined if defined is not None and agrees else round(selected, 5)
    return round(thickness, 6), round(abs(pulse.gradient) * thickness * pulse.duration, 3)


def _readout(readouts: Readouts, blocks: Sequence[Block], events: Events) -> Readout:
    spokes = readouts.spokes
    trains = [block for block in blocks if isinstance(block, Excitations)]
    return Readout(
        kind="stored" if spokes is None else "golden-radial",
        readouts_per_frame=1 if spokes is None else _per_frame(trains),
        angle_increment=None if spokes is None else float(np.deg2rad(round(float(np.rad2deg(spokes.increment)), 5))),
        oversampling=None if spokes is None else spokes.oversampling,
        pulseq=events.path.name,
        sha256=events.sha256,
        soft_delays=events.soft_delays,
        heartbeat=events.heartbeat,
    )


def _per_frame(trains: Sequence[Excitations]) -> int:
    """Return the most readouts of which frames can be made that have one flip angle and echo time."""
    rows = [row for train in trains for row in zip(train.flip.tolist(), train.te.tolist(), strict=True)]
    lengths = np.gcd.reduce([len(list(run)) for _, run in groupby(rows)])
    return max(n for n in range(1, _MOST_PER_FRAME + 1) if lengths % n == 0)


def _history(measured: Measured, blocks: Sequence[Block]) -> History:
    """Return what comes before a part: the same again, the other slices, or nothing."""
    prepares = any(isinstance(block, Inversion | T2Preparation | Pulses) for block in blocks)
    n_slices = measured.n_slices
    if n_slices == 1 and len(measured.parts) > 1:
        return History(kind="repeated")
    if n_slices > 1 and prepares and not measured.interleaved and not _selects(measured):
        return History(kind="multislice", slices=n_slices - 1)
    return History(kind="equilibrium")


def _selects(measured: Measured) -> bool:
    """Whether the preparations reach one slice only."""
    return all(one.pulse.gradient for one in measured.parts[0].played if not one.readouts)


def _searched(searched: Searched) -> Protocol:
    """Take components and grid from a protocol that comes with mrfpipe."""
    base, usual = _BASES[searched.components]
    known, other = load_protocol(base), load_protocol("t1ff")
    names = searched.parameters or usual
    possible = {p.name: (p, known.grid[p.name]) for p in known.parameters}
    possible |= {p.name: (p, other.grid[p.name]) for p in other.parameters if p.name in {"df", "B1"} - set(possible)}
    for name in {*names, *(searched.ranges or {})}:
        if name not in possible:
            raise MismatchError(f"Parameter {name} is none of {searched.components}; it has {', '.join(possible)}.")
    missing = [name for name in _NEEDED[searched.components] if name not in names]
    if missing:
        raise MismatchError(f"Parameter {missing[0]} is missing; {searched.components} needs it.")
    axes: dict[str, Double] = {}
    for name in (name for name in possible if name in names):
        parameter, axis = possible[name]
        given = (searched.ranges or {}).get(name)
        axes[name] = axis if given is None else _axis(name, given) / parameter.scale
    try:
        return replace(
            known, parameters=tuple(possible[name][0] for name in axes), grid=Grid(axes=axes), subspace_rank=None
        )
    except ValueError as e:
        raise MismatchError(str(e)) from e


def _axis(name: str, ranges: Sequence[tuple[float, ...]]) -> Double:
    """Expand ranges; both ends are included."""
    parts = []
    for start, stop, step in ranges:
        if not (step > 0 and start <= stop < np.inf) or not (stop - start) / step < 1e5:
            raise MismatchError(f"Range {start:g}:{stop:g}:{step:g} of {name} does not rise, or in too many steps.")
        parts.append(start + step * np.arange(int((stop - start) / step + 1e-6) + 1))
    return np.concatenate(parts)
