from pathlib import Path

import numpy as np
import pytest
from helpers import parameter_maps

from mrfpipe.dictionary import Dictionary, build_dictionary
from mrfpipe.files.provenance import Provenance
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.maps import ParameterMaps
from mrfpipe.protocol import Protocol, load_protocol

SHAPE = (2, 5, 7)
"""Slices, y, x: all different, so that swapped axes show."""


@pytest.fixture(scope="session")
def protocol() -> Protocol:
    return load_protocol("t1ff-small")


@pytest.fixture(scope="session")
def dictionary(protocol: Protocol) -> Dictionary:
    return build_dictionary(protocol, rank=3)


@pytest.fixture(scope="session")
def provenance(protocol: Protocol) -> Provenance:
    return Provenance(
        command=["mrfpipe", "match", "a scan.h5"],
        inputs={"b.h5": "22", "a scan.h5": "11"},
        protocol_name=protocol.name,
        protocol_hash=protocol.hash,
        method="exact dictionary matching",
        device="cpu",
        started="2026-01-02T03:04:05+00:00",
        duration_s=1.5,
        seed=7,
        notes={"rank": 3},
    )


@pytest.fixture(scope="session")
def maps() -> ParameterMaps:
    rng = np.random.default_rng(0)
    mask = rng.random(SHAPE) > 0.2
    mask[1, 3, 6] = True

    def image(low: float, high: float) -> np.ndarray:
        return np.where(mask, rng.uniform(low, high, SHAPE), np.nan).astype(np.float32)

    return parameter_maps(
        FF=image(0, 1),
        T1H2O=image(0.55, 2.0),
        T1fat=image(0.225, 0.4),
        df=image(-120, 120),
        B1=image(0.3, 1.0),
        m0=image(10, 20),
        phase=image(-3, 3),
        gap=image(0, 0.1),
        match=image(0.9, 1.0),
        edge=np.where(mask, rng.integers(0, 32, SHAPE), 0).astype(np.uint8),
        mask=mask,
        affine=np.array([[0, -1.5, 0, 20], [2, 0, 0, -30], [0, 0, 8, 5], [0, 0, 0, 1.0]]),
    )


@pytest.fixture(scope="session")
def series(protocol: Protocol) -> FrameSeries:
    rng = np.random.default_rng(1)
    parts = rng.standard_normal((2, SHAPE[0], protocol.sequence.n_frames, *SHAPE[1:]))
    return FrameSeries(
        name="scan",
        images=(parts[0] + 1j * parts[1]).astype(np.complex64),
        mask=rng.random(SHAPE) > 0.2,
        affine=np.diag([-1.0, -1.0, 8.0, 1.0]),
        sequence_hash=protocol.sequence.hash,
    )


@pytest.fixture
def saved(tmp_path: Path, dictionary: Dictionary, series: FrameSeries, maps: ParameterMaps, provenance: Provenance):
    """Folder with one file of every schema: dictionary.h5, frames.h5, maps.h5."""
    from mrfpipe.files.dictionaries import save_dictionary
    from mrfpipe.files.frames import save_frames
    from mrfpipe.files.maps import save_maps

    save_dictionary(dictionary, tmp_path / "dictionary.h5")
    save_frames(series, tmp_path / "frames.h5", protocol=dictionary.protocol, provenance=lambda: provenance)
    save_maps(maps, tmp_path / "maps.h5", provenance)
    return tmp_path
