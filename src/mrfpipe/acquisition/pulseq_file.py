"""The pulses and readouts of a Pulseq file (``.seq``), as pypulseq plays it."""

import contextlib
import io
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.errors import InputError, ResourceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """One RF pulse."""

    time: float
    """Of its centre, in s."""
    flip: float
    """Flip angle on resonance of a pulse of constant phase, in rad."""
    phase: float
    """In rad."""
    use: str
    """What it is for, in Pulseq's words; 'undefined' in files older than 1.5."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adc:
    """One readout, an event of the receiver."""

    times: Double
    """Of its samples, in s. Shape `(samples)`."""
    k: Double
    """(kx, ky) of its samples in 1/m. Shape `(samples, 2)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """All that a sequence sends and receives, in time."""

    pulses: list[Pulse]
    """Its pulses."""
    readouts: list[Adc]
    """Its readouts."""
    duration: float
    """Of the whole sequence, in s."""
    fov: float | None
    """Field of view along x in m, if the file defines it."""


def read_events(path: Path) -> Events:
    """Read the events of a Pulseq file.

    Raises
    ------
    InputError
        If the file is missing, or not Pulseq.
    ResourceError
        If pypulseq is not installed.
    """
    try:
        import pypulseq
    except ImportError as e:
        raise ResourceError("Pulseq files need pypulseq, which is not installed; pip install 'mrfpipe[pulseq]'.") from e
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; check the path.")
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return _events(_played(pypulseq.Sequence(), path))
    except Exception as e:
        reason = (str(e).strip() or type(e).__name__).splitlines()[0].rstrip(". ")
        raise InputError(f"{path}: cannot be read as Pulseq ({reason}); write it with a Pulseq of 1.3 to 1.5.") from e


def _played(sequence: Any, path: Path) -> Any:  # noqa: ANN401 - pypulseq is untyped
    try:
        sequence.read(str(path))
    except Exception as e:
        traceback.clear_frames(e.__traceback__)  # closes the file that pypulseq leaves open then
        raise
    return sequence


def _events(played: Any) -> Events:  # noqa: ANN401 - pypulseq is untyped
    k = played.calculate_kspace()[0]
    pulses, readouts, start, n_read = [], [], 0.0, 0
    for number, duration in played.block_durations.items():
        block = played.get_block(number)
        if block.rf is not None:
            pulses.append(_pulse(block.rf, start))
        if block.adc is not None:
            n = int(block.adc.num_samples)
            times = start + block.adc.delay + (np.arange(n) + 0.5) * block.adc.dwell
            readouts.append(Adc(times=times, k=k[:2, n_read : n_read + n].T))
            n_read += n
        start += float(duration)
    defined = np.ravel(played.definitions.get("FOV", ()))
    return Events(pulses=pulses, readouts=readouts, duration=start, fov=float(defined[0]) if defined.size else None)


def _pulse(rf: Any, start: float) -> Pulse:  # noqa: ANN401 - pypulseq is untyped
    """Integrate a pulse, whose samples are in Hz, from edge to edge of its raster."""
    step = np.diff(rf.t).mean() if rf.t.size > 1 else rf.shape_dur
    is_block = rf.t.size == 2  # its two corners
    area = np.trapezoid(rf.signal, rf.t) if is_block else rf.signal.sum() * step
    return Pulse(
        time=float(start + rf.delay + rf.center),
        flip=float(2 * np.pi * np.abs(area)),
        phase=float(rf.phase_offset),
        use=str(getattr(rf, "use", "undefined")),
    )
