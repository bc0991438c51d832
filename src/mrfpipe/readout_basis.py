"""Readout basis: basis vectors with one value per readout, whose means over frames are the dictionary's basis vectors.

Signals recover while a frame is measured. A reconstruction that models this explains the samples better.
"""

from functools import lru_cache

import numpy as np

from mrfpipe.arrays import Complex
from mrfpipe.dictionary import Dictionary
from mrfpipe.physics.simulate import readout_signals

ENERGY_LEFT = 1e-4
"""Largest share of the entries' energy that the basis leaves out: 9 vectors for T1-FF. A tenth of it, 12 vectors, takes
half as long again and changes no error on a phantom by more than 1 %."""
N_ENTRIES = 1500
"""Entries, drawn at random, that the basis is fitted to."""


@lru_cache(maxsize=1)
def readout_basis(dictionary: Dictionary) -> Complex:
    """Extend the dictionary's leading basis vectors from frames to readouts.

    Within a frame, the vectors differ from their mean as the coefficients of entries predict best.

    Returns
    -------
        Shape `(readouts, rank)`, with as many vectors as leave out at most `ENERGY_LEFT`.
    """
    # No fewer than a subspace has.
    rank = max(dictionary.rank_leaving(ENERGY_LEFT), dictionary.subspace.shape[1])
    protocol, leading = dictionary.protocol, dictionary.basis[:, :rank]
    n_together = protocol.sequence.readouts_per_frame
    if n_together == 1:
        return leading
    numbers = np.random.default_rng(0).integers(0, dictionary.n_entries, min(N_ENTRIES, 4 * dictionary.n_entries))
    signals = readout_signals(protocol, dictionary.parameters(numbers), dictionary.model)
    frames = signals.reshape(len(signals), -1, n_together).mean(axis=2)
    within = signals - np.repeat(frames, n_together, axis=1)
    change = np.linalg.lstsq(frames @ leading.conj(), within, rcond=None)[0].T
    basis: Complex = np.repeat(leading, n_together, axis=0) + change.astype(np.complex64)
    return basis


def at_readouts(basis: Complex, dictionary: Dictionary) -> Complex:
    """Extend a basis of frames, which the dictionary's leading vectors span, to readouts.

    Shapes `(frames, rank)` and `(readouts, rank)`.
    """
    whole = readout_basis(dictionary)
    turn = dictionary.basis[:, : whole.shape[1]].conj().T @ basis
    extended: Complex = (whole @ turn).astype(np.complex64, copy=False)
    return extended
