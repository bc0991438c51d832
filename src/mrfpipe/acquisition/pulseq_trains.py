"""Sort the pulses and readouts of a Pulseq sequence into slices and repetitions.

Slices are told apart by the slice position of their pulses and by the label SLC, repetitions by the label REP. Without
labels, repetitions are recognised by the same pulses with the same spacing and the same readouts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from mrfpipe.acquisition.pulseq_file import Adc, Events
from mrfpipe.acquisition.pulseq_pulses import Pulse
from mrfpipe.arrays import Double

_SAME_TIME = 1e-5  # s: a scanner's raster
_SAME_ANGLE = np.deg2rad(0.1)
_SAME_PLACE = 1e-5  # m
_NOWHERE = 1e9  # m: position that stands for pulses that select no slice
_SAME_K = 1.0  # 1/m: a third of a cycle/FOV for the largest FOV


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Excited:
    """A pulse, and the readouts that follow it before the next one."""

    pulse: Pulse
    """The pulse."""
    readouts: tuple[Adc, ...]
    """Its readouts; empty for a preparation pulse."""
    numbers: tuple[int, ...] = ()
    """Numbers of these readouts in the file."""

    @property
    def times(self) -> Double:
        """Times of all samples of its readouts in s. Shape `(samples)`."""
        return np.concatenate([readout.times for readout in self.readouts])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One repetition of one slice."""

    played: tuple[Excited, ...]
    """Its pulses in order of time."""
    begin: float
    """Start in s."""
    end: float
    """Start of the next part, or end of the sequence, in s."""
    slice: int
    """Number of the slice, from 0, in the order of their first measurement."""

    @property
    def excitations(self) -> tuple[Excited, ...]:
        """Its pulses that have readouts."""
        return tuple(one for one in self.played if one.readouts)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A sequence sorted into slices and repetitions."""

    parts: tuple[Part, ...]
    """Slices and repetitions, all with the same pulses and readouts."""
    interleaved: bool
    """Whether the slices are interleaved, pulse by pulse."""

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return 1 + max(part.slice for part in self.parts)


def sort_events(events: Events) -> Measured:
    """Sort the pulses and readouts of a sequence.

    Raises
    ------
    InputError
        If it has no readouts, or its slices or repetitions differ from each other.
    """
    played = _played(events)
    excitations = [one for one in played if one.readouts]
    if not excitations:
        raise events.error(0.0, "begins a sequence that has no pulse with a readout; mrfpipe reads fingerprints")
    keys = _keys(excitations)
    slices = list(dict.fromkeys(key[0] for key in keys))
    runs = [len(list(run)) for _, run in groupby(keys)]
    interleaved = len(slices) > 1 and max(runs) == 1
    if interleaved:
        parts = _interleaved(events, played, keys, slices)
    elif len(runs) > 1:
        parts = _one_after_the_other(events, played, keys, runs, slices)
    else:
        parts = _repetitions(events, played)
    for part in parts[1:]:
        _check_alike(events, part, parts[0])
    return Measured(parts=parts, interleaved=interleaved)


def _played(events: Events) -> tuple[Excited, ...]:
    """Assign every readout to the pulse before it, except noise: readouts before the first pulse or labelled NOISE."""
    begins = np.array([readout.start for readout in events.readouts])
    times = np.array([pulse.time for pulse in events.pulses])
    of_pulse = np.searchsorted(times, begins, side="right") - 1
    labelled = np.array([bool(readout.labels.get("NOISE")) for readout in events.readouts], bool)
    is_noise = (of_pulse < 0) | labelled
    played = []
    for i, pulse in enumerate(events.pulses):
        numbers = np.flatnonzero((of_pulse == i) & ~is_noise).tolist()
        readouts = tuple(events.readouts[n] for n in numbers)
        played.append(Excited(pulse=pulse, readouts=readouts, numbers=tuple(numbers)))
    return tuple(played)


def _keys(excitations: Sequence[Excited]) -> list[tuple[object, int]]:
    """Return the slice and repetition of every excitation."""
    places = np.array([_NOWHERE if one.pulse.place is None else one.pulse.place for one in excitations])
    different = np.unique(places)
    apart = np.diff(different, prepend=different[0]) > _SAME_PLACE
    where = np.cumsum(apart)[np.searchsorted(different, places)].tolist()
    labels = [one.readouts[0].labels for one in excitations]
    return [((number, of.get("SLC", 0)), of.get("REP", 0)) for number, of in zip(where, labels, strict=True)]


def _interleaved(
    events: Events, played: Sequence[Excited], keys: Sequence[tuple[object, int]], slices: Sequence[object]
) -> tuple[Part, ...]:
    """Collect the pulses of each interleaved slice: its own, and those that act on all slices."""
    parts = []
    which = iter(keys)
    of = [next(which)[0] if one.readouts else None for one in played]
    for number, name in enumerate(slices):
        place = next(one.pulse.place for one, key in zip(played, of, strict=True) if key == name)
        own = [
            one
            for one, key in zip(played, of, strict=True)
            if key == name or (key is None and (one.pulse.place is None or _near(one.pulse.place, place)))
        ]
        parts.append(Part(played=tuple(own), begin=own[0].pulse.time, end=events.duration, slice=number))
    return tuple(parts)


def _one_after_the_other(
    events: Events,
    played: Sequence[Excited],
    keys: Sequence[tuple[object, int]],
    runs: Sequence[int],
    slices: Sequence[object],
) -> tuple[Part, ...]:
    """Split the sequence where slice or repetition change, before the preparation of the next part."""
    index = [i for i, one in enumerate(played) if one.readouts]
    firsts = np.concatenate([[0], np.cumsum(runs)[:-1]])
    begins = [0, *(index[first - 1] + 1 for first in firsts[1:].tolist())]
    numbers = [slices.index(keys[first][0]) for first in firsts.tolist()]
    return _cut(events, played, begins, numbers)


def _repetitions(events: Events, played: Sequence[Excited]) -> tuple[Part, ...]:
    """Split a single-slice sequence into equal repetitions that begin with a preparation, or leave it whole."""
    begins = [i for i, one in enumerate(played) if not one.readouts and (i == 0 or played[i - 1].readouts)]
    if begins and begins[0] == 0:
        for period in range(1, len(begins) // 2 + 1):
            if len(begins) % period == 0:
                parts = _cut(events, played, begins[::period], [0] * (len(begins) // period))
                if all(_difference(part, parts[0]) is None and _same_k(events, part, parts[0]) for part in parts[1:]):
                    return parts
    return _cut(events, played, [0], [0])


def _cut(events: Events, played: Sequence[Excited], begins: Sequence[int], slices: Iterable[int]) -> tuple[Part, ...]:
    ends = [*begins[1:], len(played)]
    times = [*(played[i].pulse.time for i in begins), events.duration]
    return tuple(
        Part(played=tuple(played[i:j]), begin=begin, end=end, slice=number)
        for i, j, begin, end, number in zip(begins, ends, times[:-1], times[1:], slices, strict=True)
    )


def _near(place: float, other: float | None) -> bool:
    return other is not None and abs(place - other) <= _SAME_PLACE


def _check_alike(events: Events, part: Part, first: Part) -> None:
    difference = _difference(part, first)
    if difference is not None:
        raise events.error(
            difference,
            "slices or repetitions differ from the first in pulses, times or samples; mrfpipe needs them alike",
        )


def _difference(part: Part, first: Part) -> float | None:
    """Return the time in s of the first pulse that differs between two parts; None if they agree."""
    for one, other in zip(part.played, first.played, strict=False):
        a, b = one.pulse, other.pulse
        if (
            abs((a.time - part.begin) - (b.time - first.begin)) > _SAME_TIME
            or abs(a.flip - b.flip) > _SAME_ANGLE
            or (a.modulated, a.use) != (b.modulated, b.use)
            or [(r.n_samples, r.dwell) for r in one.readouts] != [(r.n_samples, r.dwell) for r in other.readouts]
        ):
            return a.time
    n, n_first = len(part.played), len(first.played)
    if n != n_first:
        return part.played[min(n, n_first) - 1].pulse.time
    return None if _same_phases(part, first) else part.begin


def _same_phases(part: Part, first: Part) -> bool:
    """Whether the phases of two parts agree up to a constant or, if RF spoiling continues, a linear phase."""
    phases, others = (np.array([one.pulse.phase for one in p.excitations]) for p in (part, first))
    between = np.exp(1j * (phases - others))

    def is_zero(turns: np.ndarray[tuple[int], np.dtype[np.complex128]]) -> bool:
        return bool(np.all(np.abs(np.angle(turns)) <= _SAME_ANGLE))

    step, of_other = between[1:] * between[:-1].conj(), np.exp(1j * np.diff(others, 2))
    return is_zero(between * between[0].conj()) or (is_zero(step[1:] * step[:-1].conj()) and not is_zero(of_other))


def _same_k(events: Events, part: Part, first: Part) -> bool:
    """Whether the readouts of two parts have the same positions in k-space."""
    for one, other in zip(part.excitations, first.excitations, strict=True):
        ends = [e.readouts[0].times[[0, -1]] for e in (one, other)]
        centres = [np.array([e.pulse.time]) for e in (one, other)]
        k, k_other = (events.moments.at(end) - events.moments.at(c) for end, c in zip(ends, centres, strict=True))
        if np.abs(k - k_other).max() > _SAME_K:
            return False
    return True
