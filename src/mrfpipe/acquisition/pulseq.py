"""Derive a protocol from the Pulseq sequence (``.seq``) that the scanner plays."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mrfpipe.acquisition.pulseq_blocks import blocks_of
from mrfpipe.acquisition.pulseq_file import Events, read_events
from mrfpipe.acquisition.pulseq_readouts import Readouts, readouts_of
from mrfpipe.acquisition.pulseq_trains import Measured, sort_events
from mrfpipe.acquisition.searched import TISSUE, Searched, base_protocol, readouts_per_frame
from mrfpipe.errors import InputError
from mrfpipe.protocol import (
    Block,
    Excitations,
    History,
    Inversion,
    Protocol,
    Pulses,
    Readout,
    T2Preparation,
    parse_protocol,
)
from mrfpipe.protocol import Sequence as Played

_SAME_THICKNESS = 0.25  # relative difference between the thickness that a file defines and that its pulse selects


def protocol_from_pulseq(
    path: str | Path,
    *,
    searched: Searched = TISSUE,
    soft_delays: Mapping[str, float] | None = None,
    heartbeat: float | None = None,
) -> Protocol:
    """Derive a protocol from a Pulseq file.

    The whole sequence is taken from the file: pulses, delays, dephasing, readouts and field of view. The matrix follows
    from the resolution of the readouts.

    Parameters
    ----------
    path
        The Pulseq file.
    searched
        Components and parameters to search for.
    soft_delays
        Durations in s of the delays that the operator sets, by name; for others, the default of the file.
    heartbeat
        Time in s between triggers; without it, a trigger comes as soon as the sequence waits for one.

    Returns
    -------
        The protocol, named after the file.

    Raises
    ------
    InputError
        If the file is not Pulseq, or the sequence cannot be simulated.
    MismatchError
        If the parameters do not fit the components.
    ResourceError
        If pypulseq is not installed.
    """
    path = Path(path)
    known = base_protocol(searched)
    events = read_events(path, soft_delays, heartbeat)
    measured = sort_events(events)
    try:
        sequence = _sequence(events, measured)
    except ValueError as e:
        raise InputError(f"{path}: cannot be simulated: {e}") from e
    protocol = replace(
        known,
        name=path.stem,
        description=f"Derived from the Pulseq file {path.name}",
        sequence=sequence,
        history=_history(measured, sequence.blocks),
        subspace_rank=None,
    )
    # A sequence that a protocol file cannot express, such as an echo after the next pulse, is not valid either.
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
    """Return the slice thickness in m, and the time-bandwidth product of the slice-selective excitation."""
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
        readouts_per_frame=1 if spokes is None else readouts_per_frame(trains),
        angle_increment=None if spokes is None else float(np.deg2rad(round(float(np.rad2deg(spokes.increment)), 5))),
        oversampling=None if spokes is None else spokes.oversampling,
        pulseq=events.path.name,
        sha256=events.sha256,
        soft_delays=events.soft_delays,
        heartbeat=events.heartbeat,
    )


def _history(measured: Measured, blocks: Sequence[Block]) -> History:
    """Return what precedes a part: a repetition of the same, the other slices, or nothing."""
    prepares = any(isinstance(block, Inversion | T2Preparation | Pulses) for block in blocks)
    n_slices = measured.n_slices
    if n_slices == 1 and len(measured.parts) > 1:
        return History(kind="repeated")
    if n_slices > 1 and prepares and not measured.interleaved and not _selects(measured):
        return History(kind="multislice", slices=n_slices - 1)
    return History(kind="equilibrium")


def _selects(measured: Measured) -> bool:
    """Whether the preparation pulses are slice-selective."""
    return all(one.pulse.gradient for one in measured.parts[0].played if not one.readouts)
