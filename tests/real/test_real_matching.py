"""Exact matching is brute force on the frames of real anatomy, at several ranks and for two signal models."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_same_matches, complex_normal

from mrfpipe.acquisition.raw import read_raw
from mrfpipe.dictionary import build_dictionary
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.protocol import load_protocol

REAL = Path(__file__).parents[2].parent / "shared" / "real"
N_VOXELS = 2000
PROTOCOL = load_protocol("t1ff")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REAL.exists(), reason="the real anatomy is not beside this checkout"),
]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Signals of voxels spread over the thighs. Shape `(voxels, frames)`."""
    raw = tmp_path_factory.mktemp("thigh") / "thigh.h5"
    subprocess.run([sys.executable, REAL / "make_raw.py", raw], check=True, capture_output=True)
    series = Reconstruction(read_raw(raw, PROTOCOL.sequence), PROTOCOL.sequence).series()
    signals = series.images[0][:, series.mask[0]].T
    return signals[np.linspace(0, len(signals) - 1, N_VOXELS).astype(int)]


@pytest.mark.parametrize("spoiling", ["spoiled", "epg"])
@pytest.mark.parametrize("rank", [8, 12, 20])
def test_exact_is_brute_force(frames, spoiling, rank):
    """A fifth of the voxels without noise but rounding, two with that of the frames, one with more, one noise alone."""
    dictionary = build_dictionary(PROTOCOL, model=SignalModel(spoiling=spoiling), rank=rank)
    rng = np.random.default_rng(rank)
    signals, n = dictionary.compress(frames), N_VOXELS // 5
    length = np.linalg.norm(signals, axis=1, keepdims=True) / np.sqrt(rank)
    signals[:n] = dictionary.entries(rng.integers(0, dictionary.n_entries, n))
    signals[3 * n : 4 * n] += (length * complex_normal(rng, *signals.shape))[3 * n : 4 * n]
    signals[4 * n :] = (length * complex_normal(rng, *signals.shape))[4 * n :]
    assert_same_matches(dictionary, np.ascontiguousarray(signals))
