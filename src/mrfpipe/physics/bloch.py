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
from mrfpipe.physics.spoiled import STEADY_STATE_REPETITIONS
from mrfpipe.physics.train import Train, check_signals, train_of
from mrfpipe.protocol import Sequence

N_SPINS = 256
"""Spins, unless told otherwise."""


@njit(parallel=True, cache=True)
def _bloch_echoes(
    train: Train, t1: Double, t2: Double, b1: Double, df: Double, repetitions: int, n_spins: int
) -> npt.NDArray[np.complex128]:
    echoes = np.empty((t1.size, train.flip_of.size), np.complex128)
    dephasing = np.exp(2j * np.pi * np.arange(n_spins) / n_spins)
    for v in prange(t1.size):
        mz = np.ones(n_spins)
        for _ in range(repetitions):
            mxy = np.zeros(n_spins, np.complex128)
            mz = 1 + (-mz - 1) * np.exp(-train.inversion_time / t1[v])
            for spoke in range(train.flip_of.size):
                flip = b1[v] * train.flips[train.flip_of[spoke]]
                te, tr = train.times[train.time_of[spoke]]
                mx = np.cos(flip) * mxy.real + np.sin(flip) * mz
                mz = np.cos(flip) * mz - np.sin(flip) * mxy.real
                mxy = mx + 1j * mxy.imag
                echoes[v, spoke] = mxy.mean() * np.exp(te * (2j * np.pi * df[v] - 1 / t2[v]))
                mxy *= dephasing * np.exp(tr * (2j * np.pi * df[v] - 1 / t2[v]) - 1j * train.turns[spoke])
                mz = 1 + (mz - 1) * np.exp(-tr / t1[v])
            mz = 1 + (mz - 1) * np.exp(-train.recovery / t1[v])
    return echoes


def bloch_echoes(
    sequence: Sequence,
    *,
    t1: Double,
    t2: Double,
    b1: Double,
    df: Double,
    repetitions: int = STEADY_STATE_REPETITIONS,
    n_spins: int = N_SPINS,
) -> npt.NDArray[np.complex128]:
    """Simulate the echo of every spoke with isochromats.

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
    repetitions
        How many times the sequence is played from equilibrium; the last is returned.
    n_spins
        Isochromats over one cycle of dephasing.

    Returns
    -------
        Echoes for an equilibrium magnetisation of 1, in the phase of the receiver, which follows the RF. Shape
        `(signals, spokes)`.
    """
    t1, t2, b1, df = check_signals(np.float64, t1=t1, t2=t2, b1=b1, df=df)
    echoes: npt.NDArray[np.complex128] = _bloch_echoes(train_of(sequence), t1, t2, b1, df, repetitions, n_spins)
    return echoes
