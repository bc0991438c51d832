"""Trajectory and echo times of the readouts of a Pulseq sequence."""

from dataclasses import dataclass

import numpy as np

from mrfpipe.acquisition.pulseq_file import Events
from mrfpipe.acquisition.pulseq_trains import Excited, Part
from mrfpipe.arrays import Double
from mrfpipe.errors import InputError

_CENTRE = 1.0  # cycles/FOV within which a readout passes the centre
_AWAY = 2.0  # cycles/FOV beyond which it has left the centre
_SAME = 0.01  # cycles/FOV
_SAME_SIZE = 0.02  # relative
_SAME_ANGLE = np.deg2rad(0.1)
_MOST_VOXELS = 4096  # along x and along y
_REFOCUSED = 0.1  # cycles over the slice thickness by which a readout may be off the plane kz = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spokes:
    """Readouts that are golden-angle spokes."""

    increment: float
    """Angle between consecutive spokes in rad, 0 to 2 pi."""
    oversampling: int
    """Readout oversampling: samples per voxel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readouts:
    """The readouts of a part; the ADC events of one pulse are joined to one readout."""

    te: Double
    """Time from the pulse to the centre of k-space in s. Shape `(readouts)`."""
    fov: float
    """Field of view in m."""
    matrix: int
    """Number of voxels along x and along y that the readouts resolve."""
    spokes: Spokes | None
    """Description of the spokes, if the readouts are golden-angle spokes."""


def trajectory_of(events: Events, part: Part) -> Double:
    """Return (kx, ky, kz) of all samples in 1/m; readouts of one pulse are joined. Shape `(readouts, samples, 3)`.

    Raises
    ------
    InputError
        If the number of samples differs from pulse to pulse.
    """
    excitations = part.excitations
    n = excitations[0].times.size
    for one in excitations:
        if one.times.size != n:
            raise events.error(
                one.readouts[0].start,
                f"the readouts of a pulse have {one.times.size} samples, before they had {n}; mrfpipe needs as many",
            )
    centres = events.moments.at(np.array([one.pulse.time for one in excitations]))
    k = events.moments.at(np.concatenate([one.times for one in excitations]))
    trajectory: Double = k.reshape(len(excitations), n, 3) - centres[:, None]
    return trajectory


def readouts_of(events: Events, part: Part, slice_thickness: float) -> Readouts:
    """Determine trajectory, echo times and matrix of the readouts of a part.

    Raises
    ------
    InputError
        If they cannot be simulated as one echo per pulse, or the file defines no field of view.
    """
    k = trajectory_of(events, part)
    if len(events.fov) < 1:
        raise InputError(f"{events.path}: defines no FOV; write it with the definition FOV, in m.")
    fov = events.fov[0]
    if len(events.fov) > 1 and abs(events.fov[1] - fov) > _SAME_SIZE * fov:
        raise InputError(
            f"{events.path}: has a FOV of {fov * 1e3:g} x {events.fov[1] * 1e3:g} mm; mrfpipe needs a square."
        )
    excitations, radius = part.excitations, np.hypot(k[..., 0], k[..., 1]) * fov
    for one, r, z in zip(excitations, radius, k[..., 2] * slice_thickness, strict=True):
        _check_one_echo(events, one, r, z)
    spokes, te = _spokes(k[..., :2], fov, excitations)
    n_samples = k.shape[1]
    matrix = n_samples // spokes.oversampling if spokes else 2 * int(radius.max() + 0.1)
    if not 2 <= matrix <= _MOST_VOXELS:
        reach = f"its readouts reach {radius.max():.2g} cycles/FOV of a FOV of {fov * 1e3:g} mm"
        raise InputError(f"{events.path}: {reach}; no image can be reconstructed, check the definition FOV, in m.")
    return Readouts(te=te, fov=fov, matrix=matrix, spokes=spokes)


def _check_one_echo(events: Events, one: Excited, radius: Double, kz: Double) -> None:
    """Check that a readout passes the centre of k-space once, and stays in the plane kz = 0."""
    first = one.readouts[0]
    for readout in one.readouts:
        if readout.frequency:
            raise events.error(
                readout.start, f"the receiver has an offset of {readout.frequency:g} Hz, which mrfpipe does not know"
            )
    if radius.min() > _CENTRE:
        raise events.error(
            first.start,
            f"a readout passes the centre of k-space {radius.min():.3g} cycles/FOV away, as Cartesian lines do; "
            "mrfpipe reads spokes and spirals, whose every readout has it",
        )
    near = radius <= max(_CENTRE, radius.min() + _SAME)
    away = radius > _AWAY
    # Count how often the readout comes back to the centre after leaving it.
    state = np.where(near, 1, np.where(away, -1, 0))
    turns = state[state != 0]
    n_echoes = int(turns[0] == 1) + int(np.count_nonzero((turns[1:] == 1) & (turns[:-1] == -1)))
    if n_echoes > 1:
        raise events.error(
            first.start, f"a readout passes the centre of k-space {n_echoes} times; mrfpipe simulates one echo a pulse"
        )
    at_echo = float(np.abs(kz[near]).max())
    if at_echo > _REFOCUSED or np.ptp(kz) > _REFOCUSED:
        raise events.error(
            first.start,
            f"a readout is {max(at_echo, float(np.ptp(kz))):.2g} cycles over the slice off the plane kz = 0; mrfpipe "
            "reads slices, and takes them to be rephased",
        )


def _spokes(k: Double, fov: float, excitations: tuple[Excited, ...]) -> tuple[Spokes | None, Double]:
    """Recognise golden-angle spokes, and return the echo times of the readouts, spokes or not."""
    radius = np.hypot(k[..., 0], k[..., 1]) * fov
    after = np.array([one.times - one.pulse.time for one in excitations])
    nearest = np.argmax(radius <= radius.min(axis=1, keepdims=True) + _SAME, axis=1)
    te: Double = np.take_along_axis(after, nearest[:, None], axis=1)[:, 0]
    steps = np.diff(k, axis=1)
    mean = steps.mean(axis=1)
    size = np.hypot(mean[:, 0], mean[:, 1])
    if k.shape[1] < 4 or size.min() * fov < _SAME:
        return None, te
    along = np.einsum("rsd,rd->rs", k, mean) / size[:, None]
    across = np.abs(k[..., 0] * mean[:, None, 1] - k[..., 1] * mean[:, None, 0]) / size[:, None]
    is_straight = (np.hypot(*np.moveaxis(steps - mean[:, None], -1, 0)).max(axis=1) < _SAME_SIZE * size) & (
        across.max(axis=1) < size
    )
    if not np.all(is_straight & (along[:, 0] < 0) & (along[:, -1] > 0)):
        return None, te
    te = np.array([np.interp(0.0, line, time) for line, time in zip(along, after, strict=True)])
    ratio = 1 / (float(np.median(size)) * fov)
    oversampling, angle = round(ratio), np.arctan2(mean[:, 1], mean[:, 0])
    increment = constant_increment(angle)
    is_golden = increment is not None and abs(angle[0]) <= _SAME_ANGLE and angle.size > 2
    fits = oversampling >= 1 and abs(ratio / oversampling - 1) <= _SAME_SIZE and k.shape[1] % oversampling == 0
    if increment is None or not is_golden or not fits:
        return None, te
    return Spokes(increment=increment, oversampling=oversampling), te


def constant_increment(angle: Double) -> float | None:
    """Return the increment, 0 to 2 pi, of evenly spaced angles; None if they are not evenly spaced."""
    rough = np.angle(np.exp(1j * np.diff(angle)).mean())
    index = np.arange(angle.size)
    rest = np.unwrap(angle - rough * index - angle[0])
    slope, _ = np.polyfit(index, rest, 1)
    even = angle[0] + (rough + slope) * index
    if np.abs(np.angle(np.exp(1j * (angle - even)))).max() > _SAME_ANGLE:
        return None
    return float((rough + slope) % (2 * np.pi))
