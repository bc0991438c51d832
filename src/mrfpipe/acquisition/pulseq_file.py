"""Read the pulses, readouts and gradients of a Pulseq file (``.seq``) with pypulseq, and put them on one time axis."""

import contextlib
import hashlib
import io
import math
import re
import tempfile
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from mrfpipe.acquisition.pulseq_gradients import Moments
from mrfpipe.acquisition.pulseq_pulses import Pulse, pulse_of
from mrfpipe.arrays import Double
from mrfpipe.errors import InputError, ResourceError, first_line

_LATE = 1e-6  # s by which an event may end after its block
_SAME_BEAT = 1e-6  # fraction of a heartbeat by which a trigger may be late
_MOST_SAMPLES = 10**8  # in all readouts, and in a shape; only a damaged count exceeds it
_WRITE = "write it with a Pulseq of 1.2 to 1.5"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adc:
    """One readout (ADC event)."""

    start: float
    """Start of the first sample's dwell time in s."""
    n_samples: int
    """Number of samples."""
    dwell: float
    """Dwell time per sample in s."""
    phase: float
    """Phase of the receiver in rad."""
    frequency: float
    """Frequency offset of the receiver in Hz."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """Values of the Pulseq labels at this readout, by name."""

    @property
    def times(self) -> Double:
        """Times of the samples (middle of the dwell time) in s. Shape `(samples)`."""
        return self.start + (np.arange(self.n_samples, dtype=np.float64) + 0.5) * self.dwell


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Events:
    """All pulses, readouts and gradients of a sequence, on one time axis."""

    path: Path
    """The file."""
    sha256: str
    """sha256 of the file."""
    pulses: tuple[Pulse, ...]
    """Its pulses."""
    readouts: tuple[Adc, ...]
    """Its readouts."""
    moments: Moments
    """Its gradients."""
    duration: float
    """Duration of the whole sequence in s."""
    fov: tuple[float, ...]
    """Field of view along x, y and z in m, as far as the file defines it."""
    soft_delays: tuple[tuple[str, float], ...] = ()
    """Soft delays in s that were set instead of the defaults of the file, by name."""
    heartbeat: float | None = None
    """Time in s between triggers, if it was given."""

    def error(self, time: float, complaint: str) -> InputError:
        """Return an error that names an event by its time in s."""
        return InputError(f"{self.path}: at {time * 1e3:.3f} ms {complaint}.")


def read_events(path: Path, soft_delays: Mapping[str, float] | None = None, heartbeat: float | None = None) -> Events:
    """Read the events of a Pulseq file.

    Parameters
    ----------
    path
        The file.
    soft_delays
        Durations in s of the delays that the operator sets, by name; for others, the default of the file.
    heartbeat
        Time in s between triggers; without it, a trigger comes as soon as the sequence waits for one.

    Raises
    ------
    InputError
        If the file is missing, damaged, or not Pulseq, or lacks one of the soft delays.
    ResourceError
        If pypulseq is not installed.
    """
    try:
        import pypulseq
    except ImportError as e:
        raise ResourceError("Pulseq files need pypulseq, which is not installed; pip install 'mrfpipe[pulseq]'.") from e
    if not path.is_file():
        raise InputError(f"{path}: the file does not exist; check the path.")
    try:
        content = path.read_bytes()
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror}); check its permissions.") from e
    _check_signature(content, path)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            sequence = _read(pypulseq.Sequence(), content)
            _set_delays(sequence, soft_delays or {}, path)
            events = _events(sequence, path, hashlib.sha256(content).hexdigest(), heartbeat)
            return replace(events, soft_delays=tuple((soft_delays or {}).items()))
    except InputError:
        raise
    except Exception as e:
        raise InputError(f"{path}: cannot be read as Pulseq ({_reason(e)}); {_WRITE}.") from e


def _reason(error: Exception) -> str:
    """Describe an error of pypulseq: a KeyError is a missing event, an AssertionError an incomplete shape."""
    if isinstance(error, KeyError) and error.args:
        key = error.args[0]
        return f"nothing has the number {key:g}" if isinstance(key, int | float | np.number) else f"it lacks {key}"
    if isinstance(error, AssertionError):
        return "a shape has not the samples that it says"
    return first_line(error)


def _check_signature(content: bytes, path: Path) -> None:
    """Check the signature of a file that has one; files before Pulseq 1.4 have none."""
    signed, found, signature = content.replace(b"\r\n", b"\n").rpartition(b"\n[SIGNATURE]")
    if not found:
        return
    values = dict(line.split(None, 1) for line in signature.splitlines() if line[:4] in {b"Type", b"Hash"})
    kind, stated = (values.get(key, b"").strip().decode("ascii", "replace") for key in (b"Type", b"Hash"))
    made = hashlib.md5(signed, usedforsecurity=False).hexdigest()
    if kind != "md5" or stated != made:
        raise InputError(
            f"{path}: does not match its signature, so it is damaged or was edited; copy it again, or delete its "
            "section [SIGNATURE] if the change was intended."
        )


def _read(sequence: Any, content: bytes) -> Any:  # noqa: ANN401 - pypulseq is untyped
    """Let pypulseq read a copy that ends with an empty line; without it, pypulseq never stops reading a last shape."""
    for count in re.findall(rb"^\s*num_samples\s+(\d+)", content, re.MULTILINE):
        if int(count) > _MOST_SAMPLES:
            raise ValueError(f"a shape of {int(count)} samples")
    with tempfile.NamedTemporaryFile(suffix=".seq") as copy:
        copy.write(content.replace(b"\r\n", b"\n") + b"\n\n")
        copy.flush()
        try:
            # Older files do not state the use of a pulse; pypulseq's guess is not wanted.
            sequence.read(copy.name, detect_rf_use=False)
        except Exception as e:
            traceback.clear_frames(e.__traceback__)  # closes the file that pypulseq leaves open then
            raise
    return sequence


def _set_delays(sequence: Any, delays: Mapping[str, float], path: Path) -> None:  # noqa: ANN401 - pypulseq is untyped
    known = set(sequence.soft_delay_hints)
    for name in delays:
        if name not in known:
            has = f"its delays are {', '.join(sorted(known))}" if known else "it has none"
            raise InputError(f"{path}: has no soft delay {name}; {has}.")
    if delays:
        sequence.apply_soft_delay(**delays)


def _events(
    sequence: Any,  # noqa: ANN401 - pypulseq is untyped
    path: Path,
    sha256: str,
    heartbeat: float | None,
) -> Events:
    """Collect the events of a sequence block by block."""
    moments, pulses, readouts, labels = Moments(), [], [], dict[str, int]()
    start, first_beat, n_samples, played = 0.0, None, 0, []
    for number, length in sequence.block_durations.items():
        block, duration = sequence.get_block(number), float(length)
        if not 0 <= duration < np.inf:
            raise ValueError(f"block {number} lasts {duration:g} s")
        if heartbeat is not None and _waits_for_trigger(block):
            first_beat = start if first_beat is None else first_beat
            start = first_beat + heartbeat * math.ceil((start - first_beat) / heartbeat - _SAME_BEAT)
        ends = [moments.add(block, start)]
        _follow(labels, block.label)
        if block.rf is not None:
            played.append((block.rf, start))
            ends.append(start + block.rf.delay + block.rf.shape_dur)
        if block.adc is not None:
            readouts.append(_adc(block.adc, start, dict(labels)))
            ends.append(readouts[-1].start + readouts[-1].n_samples * readouts[-1].dwell)
            n_samples += readouts[-1].n_samples
        if not max(ends) <= start + duration + _LATE or n_samples > _MOST_SAMPLES:
            raise ValueError(f"block {number}, at {start * 1e3:.3f} ms, ends before its events")
        start += duration
    for rf, begin in played:
        pulses.append(pulse_of(rf, begin, moments))
    fov = np.ravel(sequence.definitions.get("FOV", ()))
    sizes = fov.tolist() if fov.dtype.kind == "f" else []
    return Events(
        path=path,
        sha256=sha256,
        pulses=tuple(pulses),
        readouts=tuple(readouts),
        moments=moments,
        duration=start,
        fov=tuple(takewhile(lambda size: 0 < size < np.inf, sizes)),
        heartbeat=heartbeat,
    )


def _waits_for_trigger(block: Any) -> bool:  # noqa: ANN401 - pypulseq is untyped
    """Whether a block waits for a (cardiac) trigger."""
    return any(trigger.type == "trigger" for trigger in getattr(block, "trigger", {}).values())


def _adc(adc: Any, start: float, labels: dict[str, int]) -> Adc:  # noqa: ANN401 - pypulseq is untyped
    n = int(adc.num_samples)
    values = (adc.dwell, adc.delay, adc.phase_offset, adc.freq_offset, adc.freq_ppm, adc.phase_ppm)
    if not 1 <= n <= _MOST_SAMPLES or not np.isfinite(values).all() or adc.dwell <= 0 or adc.delay < 0:
        raise ValueError(f"the readout at {start * 1e3:.3f} ms is none")
    if np.size(adc.phase_modulation) or adc.freq_ppm or adc.phase_ppm:
        raise ValueError(f"the readout at {start * 1e3:.3f} ms modulates its phase, which mrfpipe does not know")
    return Adc(
        start=float(start + adc.delay),
        n_samples=n,
        dwell=float(adc.dwell),
        phase=float(adc.phase_offset),
        frequency=float(adc.freq_offset),
        labels=labels,
    )


def _follow(labels: dict[str, int], changes: Any) -> None:  # noqa: ANN401 - pypulseq is untyped
    """Apply the label changes of a block: set or increment."""
    for change in (changes or {}).values():
        before = labels.get(change.label, 0) if change.type == "labelinc" else 0
        labels[change.label] = before + int(change.value)
