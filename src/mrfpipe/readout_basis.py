"""Readout basis: a dictionary's basis vectors at every readout, of which those of the dictionary are means over frames.

Signals recover while a frame is measured. A reconstruction of all samples that knows of it explains them better.
"""

from functools import lru_cache

import numpy as np

from mrfpipe.arrays import Complex
from mrfpipe.basis import entry_gram
from mrfpipe.dictionary import Dictionary
from mrfpipe.physics.simulate import readout_signals

ENERGY_LEFT = 1e-4
"""Share of the entries' energy that the vectors of the basis leave out at most: 9 vectors for T1-FF. A tenth of it, 12
vectors, takes half as long again and changes no error of a phantom by more than 1 %."""
N_ENTRIES = 1500
"""Entries, drawn at random, that the basis is fitted to."""


def readout_rank(dictionary: Dictionary) -> int:
    """Return how many of a dictionary's vectors leave out `ENERGY_LEFT`, or all that it has."""
    energies = np.diagonal(entry_gram(dictionary.components, dictionary.protocol)).real
    left = 1 - dictionary.energy * np.cumsum(energies) / energies.sum()
    return int(np.argmax(left <= ENERGY_LEFT)) + 1 if left[-1] <= ENERGY_LEFT else dictionary.rank


@lru_cache(maxsize=1)
def readout_basis(dictionary: Dictionary) -> Complex:
    """Fit the basis that makes the readouts of entries of their coefficients.

    Returns
    -------
        Shape `(readouts, rank)`, of the leading vectors as `readout_rank` counts them.
    """
    protocol, rank = dictionary.protocol, readout_rank(dictionary)
    numbers = np.random.default_rng(0).integers(0, dictionary.n_entries, min(N_ENTRIES, 4 * dictionary.n_entries))
    signals = readout_signals(protocol, dictionary.parameters(numbers), dictionary.model)
    frames = signals.reshape(len(signals), protocol.sequence.n_frames, -1).mean(axis=2)
    coefficients = frames @ dictionary.basis[:, :rank].conj()
    basis: Complex = np.linalg.lstsq(coefficients, signals, rcond=None)[0].T.astype(np.complex64)
    return basis
