"""Ranges: a temporal basis for the fingerprints of maps that no dictionary was asked for, as those of a network."""

from typing import Any

import numpy as np

from mrfpipe.arrays import Complex
from mrfpipe.dictionary import DEFAULT_ENERGY, leading_basis, outer_sum
from mrfpipe.maps import PARAMETERS
from mrfpipe.physics.simulate import SignalModel, fingerprints
from mrfpipe.protocol import Protocol

_EXAMPLES = 500
"""Fingerprints that the basis is made of: many more than it has vectors, some dozen."""


def range_basis(protocol: Protocol, model: SignalModel) -> Complex:
    """Return the basis that keeps as much energy of a protocol's fingerprints as a dictionary's. `(frames, rank)`.

    It is the basis of fingerprints by a signal model, drawn from the ranges of the protocol's grid, always the same.
    """
    rng = np.random.default_rng(0)
    axes = {p.field: getattr(protocol.grid, p.field) for p in PARAMETERS}
    drawn: dict[str, Any] = {name: rng.uniform(axis.min(), axis.max(), _EXAMPLES) for name, axis in axes.items()}
    return leading_basis(outer_sum(fingerprints(protocol, **drawn, model=model)), None, DEFAULT_ENERGY)[0]
