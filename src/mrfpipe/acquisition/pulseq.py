"""Make a protocol from a Pulseq sequence (``.seq``): what is measured is taken from what the scanner plays.

The sequence must be that of mrfpipe: an inversion, a train of excitations each with one golden-angle radial readout,
recovery; repeated for slices or measurements at will. A pulse with no readout before the next one is the inversion.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mrfpipe.acquisition.pulseq_file import Adc, Events, Pulse, read_events
from mrfpipe.arrays import Double
from mrfpipe.errors import InputError
from mrfpipe.protocol import Delay, Excitations, Inversion, Readout, load_protocol

_SAME_TIME = 1e-5  # s: a scanner's raster
_SAME_ANGLE = np.deg2rad(0.1)
_SAME_SIZE = 0.02  # relative
_NO_EXCITATION = ("refocusing", "saturation", "preparation")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shot:
    """An inversion and the train after it."""

    inversion: Pulse
    spokes: list[tuple[Pulse, Adc]]


def protocol_from_pulseq(path: str | Path, *, base: str | Path = "t1ff") -> str:
    """Derive a protocol.

    Flip angles, echo and repetition times, inversion time, recovery, RF spoiling, spokes, angle increment, matrix,
    oversampling and field of view are the sequence's. It does not say what its field of view is if it defines none;
    the oversampling is the base's then. The last repetition time is taken to be that of the spoke before.

    Parameters
    ----------
    path
        The Pulseq file.
    base
        Protocol that the rest is taken from: its inversion, time-bandwidth product, readouts per frame, slice
        thickness, dephasing, history, parameters and components.

    Returns
    -------
        The protocol as TOML text, named after the file.

    Raises
    ------
    InputError
        If the file is not Pulseq, or its sequence is another than mrfpipe's.
    ResourceError
        If pypulseq is not installed.
    """
    path = Path(path)
    events = read_events(path)
    shots = _shots(events, path)
    first = shots[0]
    flip = np.array([pulse.flip for pulse, _ in first.spokes])
    start = np.array([pulse.time for pulse, _ in first.spokes])
    te, angle, step = np.array([_echo(pulse, readout, path) for pulse, readout in first.spokes]).T
    tr = np.diff(start, append=2 * start[-1] - start[-2])
    end = shots[1].inversion.time if len(shots) > 1 else events.duration
    n_samples = first.spokes[0][1].k.shape[0]
    known = load_protocol(base)
    of_base = known.sequence
    fov, oversampling = _resolution(float(np.median(step)), events.fov, of_base.readout.oversampling, path)
    if n_samples % oversampling:
        raise InputError(f"{path}: readouts of {n_samples} samples are no multiple of oversampling {oversampling}.")
    if start.size % of_base.readouts_per_frame:
        raise InputError(f"{path}: has {start.size} spokes, no multiple of {of_base.readouts_per_frame} a frame.")
    train = Excitations(
        flip=np.deg2rad(np.round(np.rad2deg(flip), 3)),
        te=_rounded(te, 6),
        tr=_rounded(tr, 6),
        phase=np.zeros(flip.size),
        rf_spoiling_increment=_rf_increment(np.array([pulse.phase for pulse, _ in first.spokes]), path),
        dephasing=of_base.trains[0].dephasing,
    )
    blocks = (
        next((block for block in of_base.blocks if isinstance(block, Inversion)), Inversion()),
        Delay(duration=round(start[0] - first.inversion.time, 7)),
        train,
        Delay(duration=round(max(end - start[-1] - tr[-1], 0.0), 7)),
    )
    spokes = Readout(
        kind="golden-radial",
        readouts_per_frame=of_base.readouts_per_frame,
        angle_increment=_angle_increment(angle, path),
        oversampling=oversampling,
    )
    sequence = replace(of_base, blocks=blocks, readout=spokes, matrix=n_samples // oversampling, fov=round(fov, 6))
    described = f"Derived from the Pulseq file {path.name}"
    return replace(known, name=path.stem, description=described, sequence=sequence).toml


def _shots(events: Events, path: Path) -> list[_Shot]:
    """Sort pulses into inversions and excitations, and check that all trains are the first one."""
    shots: list[_Shot] = []
    next_times = [pulse.time for pulse in events.pulses[1:]] + [np.inf]
    readouts = iter([*events.readouts, None])
    readout = next(readouts)
    for pulse, next_time in zip(events.pulses, next_times, strict=True):
        of_pulse = []
        while readout is not None and readout.times[0] < next_time:
            of_pulse.append(readout)
            readout = next(readouts)
        where = f"{path}: the pulse at {pulse.time * 1e3:.3f} ms"
        if len(of_pulse) > 1:
            raise InputError(f"{where} has {len(of_pulse)} readouts; mrfpipe needs one.")
        if pulse.use in _NO_EXCITATION:
            raise InputError(f"{where} is for {pulse.use}; mrfpipe knows inversions and excitations.")
        if not of_pulse:
            shots.append(_Shot(inversion=pulse, spokes=[]))
        elif not shots or pulse.use == "inversion":
            raise InputError(f"{where} has a readout but no inversion before it; mrfpipe needs an inverted train.")
        else:
            shots[-1].spokes.append((pulse, of_pulse[0]))
    if not shots or len(shots[0].spokes) < 2:
        raise InputError(f"{path}: has no inversion with a train of spokes after it.")
    for number, shot in enumerate(shots):
        if not _is_alike(shot, shots[0]):
            raise InputError(f"{path}: train {number} differs from the first; mrfpipe needs one train, repeated.")
    return shots


def _is_alike(shot: _Shot, first: _Shot) -> bool:
    def values(of: _Shot) -> Double:
        return np.array([(pulse.time - of.inversion.time, pulse.flip) for pulse, _ in of.spokes])

    n_samples = {readout.times.size for s in (shot, first) for _, readout in s.spokes}
    if len(shot.spokes) != len(first.spokes) or len(n_samples) > 1:
        return False
    return bool(np.abs(values(shot) - values(first)).max() <= _SAME_TIME)


def _echo(pulse: Pulse, readout: Adc, path: Path) -> tuple[float, float, float]:
    """Echo time in s, direction in rad and step in 1/m of a spoke."""
    steps = np.diff(readout.k, axis=0)
    mean = steps.mean(axis=0)
    step = float(np.hypot(*mean))
    along = readout.k @ mean / max(step, 1e-30)
    across = readout.k @ np.array([-mean[1], mean[0]]) / max(step, 1e-30)
    is_straight = np.abs(steps - mean).max() < _SAME_SIZE * step and np.abs(across).max() < step
    if not is_straight or not along[0] < 0 < along[-1]:
        raise InputError(
            f"{path}: the readout at {readout.times[0] * 1e3:.3f} ms is no straight spoke through the centre."
        )
    return float(np.interp(0.0, along, readout.times)) - pulse.time, float(np.arctan2(mean[1], mean[0])), step


def _resolution(step: float, fov: float | None, oversampling: int | None, path: Path) -> tuple[float, int]:
    """Field of view in m, and oversampling, that a step in k-space means."""
    if fov is None:
        if oversampling is None:
            raise InputError(f"{path}: defines no FOV; define it, or take a base whose readout has an oversampling.")
        return 1 / (step * oversampling), oversampling
    ratio = 1 / (step * fov)
    if ratio < 1 - _SAME_SIZE or abs(ratio / round(ratio) - 1) > _SAME_SIZE:
        raise InputError(f"{path}: defines a FOV of {fov * 1e3:g} mm, but samples {1 / step * 1e3:g} mm.")
    return fov, round(ratio)


def _angle_increment(angle: Double, path: Path) -> float:
    """Angle from spoke to spoke in rad, 0 to 2 pi; the first spoke must point along +kx."""
    increment = _constant_increment(angle)
    if increment is None or abs(angle[0]) > _SAME_ANGLE:
        raise InputError(f"{path}: its spokes do not turn by one angle, from +kx on; mrfpipe needs a golden angle.")
    return float(np.deg2rad(round(float(np.rad2deg(increment)), 5)))


def _rf_increment(phase: Double, path: Path) -> float:
    """Increment of the quadratic RF phase in rad, 0 to 2 pi; 0 where the phase rises evenly or not at all."""
    increment = _constant_increment(np.diff(phase)) if phase.size > 2 else 0.0
    if increment is None:
        raise InputError(f"{path}: the phase of its pulses is not quadratic; mrfpipe knows no other RF spoiling.")
    return float(np.deg2rad(round(float(np.rad2deg(increment)), 3) % 360.0))


def _constant_increment(angle: Double) -> float | None:
    """Increment, 0 to 2 pi, of angles that rise evenly; None if they do not."""
    rough = np.angle(np.exp(1j * np.diff(angle)).mean())
    index = np.arange(angle.size)
    rest = np.unwrap(angle - rough * index - angle[0])
    slope, _ = np.polyfit(index, rest, 1)
    even = angle[0] + (rough + slope) * index
    if np.abs(np.angle(np.exp(1j * (angle - even)))).max() > _SAME_ANGLE:
        return None
    return float((rough + slope) % (2 * np.pi))


def _rounded(times: Double, decimals: int) -> Double:
    """Take off the digits that the raster of a file does not have."""
    return np.array([round(time, decimals) for time in times.tolist()])
