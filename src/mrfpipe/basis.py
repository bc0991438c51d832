"""Basis: the joint SVD of all entries of a grid, computed without building the entries.

The Gram matrix of the entries is a sum over components. The vectors are orthonormal, the leading one first.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import scipy.linalg

from mrfpipe.arrays import Complex, Double
from mrfpipe.physics.simulate import SignalModel, fingerprints
from mrfpipe.protocol import Protocol

DEFAULT_ENERGY = 0.99999
"""Share of the entries' energy the basis keeps unless told otherwise; rank 12 for T1-FF."""
_AT_ONCE = 4096
"""Number of signals whose outer products are summed at a time."""
_EXAMPLES = 500
"""Number of fingerprints that `range_basis` is computed from, many more than its dozen or so vectors."""

Gram = npt.NDArray[np.complex128]


def entry_gram(components: tuple[Complex, ...], protocol: Protocol) -> Gram:
    """Sum of ``d conj(d)'`` over all entries d of a grid, without making them. Shape `(frames, frames)`.

    With u = 1 - share and v = share, one group of the entries of two components gives
    ``sum u^2 n_b A A' + sum v^2 n_a B B' + sum u v (a b' + b a')`` where the columns of A and B are its n_a and n_b
    signals and a and b their sums.

    Parameters
    ----------
    components
        Signals of each component. Shape `(*axes, frames)`, the axes as `Protocol.axes_of` gives them.
    protocol
        Protocol of the grid.
    """
    if protocol.share is None:
        return outer_sum(components[0])
    v = protocol.grid[protocol.share]
    u, n_frames = 1 - v, components[0].shape[-1]
    n_shared = int(np.prod([protocol.grid[name].size for name in protocol.shared_axes], dtype=int))
    first, second = (signals.reshape(-1, n_shared, n_frames) for signals in components)
    a, b = first.sum(0, dtype=np.complex128), second.sum(0, dtype=np.complex128)
    mixed = a.T @ b.conj()
    gram: Gram = (
        (u @ u) * len(second) * outer_sum(first)
        + (v @ v) * len(first) * outer_sum(second)
        + (u @ v) * (mixed + mixed.conj().T)
    )
    return gram


def range_basis(protocol: Protocol, model: SignalModel) -> Complex:
    """Return a basis that keeps as much energy of a protocol's fingerprints as a dictionary's. `(frames, rank)`.

    It is computed from fingerprints at random parameters within the ranges of the grid, with a fixed seed. It serves
    maps that are made without a dictionary, such as those of a network.
    """
    rng = np.random.default_rng(0)
    drawn: Mapping[str, Double] = {
        name: rng.uniform(axis.min(), axis.max(), _EXAMPLES) for name, axis in protocol.grid.items()
    }
    return leading_basis(outer_sum(fingerprints(protocol, drawn, model=model)), None, DEFAULT_ENERGY)[0]


def outer_sum(signals: Complex) -> Gram:
    """Sum of ``s conj(s)'`` over signals s `(..., frames)`, in double precision. Shape `(frames, frames)`.

    In single precision, the rounding of the strongest directions, 1e-7 of the energy, would mask the weak ones. Double
    precision takes hardly more time or memory, because signals are converted block by block and only half of the matrix
    is computed.
    """
    signals = signals.reshape(-1, signals.shape[-1])
    upper = np.zeros((signals.shape[1], signals.shape[1]), np.complex128, order="F")
    for start in range(0, len(signals), _AT_ONCE):
        some = signals[start : start + _AT_ONCE].astype(np.complex128)
        upper = scipy.linalg.blas.zherk(1.0, some.T, beta=1.0, c=upper, overwrite_c=True)
    total: Gram = upper + np.triu(upper, 1).conj().T
    return total


def leading_basis(gram: Gram, rank: int | None, energy: float) -> tuple[Complex, float]:
    """Leading eigenvectors of a Gram matrix `(frames, frames)`, and the share of energy they keep.

    The phase of an eigenvector is arbitrary, and LAPACK's choice differs between machines. Here, the value of largest
    magnitude of each vector is made positive, so that coefficients from different machines agree.

    Parameters
    ----------
    gram
        Sum of ``s conj(s)'`` over signals s.
    rank
        Number of vectors; if not given, as few as keep `energy`, but at least two.
    energy
        Share of the signals' energy to keep, 0 to 1.
    """
    values, vectors = scipy.linalg.eigh(gram)
    kept = np.cumsum(np.maximum(values[::-1], 0))  # rounding may make eigenvalues near zero negative
    shares = kept / kept[-1]
    n = rank if rank is not None else max(2, int(np.searchsorted(shares, energy)) + 1)
    leading = vectors[:, ::-1][:, :n]
    largest = leading[np.abs(leading).argmax(axis=0), np.arange(n)]
    return np.ascontiguousarray((leading * (largest.conj() / np.abs(largest))).astype(np.complex64)), float(
        shares[n - 1]
    )
