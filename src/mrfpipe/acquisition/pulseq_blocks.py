"""Convert the pulses of a Pulseq sequence to blocks of a protocol, as far as they can be simulated.

The gradients of an interval dephase the transverse magnetisation by a number of cycles over a voxel. An interval must
be balanced (0 cycles) or dephase by at least a full cycle; in a train without RF spoiling, all dephase by multiples of
one moment. Any other dephasing after a train or a preparation counts as a crusher, because nothing that follows
refocuses it. Anything else raises an error that names its time.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from mrfpipe.acquisition.pulseq_file import Events
from mrfpipe.acquisition.pulseq_pulses import Pulse
from mrfpipe.acquisition.pulseq_readouts import constant_increment
from mrfpipe.acquisition.pulseq_trains import Excited, Part
from mrfpipe.arrays import Double, Int
from mrfpipe.protocol import Block, Delay, Excitations, Inversion, Pulses, Spoiling, T2Preparation

_BALANCED = 0.05  # cycles over a voxel up to which an interval is balanced; sinc(0.05) is 0.996
_DEPHASED = 0.95  # cycles from which an interval is dephased; below 1 because of rounding
_SAME = 0.1  # cycles by which two equal intervals may differ
_INVERTS = -0.9  # largest Mz after an adiabatic pulse on resonance
_SAME_ANGLE = np.deg2rad(1.0)
_MOST = np.deg2rad(720.0)
_REFOCUSES = np.deg2rad(150.0)
_NO_PHASE = np.deg2rad(0.05)
_CRUSHED = -1
"""Number of cycles that stands for an interval that nothing refocuses."""


def blocks_of(events: Events, part: Part, te: Double, voxel: Double) -> tuple[Block, ...]:
    """Make the blocks of a part.

    Parameters
    ----------
    events
        The sequence.
    part
        The part of the sequence for one slice.
    te
        Echo time of every excitation in s. Shape `(readouts)`.
    voxel
        Voxel size along x, y and z in m. Shape `(3)`.

    Raises
    ------
    InputError
        If something cannot be simulated; the error names it and its time.
    """
    _check_receiver(events, part)
    played = part.played
    times = np.array([*(one.pulse.time for one in played), part.end])
    turns = np.diff(events.moments.at(times), axis=0) * voxel
    kinds = _kinds(events, played, turns)
    phases, increment = _phases(part)
    cycles = _cycles(events, part, turns, kinds, is_spoiled=increment != 0)
    duration, echo = np.diff(times), np.zeros(len(played))
    echo[[bool(one.readouts) for one in played]] = te
    blocks: list[Block] = []
    for kind, run in groupby(range(len(played)), key=kinds.__getitem__):
        rows = list(run)
        pulses = [played[i].pulse for i in rows]
        if kind == "inversion":
            for pulse, wait in zip(pulses, duration[rows].tolist(), strict=True):
                blocks += [Inversion(scales_with_b1=not pulse.modulated), _delay(wait)]
        elif kind == "preparation":
            blocks += _preparation(events, pulses, phases[rows], duration[rows], cycles[rows])
        else:
            blocks += _train(pulses, phases[rows], echo[rows], duration[rows], cycles[rows], increment)
    return tuple(block for block in blocks if not isinstance(block, Delay) or block.duration > 0)


def _delay(duration: float) -> Delay:
    return Delay(duration=max(round(duration, 7), 0.0))


def _kinds(events: Events, played: Sequence[Excited], turns: Double) -> list[str]:
    """Classify the pulses as excitations, inversions or parts of a preparation."""
    kinds = []
    for i, one in enumerate(played):
        pulse = one.pulse
        if not pulse.modulated and pulse.flip > _MOST:
            raise events.error(pulse.time, f"a pulse turns by {np.rad2deg(pulse.flip):.4g} degrees, above 720")
        if pulse.frequency and not pulse.gradient:
            raise events.error(
                pulse.time, f"a pulse {pulse.frequency:g} Hz off resonance selects frequencies, which is not simulated"
            )
        if one.readouts:
            _check_excitation(events, pulse)
            kinds.append("excitation")
            continue
        alone = all(played[j].readouts for j in (i - 1, i + 1) if 0 <= j < len(played))
        crushes = np.abs(turns[i]).max() >= _DEPHASED
        hard = alone and crushes and abs(pulse.flip - np.pi) < _SAME_ANGLE and pulse.use in {"inversion", "undefined"}
        if pulse.modulated and pulse.left > _INVERTS:
            raise events.error(
                pulse.time,
                f"a pulse that modulates its phase leaves {pulse.left:.2f} of Mz on resonance; simulated are adiabatic "
                "inversions and refocusing pulses",
            )
        adiabatic = pulse.modulated and (alone or pulse.use == "inversion")
        kinds.append("inversion" if hard or adiabatic else "preparation")
    return kinds


def _check_excitation(events: Events, pulse: Pulse) -> None:
    if pulse.use == "refocusing" or pulse.flip > _REFOCUSES:
        raise events.error(pulse.time, "a refocusing pulse has readouts; spin echoes are not simulated")
    if pulse.modulated and abs(np.arccos(np.clip(pulse.left, -1, 1)) - pulse.flip) > _SAME_ANGLE:
        raise events.error(pulse.time, "an excitation modulates its phase, which is not simulated")


def _check_receiver(events: Events, part: Part) -> None:
    """Check that the receiver phase follows the phase of the pulses."""
    first = part.excitations[0]
    offset = first.readouts[0].phase - first.pulse.phase
    for one in part.excitations:
        for readout in one.readouts:
            if abs(np.angle(np.exp(1j * (readout.phase - one.pulse.phase - offset)))) > _SAME_ANGLE:
                raise events.error(
                    readout.start,
                    "the phase of the receiver does not follow that of its pulse, as mrfpipe takes it to do",
                )


def _phases(part: Part) -> tuple[Double, float]:
    """Return the phases of all pulses without RF spoiling, and the RF spoiling increment, in rad.

    The increment of the quadratic phase is 0 to 2 pi, and 0 if the phase is not quadratic. Phases are relative to the
    first excitation.
    """
    read = np.array([bool(one.readouts) for one in part.played])
    phase = np.array([one.pulse.phase for one in part.played]) - part.excitations[0].pulse.phase
    increment = constant_increment(np.diff(phase[read])) if np.count_nonzero(read) > 3 else None
    rounded = np.deg2rad(round(float(np.rad2deg(increment or 0.0)), 3) % 360.0)
    n = np.arange(np.count_nonzero(read))
    phase[read] -= n * (n + 1) / 2 * rounded
    left = np.angle(np.exp(1j * phase))
    if np.abs(left).max() < _NO_PHASE:
        left[:] = 0
    return np.deg2rad(np.round(np.rad2deg(left), 3)) + 0.0, float(rounded)  # turns -0 into 0


def _cycles(events: Events, part: Part, turns: Double, kinds: list[str], *, is_spoiled: bool) -> Int:
    """Return the number of cycles by which each interval dephases, or `_CRUSHED`. Shape `(pulses)`.

    The dephasing next to an inversion does not matter, because no transverse magnetisation survives it; nor does that
    of the last interval if nothing follows.
    """
    n, most = len(kinds), np.abs(turns).max(axis=1)
    following = [*kinds[1:], kinds[0] if part.end < events.duration else "inversion"]
    in_train = np.array([kinds[i] == following[i] == "excitation" for i in range(n)])
    dephased = turns[in_train & (most > _BALANCED)]
    unit = np.median(dephased, axis=0) if len(dephased) else np.zeros(3)
    size = float(np.abs(unit).max())
    a_unit = max(1, round(size)) if size > _BALANCED else 0
    cycles = np.zeros(n, np.int64)
    for i, turn in enumerate(turns):
        time = part.played[i].pulse.time
        multiple = round(float(turn @ unit) / float(unit @ unit)) if a_unit else 0
        if "inversion" in (kinds[i], following[i]):
            cycles[i] = a_unit
        elif most[i] <= _BALANCED:
            cycles[i] = 0
        elif most[i] < _DEPHASED:
            raise events.error(
                time,
                f"a pulse begins an interval that dephases by {most[i]:.2g} of a cycle over a voxel; simulated are "
                "balanced intervals, and those of a full cycle or more",
            )
        elif kinds[i] == "preparation" != following[i] and multiple > 1:  # its spoiler
            cycles[i] = _CRUSHED
        elif multiple > 0 and np.abs(turn - multiple * unit).max() <= _SAME * max(1.0, size):
            cycles[i] = multiple * a_unit
        elif in_train[i] and is_spoiled:
            cycles[i] = a_unit
        elif in_train[i]:
            raise events.error(
                time,
                f"a pulse begins an interval that dephases by {_written(turn)} cycles over a voxel, others by "
                f"{_written(unit)}; simulated are trains that dephase by multiples of one moment",
            )
        elif kinds[i] == following[i]:  # within a preparation
            cycles[i] = round(float(most[i]))
        else:
            cycles[i] = _CRUSHED
    return cycles


def _written(turn: Double) -> str:
    return f"({', '.join(f'{value:.2f}' for value in turn)})"


def _preparation(events: Events, pulses: list[Pulse], phases: Double, duration: Double, cycles: Int) -> Iterator[Block]:
    """Yield the blocks for pulses without readouts; adiabatic pulses must form a known preparation."""
    modulated = [pulse.modulated for pulse in pulses]
    for pulse in pulses:
        if pulse.gradient and pulse.use not in {"excitation", "undefined"}:
            raise events.error(
                pulse.time, "a pulse of a preparation plays with a gradient, which mrfpipe does not simulate"
            )
    if any(modulated):
        yield from _adiabatic_preparation(events, pulses, phases)
        yield _delay(float(duration[-1]))
        return
    for rows, number, crushes in _alike(cycles):
        yield Pulses(
            flip=_flips(pulses)[rows], phase=phases[rows], duration=np.round(duration[rows], 7), dephasing=number
        )
        if crushes:
            yield Spoiling()


def _adiabatic_preparation(events: Events, pulses: list[Pulse], phases: Double) -> Iterator[Block]:
    """Recognise a T2 preparation: tip-down, an even number of adiabatic refocusing pulses, and tip-up."""
    down, *between, up = pulses if len(pulses) > 3 else [*pulses, *pulses, *pulses]
    turned = float(np.angle(-np.exp(1j * (phases[-1] - phases[0]))))
    is_one = (
        len(pulses) > 3
        and not down.modulated
        and not up.modulated
        and all(pulse.modulated for pulse in between)
        and len(between) % 2 == 0
        and max(abs(down.flip - np.pi / 2), abs(up.flip - np.pi / 2), abs(turned)) < _SAME_ANGLE
    )
    if not is_one:
        raise events.error(
            next(pulse.time for pulse in pulses if pulse.modulated),
            "an adiabatic pulse is part of a preparation that is not simulated; simulated are 90 degrees, an even "
            "number of adiabatic pulses, and 90 degrees back",
        )
    yield T2Preparation(duration=round(up.time - down.time, 7))


def _train(
    pulses: list[Pulse], phases: Double, te: Double, duration: Double, cycles: Int, increment: float
) -> Iterator[Block]:
    """Yield the blocks for pulses with readouts; extra time after the last pulse becomes a delay."""
    waits = max(float(duration[-1] - duration[-2]), 0.0) if len(pulses) > 1 else 0.0
    tr = duration.copy()
    tr[-1] -= waits
    for rows, number, crushes in _alike(cycles):
        yield Excitations(
            flip=_flips(pulses)[rows],
            te=_rounded(te[rows]),
            tr=_rounded(tr[rows]),
            phase=phases[rows],
            rf_spoiling_increment=increment,
            dephasing=number,
        )
        if crushes:
            yield Spoiling()
    yield _delay(waits)


def _alike(cycles: Int) -> Iterator[tuple[slice, int, bool]]:
    """Yield runs of intervals with equal dephasing: their slice, the cycles, and whether a crusher ends the run."""
    first = 0
    for last in range(cycles.size):
        crushes = cycles[last] == _CRUSHED
        if crushes or last + 1 == cycles.size or cycles[last + 1] not in (cycles[first], _CRUSHED):
            yield slice(first, last + 1), max(int(cycles[first]), 0), bool(crushes)
            first = last + 1


def _flips(pulses: list[Pulse]) -> Double:
    flips: Double = np.deg2rad(np.round(np.rad2deg([pulse.flip for pulse in pulses]), 3))
    return flips


def _rounded(times: Double) -> Double:
    """Round times to whole microseconds, halves up: files have no finer raster."""
    rounded: Double = np.floor(times * 1e6 + 0.5 + 1e-4) * 1e-6
    return np.round(rounded, 6)
