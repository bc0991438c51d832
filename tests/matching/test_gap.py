import numpy as np
import pytest
from helpers import complex_normal, opposed_protocol, scores_in_double

from mrfpipe.dictionary import build_dictionary
from mrfpipe.matching.gap import correlation_gap, peak_gap
from mrfpipe.matching.score import unit_signals
from mrfpipe.physics.simulate import fingerprints
from mrfpipe.protocol import load_protocol


@pytest.fixture(scope="module")
def dictionary():
    return build_dictionary(load_protocol("t1ff-small"), rank=6)


def gap_of(landscape: np.ndarray) -> float:
    return peak_gap(landscape.ravel(), np.array(landscape.shape))


def plain_gap(landscape: np.ndarray) -> float:
    """Peaks found by comparing every point with its neighbours, on a landscape without equal neighbours."""
    n_b1, n_df = landscape.shape
    padded = np.pad(landscape, 1, constant_values=-1)
    peaks = [
        landscape[i, j]
        for i in range(n_b1)
        for j in range(n_df)
        if landscape[i, j] == padded[i : i + 3, j : j + 3].max()
    ]
    first, second = sorted([*peaks, 0.0, 0.0])[:-3:-1]
    return np.sqrt(first) - np.sqrt(second)


def test_peaks_by_hand():
    one = np.array([[1, 2, 3], [2, 4, 9], [1, 2, 3.0]]) / 16
    assert gap_of(one) == pytest.approx(3 / 4)
    two = np.array([[9, 1, 4], [2, 1, 1], [1, 1, 3.0]]) / 16
    assert gap_of(two) == pytest.approx(3 / 4 - 2 / 4)
    # A slope beside the peak, even the second highest of all, is no peak; nor is a corner whose diagonal is higher.
    slope = np.array([[9, 8, 1], [8, 7, 1], [1, 1, 4.0]]) / 16
    assert gap_of(slope) == pytest.approx(3 / 4)
    apart = np.array([[9, 8, 1, 1], [8, 7, 1, 4.0]]) / 16
    assert gap_of(apart) == pytest.approx(3 / 4 - 2 / 4)
    level = np.array([[4, 4, 1, 4, 4.0]]) / 16
    assert gap_of(level) == 0
    assert gap_of(np.full((2, 3), 0.25)) == pytest.approx(0.5)


def test_gap_is_that_of_all_entries(dictionary):
    """Clean and noisy fingerprints, and mixtures of two that lie far apart, which have a second peak."""
    rng, grid = np.random.default_rng(0), dictionary.protocol.grid
    n = 40
    values = {name: rng.uniform(grid[name][0], grid[name][-1], 2 * n) for name in ("FF", "T1H2O", "T1fat", "df", "B1")}
    values["df"] = np.r_[rng.uniform(-100, -60, n), rng.uniform(60, 100, n)]
    clean = unit_signals(dictionary.compress(fingerprints(dictionary.protocol, values)))
    signals = clean[:n] + np.where(np.arange(n) % 2, 0.9, 0)[:, None] * clean[n:]
    signals = (signals + 0.05 * complex_normal(rng, n, dictionary.rank)).astype(np.complex64)
    shape = grid.shape
    scores = np.stack([scores_in_double(dictionary, s[None], np.arange(dictionary.n_entries)) for s in signals])
    landscapes = scores.reshape(n, -1, shape[3], shape[4]).max(axis=1)
    expected = [plain_gap(landscape) for landscape in landscapes]
    # Square roots of scores in float32; a peak may rise over its neighbour by rounding alone, nowhere here.
    np.testing.assert_allclose(correlation_gap(signals, dictionary), expected, atol=2e-6)
    alone = np.isclose(expected, np.sqrt(landscapes.max(axis=(1, 2))))
    assert 5 < alone.sum() < n - 5


def test_gap_is_that_of_all_entries_where_water_and_fat_nearly_cancel():
    opposed = build_dictionary(opposed_protocol(200.05, "[[0.0, 1.0, 0.1]]"), rank=6)
    rng, n, shape = np.random.default_rng(0), 40, opposed.protocol.grid.shape
    entries = unit_signals(opposed.entries(rng.integers(0, opposed.n_entries, n)))
    level = np.resize([0.1, 1], n)[:, None]  # with much noise there are second peaks
    signals = (entries + level * complex_normal(rng, n, opposed.rank)).astype(np.complex64)
    scores = np.stack([scores_in_double(opposed, s[None], np.arange(opposed.n_entries)) for s in signals])
    landscapes = scores.reshape(n, -1, shape[3], shape[4]).max(axis=1)
    expected = [plain_gap(landscape) for landscape in landscapes]
    # Entries and unit signals in single precision: some 1e-7 each.
    np.testing.assert_allclose(correlation_gap(signals, opposed), expected, atol=2e-6)
