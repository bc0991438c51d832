"""Isochromats: the train on spins spread evenly over one cycle of the gradients' dephasing.

Every spin follows the Bloch equations: a pulse turns z towards x, then it relaxes, precesses counterclockwise with
off-resonance and, spin j of J, by j / J of a turn more in every repetition time. The signal is the mean over the spins.
Nothing is neglected as long as there are more spins than twice the pulses whose effect lasts; with fewer, dephased
magnetisation comes back as if it were refocused. Slow and obvious: what `mrfpipe.physics.epg` is tested against.
"""

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from mrfpipe.arrays import Double
from mrfpipe.physics.train import (
    STEADY_STATE_REPETITIONS,
    WHOLE,
    Parts,
    Train,
    check_signals,
    invert,
    recover,
    train_of,
)
from mrfpipe.protocol import Sequence

N_SPINS = 256
"""Spins, unless told otherwise."""

ComplexDouble = npt.NDArray[np.complex128]


@njit(cache=True)
def rotate(mx: float, mz: float, cosine: float, sine: float) -> tuple[float, float]:
    """Turn z towards x."""
    return cosine * mx + sine * mz, cosine * mz - sine * mx


@njit(cache=True)
def _pulse(mx: Double, mz: Double, angle: float) -> None:
    cosine, sine = np.cos(angle), np.sin(angle)
    for j in range(mx.size):
        mx[j], mz[j] = rotate(mx[j], mz[j], cosine, sine)


@njit(cache=True)
def _mean(mx: Double, my: Double) -> complex:
    """Signal of all spins."""
    re, im = 0.0, 0.0
    for j in range(mx.size):
        re += mx[j]
        im += my[j]
    return complex(re / mx.size, im / mx.size)


@njit(cache=True)
def _repetition_time(mx: Double, my: Double, mz: Double, dephasing: ComplexDouble, turn: complex, decay: float) -> None:
    """Relax, precess by `turn` and dephase, each spin by its own angle."""
    for j in range(mx.size):
        moved = complex(mx[j], my[j]) * (turn * dephasing[j])
        mx[j], my[j], mz[j] = moved.real, moved.imag, recover(mz[j], decay, 1.0)


@njit(cache=True)
def _relax_without_transverse(mx: Double, my: Double, mz: Double, efficiency: float, decay: float) -> None:
    """Crush the transverse magnetisation, let `-efficiency` times the longitudinal recover."""
    for j in range(mx.size):
        mx[j], my[j], mz[j] = 0, 0, recover(invert(mz[j], efficiency), decay, 1.0)


@njit(cache=True)
def _part(
    train: Train,
    weight: float,
    t1: float,
    t2: float,
    b1: float,
    df: float,
    repetitions: int,
    dephasing: ComplexDouble,
    frames: ComplexDouble,
) -> None:
    """Add the signal of one part to `frames` `(frames)`."""
    mx, my, mz = np.zeros(dephasing.size), np.zeros(dephasing.size), np.ones(dephasing.size)
    for repetition in range(repetitions):
        _relax_without_transverse(mx, my, mz, train.inversion_efficiency, np.exp(-train.inversion_time / t1))
        for i in range(frames.size):
            frame = 0j
            for spoke in range(i * train.spokes_per_frame, (i + 1) * train.spokes_per_frame):
                te, tr = train.times[train.time_of[spoke]]
                _pulse(mx, mz, b1 * train.flips[train.flip_of[spoke]])
                frame += _mean(mx, my) * np.exp(te * (2j * np.pi * df - 1 / t2))
                turn = np.exp(tr * (2j * np.pi * df - 1 / t2) - 1j * train.turns[spoke])
                _repetition_time(mx, my, mz, dephasing, turn, np.exp(-tr / t1))
            if repetition == repetitions - 1:
                frames[i] += weight * frame
        _relax_without_transverse(mx, my, mz, -1.0, np.exp(-train.recovery / t1))


@njit(parallel=True, cache=True)
def _all(
    train: Train,
    parts: Parts,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    repetitions: int,
    dephasing: ComplexDouble,
    signals: ComplexDouble,
) -> None:
    for v in prange(t1.size):
        for part in range(parts.weights.size):
            _part(
                train,
                parts.weights[part] / train.spokes_per_frame,
                t1[v],
                t2[v],
                b1[v] * parts.flip_scales[part],
                df[v] + parts.shifts[part],
                repetitions,
                dephasing,
                signals[v],
            )


def bloch_signals(
    sequence: Sequence,
    *,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    parts: Parts = WHOLE,
    repetitions: int = STEADY_STATE_REPETITIONS,
    n_spins: int = N_SPINS,
) -> ComplexDouble:
    """Simulate the signal of every frame with isochromats.

    Parameters
    ----------
    sequence
        Inversion, train and recovery; its RF spoiling increment counts.
    t1, t2
        In s. Shape `(signals)`.
    b1
        Flip angle efficacy. Shape `(signals)`.
    df
        Off-resonance in Hz. Shape `(signals)`.
    parts
        What each signal is the sum of.
    repetitions
        How many times the sequence is played from equilibrium; the last is returned.
    n_spins
        Isochromats over one cycle of dephasing.

    Returns
    -------
        Mean echo of the spokes of each frame, for an equilibrium magnetisation of 1, in the phase of the receiver,
        which follows the RF. Shape `(signals, frames)`.
    """
    t1, t2, b1, df = check_signals(t1=t1, t2=t2, b1=b1, df=df)
    dephasing = np.exp(2j * np.pi * np.arange(n_spins) / n_spins)
    signals = np.zeros((t1.size, sequence.n_frames), np.complex128)
    _all(train_of(sequence), parts, t1, t2, b1, df, repetitions, dephasing, signals)
    return signals
