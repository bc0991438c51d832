"""Simulated: the fingerprints of maps that no dictionary was asked for, as those of a network."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.linalg

from mrfpipe.arrays import Complex
from mrfpipe.dictionary import DEFAULT_ENERGY
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.maps import PARAMETERS, Fingerprints, ParameterMaps
from mrfpipe.physics.simulate import fingerprints
from mrfpipe.protocol import Protocol

_EXAMPLES = 500
"""Fingerprints that the basis is made of: many more than it has vectors, some dozen."""


def simulated_fingerprints(
    slices: FrameSeries | Iterable[FrameSeries], maps: ParameterMaps, protocol: Protocol
) -> Fingerprints:
    """Put the signals of a scan beside the fingerprints simulated at the parameters that were estimated.

    Parameters
    ----------
    slices
        The scan, as a whole or slice after slice, frames or coefficients.
    maps
        What was estimated of it.
    protocol
        What was scanned.

    Returns
    -------
        Coefficients in the scan's own basis if it has one, else in one that holds the fingerprints of the protocol's
        ranges: noise and aliasing beyond those are gone, as they are from what a dictionary is matched with.
    """
    measured, simulated, n_done = [], [], 0
    basis: Complex | None = None
    for series in [slices] if isinstance(slices, FrameSeries) else slices:
        if basis is None:
            basis = range_basis(protocol) if series.basis is None else series.basis
        for images in series.images:
            inside = maps.mask[n_done]
            signals = images[:, inside].T
            measured.append(signals if series.basis is not None else signals @ basis.conj())
            values = {p.field: getattr(maps, p.field)[n_done, inside].astype(np.float64) for p in PARAMETERS}
            simulated.append(fingerprints(protocol, **values) @ basis.conj())
            n_done += 1
    if basis is None or n_done != len(maps.mask):
        raise ValueError(f"The scan has {n_done} slices, its maps have {len(maps.mask)}.")
    return Fingerprints(
        basis=basis,
        measured=np.concatenate(measured).astype(np.complex64, copy=False),
        simulated=np.concatenate(simulated).astype(np.complex64, copy=False),
    )


def range_basis(protocol: Protocol) -> Complex:
    """Return the basis that keeps as much energy of a protocol's fingerprints as a dictionary's. `(frames, rank)`.

    It is that of fingerprints drawn from the ranges of the protocol's grid, always the same ones.
    """
    rng = np.random.default_rng(0)
    axes = {p.field: getattr(protocol.grid, p.field) for p in PARAMETERS}
    drawn: dict[str, Any] = {name: rng.uniform(axis.min(), axis.max(), _EXAMPLES) for name, axis in axes.items()}
    signals = fingerprints(protocol, **drawn)
    _, values, rows = scipy.linalg.svd(signals, full_matrices=False)
    shares = np.cumsum(values**2) / np.sum(values**2)
    rank = max(2, int(np.searchsorted(shares, DEFAULT_ENERGY)) + 1)
    return np.ascontiguousarray(rows[:rank].T.astype(np.complex64))
