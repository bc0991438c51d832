import numpy as np
import pytest
from helpers import parameter_maps

from mrfpipe.files.provenance import Provenance
from mrfpipe.maps import ParameterMaps

SHAPE = (2, 11, 14)
"""Slices, y, x: all different, so that swapped axes show."""


def make_maps(seed: int, mask: np.ndarray | None = None, **changes: np.ndarray) -> ParameterMaps:
    """Random maps in SI units; `changes` replace maps, NaN is put outside the mask."""
    rng = np.random.default_rng(seed)
    mask = np.ones(SHAPE, bool) if mask is None else mask
    ranges = {"FF": (0, 1), "T1H2O": (0.6, 1.6), "T1fat": (0.25, 0.35), "df": (-100, 100), "B1": (0.4, 1.0)}
    images = {name: rng.uniform(*limits, mask.shape) for name, limits in ranges.items()}
    images |= {"m0": rng.uniform(1, 2, mask.shape), "match": rng.uniform(0.9, 1, mask.shape)}
    images |= {"phase": rng.uniform(-3, 3, mask.shape)} | changes
    return parameter_maps(mask=mask, affine=np.diag([-1.0, -1.0, 8.0, 1.0]), **images)


@pytest.fixture(scope="session")
def make():
    return make_maps


@pytest.fixture(scope="session")
def provenance() -> Provenance:
    return Provenance(
        command=["mrfpipe"],
        inputs={},
        protocol_name="t1ff",
        protocol_hash="0",
        method="exact",
        device="cpu",
        started="2026-01-02T03:04:05+00:00",
        duration_s=1.0,
    )
