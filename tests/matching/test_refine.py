"""Refinement against the truth off the grid, a general-purpose optimiser, and the entries it starts from."""

import numpy as np
import pytest
from helpers import complex_normal
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mrfpipe.dictionary import Dictionary, build_dictionary
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.refine import refine
from mrfpipe.physics.simulate import SignalModel, fingerprints
from mrfpipe.protocol import load_protocol

SMALL = build_dictionary(load_protocol("t1ff-small"), rank=15)


def drawn(dictionary: Dictionary, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Parameters off the grid, all over its range."""
    rng, grid = np.random.default_rng(seed), dictionary.protocol.grid
    return {name: rng.uniform(grid[name][0], grid[name][-1], n) for name in grid}


def signals_of(dictionary: Dictionary, values: dict[str, np.ndarray]) -> np.ndarray:
    return dictionary.compress(fingerprints(dictionary.protocol, values, model=dictionary.model))


def noisy(dictionary: Dictionary, n: int, seed: int, noise: float) -> np.ndarray:
    """Fingerprints off the grid with a random phase, and noise relative to their norm."""
    rng = np.random.default_rng(seed)
    clean = signals_of(dictionary, drawn(dictionary, n, seed))
    clean = clean / np.linalg.norm(clean, axis=1, keepdims=True) * np.exp(2j * np.pi * rng.random((n, 1)))
    return (clean + noise * complex_normal(rng, *clean.shape) / np.sqrt(dictionary.rank)).astype(np.complex64)


def scores(signals: np.ndarray, d: np.ndarray) -> np.ndarray:
    overlap = np.abs(np.sum(d.conj() * signals, axis=1)) ** 2
    return overlap / np.sum(np.abs(d) ** 2, axis=1) / np.sum(np.abs(signals) ** 2, axis=1)


@pytest.mark.parametrize("spoiling", ["spoiled", pytest.param("epg", marks=pytest.mark.slow)])
def test_off_the_grid_the_truth_is_found(spoiling):
    """The grid's steps are 0.05, 10 ms and more, 25 ms, 10 Hz and 0.05; what is left is interpolation and rounding."""
    dictionary = build_dictionary(load_protocol("t1ff"), model=SignalModel(spoiling=spoiling))
    truth = drawn(dictionary, 400)
    signals = signals_of(dictionary, truth)
    found = refine(signals, match_exact(signals, dictionary).entry, dictionary).parameters
    error = {name: np.abs(found[name] - truth[name]) for name in truth}
    assert np.median(error["FF"]) < 2e-4
    assert np.median(error["df"]) < 0.03
    assert np.median(error["B1"]) < 3e-4
    assert np.median((error["T1H2O"] / truth["T1H2O"])[truth["FF"] <= 0.7]) < 5e-4
    assert np.median((error["T1fat"] / truth["T1fat"])[truth["FF"] > 0.3]) < 1e-3


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), noise=st.sampled_from([0, 0.03, 0.3, 3]))
def test_the_score_is_never_below_the_entrys(seed, noise):
    signals = noisy(SMALL, 50, seed, noise)
    matches = match_exact(signals, SMALL)
    found = refine(signals, matches.entry, SMALL)
    assert np.all(scores(signals, found.signals) >= matches.score * (1 - 2e-6))
    for name, axis in SMALL.protocol.grid.items():
        assert found.parameters[name].min() >= axis[0]
        assert found.parameters[name].max() <= axis[-1]


def test_it_is_as_good_as_a_general_optimiser_over_simulated_signals():
    """Nelder and Mead on fingerprints that are simulated, not interpolated, from the same start and from the result."""
    signals = noisy(SMALL, 3, seed=4, noise=0.1)
    matches = match_exact(signals, SMALL)
    found = refine(signals, matches.entry, SMALL)
    ends = [(axis[0], axis[-1]) for axis in SMALL.protocol.grid.values()]
    start = SMALL.parameters(matches.entry)
    for v, signal in enumerate(signals):

        def loss(at: np.ndarray, signal=signal) -> float:
            values = {
                name: np.array([low + a * (high - low)])
                for name, a, (low, high) in zip(SMALL.protocol.grid, at, ends, strict=True)
            }
            return -float(scores(signal[None], signals_of(SMALL, values))[0])

        def scaled(values: dict[str, np.ndarray], v=v) -> list[float]:
            return [
                (values[name][v] - low) / (high - low)
                for name, (low, high) in zip(SMALL.protocol.grid, ends, strict=True)
            ]

        best = min(
            minimize(loss, scaled(at), method="Nelder-Mead", bounds=[(0, 1)] * 5, options={"maxfev": 600}).fun
            for at in (start, found.parameters)
        )
        # The coarse grid's interpolation, and the optimiser's own stopping.
        assert loss(np.array(scaled(found.parameters))) <= best + 2e-4


def test_scale_and_phase_do_not_matter():
    signals = noisy(SMALL, 100, seed=1, noise=0.1)
    entries = match_exact(signals, SMALL).entry
    plain, turned = refine(signals, entries, SMALL), refine((7 - 3j) * signals, entries, SMALL)
    for name, axis in SMALL.protocol.grid.items():
        span = np.ptp(axis)
        assert np.median(np.abs(plain.parameters[name] - turned.parameters[name])) < 1e-5 * span


def test_signals_are_those_of_the_estimates():
    signals = noisy(SMALL, 50, seed=2, noise=0.05)
    found = refine(signals, match_exact(signals, SMALL).entry, SMALL)
    simulated = signals_of(SMALL, found.parameters)
    distance = np.linalg.norm(found.signals - simulated, axis=1) / np.linalg.norm(simulated, axis=1)
    assert np.median(distance) < 5e-3  # of the coarse grid's interpolation


def test_a_parameter_without_a_say_stays():
    """Pure water has no T1 of fat."""
    truth = drawn(SMALL, 20, seed=3) | {"FF": np.zeros(20)}
    signals = signals_of(SMALL, truth)
    entries = match_exact(signals, SMALL).entry
    start, found = SMALL.parameters(entries), refine(signals, entries, SMALL).parameters
    still = found["FF"] == 0
    assert still.sum() > 5
    np.testing.assert_array_equal(
        found["T1fat"][still & (start["FF"] == 0)], start["T1fat"][still & (start["FF"] == 0)]
    )


def test_no_bias_where_there_is_no_fat():
    """Noise scatters a fat fraction of 0 to either side; cut before the others are estimated, it would bias them."""
    n, grid = 3000, SMALL.protocol.grid
    truth = {name: np.full(n, axis[len(axis) // 2]) for name, axis in grid.items()} | {"FF": np.zeros(n)}
    clean = signals_of(SMALL, truth)
    noise = complex_normal(np.random.default_rng(5), *clean.shape) * np.linalg.norm(clean[0]) / np.sqrt(SMALL.rank)
    signals = (clean + 0.02 * noise).astype(np.complex64)
    found = refine(signals, match_exact(signals, SMALL).entry, SMALL).parameters
    assert 0.4 < np.mean(found["FF"] == 0) < 0.6
    for name in ("T1H2O", "df", "B1"):
        error = found[name] - truth[name]
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(n), name
