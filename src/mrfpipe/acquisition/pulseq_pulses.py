"""RF pulses of a Pulseq file: their effect on the magnetisation, and the slice that they select."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mrfpipe.acquisition.pulseq_gradients import Moments
from mrfpipe.arrays import Double

_FLAT = 1e-3  # rad by which the phase may change in a pulse that is not phase-modulated
_PLAYED = 1e-3  # of the largest sample; the phase of smaller samples is rounding error
_DIGITS = 6  # decimal digits of a shape in files
_BLOCK = 1.2067  # full width at half maximum of the spectrum of a block pulse, times its duration
_SAME_GRADIENT = 1e-2  # relative
_NO_GRADIENT = 10.0  # Hz/m: 0.2 uT/m
_PADDING = 64  # factor of zero-padding for the width of the spectrum


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """One RF pulse."""

    time: float
    """Time of its centre in s."""
    duration: float
    """Duration in s."""
    flip: float
    """Flip angle on resonance in rad, 0 or more; valid if the pulse is not modulated."""
    phase: float
    """Phase of its axis at its centre in rad."""
    use: str
    """Purpose of the pulse in the terms of Pulseq; 'undefined' in files older than 1.5."""
    modulated: bool
    """Whether its phase changes during the pulse, as in an adiabatic pulse."""
    left: float
    """Mz after the pulse on resonance, starting from Mz = 1."""
    frequency: float
    """Frequency offset in Hz."""
    gradient: float
    """Gradient along z during the pulse in Hz/m; 0 if the pulse is not slice-selective."""
    bandwidth: float
    """Full width at half maximum of its spectrum in Hz."""

    @property
    def place(self) -> float | None:
        """Position of its slice along z in m; None if it is not slice-selective."""
        return self.frequency / self.gradient if self.gradient else None


def pulse_of(rf: Any, start: float, moments: Moments) -> Pulse:  # noqa: ANN401 - pypulseq is untyped
    """Convert the RF pulse of a block that starts at a time in s.

    Raises
    ------
    ValueError
        If it is not a valid pulse, or the gradients during it do not select a slice along z.
    """
    begin, duration = float(start + rf.delay), float(rf.shape_dur)
    where = f"the pulse at {begin * 1e3:.3f} ms"
    signal, steps = np.asarray(rf.signal, complex), _steps(rf)
    values = (rf.delay, rf.center, rf.freq_offset, rf.phase_offset, rf.freq_ppm, rf.phase_ppm)
    if not np.isfinite([*values, *np.abs(signal)]).all() or rf.delay < 0 or not 0 <= rf.center <= duration:
        raise ValueError(f"{where} is none")
    if rf.freq_ppm or rf.phase_ppm:
        raise ValueError(f"{where} is offset by ppm of the field, which mrfpipe does not know")
    area = complex(np.sum(signal * steps))
    most = np.abs(signal).max()
    shape = (signal / most if most else signal).round(_DIGITS)
    modulated, bandwidth = _shape(shape.tobytes(), duration)
    return Pulse(
        time=begin + float(rf.center),
        duration=duration,
        flip=2 * np.pi * abs(area),
        phase=float(np.angle(area) if area else 0.0) + rf.phase_offset + 2 * np.pi * rf.freq_offset * rf.center,
        use=str(getattr(rf, "use", "undefined")),
        modulated=modulated,
        left=_left(signal.tobytes(), steps.tobytes()) if modulated else float(np.cos(2 * np.pi * abs(area))),
        frequency=float(rf.freq_offset),
        gradient=_gradient(moments, begin, duration, where),
        bandwidth=bandwidth,
    )


def _steps(rf: Any) -> Double:  # noqa: ANN401 - pypulseq is untyped
    """Return the duration of each sample of a pulse in s."""
    t = np.asarray(rf.t, float)
    if t.size == 1:
        return np.array([float(rf.shape_dur)])
    steps = np.diff(t)
    if np.any(steps <= 0):
        raise ValueError("a pulse whose time does not rise")
    if t[0] > 0:  # sampled at raster centres
        return np.full(t.size, steps.mean())
    return np.concatenate([[steps[0]], steps[1:] + steps[:-1], [steps[-1]]]) / 2


@lru_cache(maxsize=64)
def _shape(values: bytes, duration: float) -> tuple[bool, float]:
    """Return whether the phase of a shape changes, and the full width at half maximum of its spectrum in Hz."""
    shape = np.frombuffer(values, complex)
    played = shape[np.abs(shape) > _PLAYED]
    # The lobes of a sinc have opposite signs, which does not count as phase modulation.
    turned = np.angle((played * np.conj(played[:1])) ** 2) / 2
    spectrum = np.abs(np.fft.fft(shape, _PADDING * shape.size)) if shape.size > 2 else np.zeros(1)
    # A shape of one or two samples is a block pulse, whose spectrum is known.
    share = np.count_nonzero(spectrum >= spectrum.max() / 2) / _PADDING if spectrum.any() else _BLOCK
    return bool(turned.size and np.ptp(turned) > _FLAT), float(share / duration)


@lru_cache(maxsize=64)
def _left(samples: bytes, steps: bytes) -> float:
    """Return Mz after a pulse on resonance, starting along z: the product of its samples as SU(2) rotations."""
    signal = np.frombuffer(samples, complex)
    half = np.pi * np.abs(signal) * np.frombuffer(steps)
    cosine, sine = np.cos(half), -1j * np.sin(half) * np.exp(1j * np.angle(signal))
    up, down = 1.0 + 0.0j, 0.0j
    for c, s in zip(cosine.tolist(), sine.tolist(), strict=True):
        up, down = c * up - s.conjugate() * down, c * down + s * up
    return abs(up) ** 2 - abs(down) ** 2


def _gradient(moments: Moments, begin: float, duration: float, where: str) -> float:
    """Return the gradient along z during a pulse, which must be constant."""
    at = moments.gradient_at(begin + duration / 2)
    played = np.diff(moments.at(np.array([begin, begin + duration])), axis=0)[0] / duration
    if np.abs(at).max() < _NO_GRADIENT and np.abs(played).max() < _NO_GRADIENT:
        return 0.0
    if np.abs(at - played).max() > _SAME_GRADIENT * np.abs(at).max():
        raise ValueError(f"{where} plays while gradients change, which mrfpipe does not simulate")
    if np.hypot(at[0], at[1]) > _SAME_GRADIENT * abs(at[2]):
        raise ValueError(f"{where} selects a slice that is not along z, which mrfpipe does not know")
    return float(at[2])
