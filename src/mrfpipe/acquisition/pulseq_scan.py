"""The Pulseq file of a scan: it identifies the readouts and gives their trajectory."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from mrfpipe.acquisition.pulseq_file import read_events
from mrfpipe.acquisition.pulseq_readouts import trajectory_of
from mrfpipe.acquisition.pulseq_trains import Part, sort_events
from mrfpipe.arrays import Float, Int
from mrfpipe.errors import MismatchError
from mrfpipe.protocol import Sequence

NOISE = -1
"""Readout number that stands for a noise measurement."""
_SAME_K = 0.1  # cycles/FOV between slices


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PulseqScan:
    """ADC events and trajectory of a scan, from its Pulseq file."""

    n_samples: Int
    """Number of samples of every ADC event, in the order played. Shape `(events)`."""
    slices: Int
    """Slice of every event. Shape `(events)`."""
    repetitions: Int
    """Repetition of its slice for every event. Shape `(events)`."""
    readouts: Int
    """Readout of the protocol that every event belongs to, or `NOISE`. Shape `(events)`."""
    trajectory: Float
    """(kx, ky) of the readouts of the last repetition in cycles/FOV. Shape `(readouts, samples, 2)`."""
    times: Float
    """Sampling times in s after the pulse. Shape `(readouts, samples)`."""


def find_pulseq(sequence: Sequence, scan: Path) -> PulseqScan | None:
    """Read the Pulseq file that a protocol was derived from, if it is in the folder of the scan or the current folder.

    The file is recognised by name and sha256. Soft delays and heartbeat are those with which the protocol was derived.

    Returns
    -------
        Its contents; None if the file is not found or the protocol was not derived from a Pulseq file.

    Raises
    ------
    MismatchError
        If its slices have different readouts, or the number of readouts differs from the protocol.
    """
    readout = sequence.readout
    name, sha256 = readout.pulseq, readout.sha256
    if name is None or sha256 is None:
        return None
    for folder in (scan.parent, Path()):
        path = folder / name
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            played = _read(path.resolve(), sha256, sequence.fov, readout.soft_delays, readout.heartbeat)
            n_readouts = len(played.trajectory)
            if n_readouts != sequence.n_readouts:
                raise MismatchError(
                    f"{path}: has {n_readouts} readouts per slice, its protocol has {sequence.n_readouts}; derive the "
                    "protocol again, with the soft delays and the heartbeat of the scan."
                )
            return played
    return None


@lru_cache(maxsize=1)
def _read(
    path: Path,
    sha256: str,  # noqa: ARG001 - the content is a part of the key
    fov: float,
    soft_delays: tuple[tuple[str, float], ...],
    heartbeat: float | None,
) -> PulseqScan:
    events = read_events(path, dict(soft_delays), heartbeat)
    measured = sort_events(events)
    n = len(events.readouts)
    slices, repetitions, readouts = np.zeros(n, np.int64), np.zeros(n, np.int64), np.full(n, NOISE)
    seen: dict[int, int] = {}
    last: dict[int, Part] = {}
    for part in measured.parts:
        repetition = seen.get(part.slice, 0)
        seen[part.slice], last[part.slice] = repetition + 1, part
        for readout, one in enumerate(part.excitations):
            numbers = list(one.numbers)
            slices[numbers], repetitions[numbers], readouts[numbers] = part.slice, repetition, readout
    trajectories = [trajectory_of(events, part)[..., :2] * fov for part in last.values()]
    for trajectory in trajectories[1:]:
        if np.abs(trajectory - trajectories[0]).max() > _SAME_K:
            raise MismatchError(f"{path}: its slices have different readouts; mrfpipe needs the same in all.")
    times = np.stack([one.times - one.pulse.time for one in next(iter(last.values())).excitations])
    return PulseqScan(
        n_samples=np.array([readout.n_samples for readout in events.readouts]),
        slices=slices,
        repetitions=repetitions,
        readouts=readouts,
        trajectory=trajectories[0].astype(np.float32),
        times=times.astype(np.float32),
    )
