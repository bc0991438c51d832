import functools

import numpy as np
import pytest
from helpers import SAME_SCORE, assert_same_matches, complex_normal
from hypothesis import given, settings
from hypothesis import strategies as st

from mrfpipe.dictionary import Dictionary, build_dictionary
from mrfpipe.matching.brute import match_brute
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.layout import lay_out
from mrfpipe.matching.score import best_on_grid, best_share, score_at
from mrfpipe.physics.simulate import SignalModel, fingerprints
from mrfpipe.protocol import load_protocol

N_VOXELS = 60


def noisy_signals(dictionary: Dictionary, n: int, seed: int) -> np.ndarray:
    """Fingerprints off the grid with a random phase and noise of 0 to 10 times their norm, and pure noise."""
    rng, grid = np.random.default_rng(seed), dictionary.protocol.grid
    values = {name: rng.uniform(grid[name][0], grid[name][-1], n) for name in ("FF", "T1H2O", "T1fat", "df", "B1")}
    clean = dictionary.compress(fingerprints(dictionary.protocol, values))
    clean /= np.linalg.norm(clean, axis=1, keepdims=True)
    clean *= np.exp(2j * np.pi * rng.random(n))[:, None]
    level = rng.choice([0, 0.003, 0.03, 0.1, 0.3, 1, 10], n) / np.sqrt(dictionary.rank)
    noise = complex_normal(rng, n, dictionary.rank)
    pure = rng.random(n) < 0.1
    signals = np.where(pure, 0, 1)[:, None] * clean + np.where(pure, 1, level)[:, None] * noise
    return (signals * 10.0 ** rng.uniform(-6, 6, n)[:, None]).astype(np.complex64)


@pytest.mark.parametrize(
    "rank", [pytest.param(8, marks=pytest.mark.slow), 12, pytest.param(20, marks=pytest.mark.slow)]
)
def test_exact_is_brute_force_over_the_full_grid(rank):
    dictionary = build_dictionary(load_protocol("t1ff"), rank=rank)
    assert dictionary.n_entries == 7_182_000
    assert_same_matches(dictionary, noisy_signals(dictionary, N_VOXELS, seed=rank))


@functools.cache
def small_dictionary(model: SignalModel, rank: int) -> Dictionary:
    return build_dictionary(load_protocol("t1ff-small"), model=model, rank=rank)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    rank=st.sampled_from([2, 5, 12, 40]),
    model=st.sampled_from([SignalModel(), SignalModel(spoiling="epg"), SignalModel(slice_profile=True)]),
)
def test_exact_is_brute_force_over_the_small_grid(seed, rank, model):
    """Nothing of the bound rests on ideal spoiling, under which all signals of a group have one phase."""
    dictionary = small_dictionary(model, rank)
    assert_same_matches(dictionary, noisy_signals(dictionary, 100, seed))


def test_no_entry_beats_the_bound_of_its_group():
    """The bound of the docstring, in double precision, against every entry of some groups."""
    dictionary = build_dictionary(load_protocol("t1ff"), rank=12)
    groups, grid = lay_out(dictionary).groups, dictionary.protocol.grid
    space = (groups.space[..., 0] + 1j * groups.space[..., 1]).astype(complex)
    signals = noisy_signals(dictionary, 40, seed=5).astype(complex)
    signals /= np.linalg.norm(signals, axis=1, keepdims=True)
    ff, (water, fat) = grid["FF"][:, None, None, None], dictionary.by_group()
    for group in range(0, len(space), 37):
        entries = (1 - ff) * water[group][:, None] + ff * fat[group]
        entries = entries.reshape(-1, dictionary.rank).astype(complex)
        best = (np.abs(signals @ entries.conj().T) / np.linalg.norm(entries, axis=1)).max(axis=1)
        u = signals @ space[group].conj().T
        length = np.sqrt((np.sum(np.abs(u) ** 2, axis=1) + np.abs(np.sum(u**2, axis=1))) / 2)
        assert np.all(best <= length + groups.remainder[group] + 1e-6)
        # The bound is of use: for the signals that are near the group it is close to what the group reaches.
        assert np.min(length + groups.remainder[group] - best) < 0.05
    np.testing.assert_allclose(
        np.einsum("gdr,ger->gde", space.conj(), space).real,
        np.broadcast_to(np.eye(space.shape[1]), (len(space), space.shape[1], space.shape[1])),
        atol=1e-5,
    )


def test_noise_free_entries_find_themselves():
    dictionary = build_dictionary(load_protocol("t1ff"))
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, dictionary.n_entries, 500)
    phase = np.exp(2j * np.pi * rng.random(500))[:, None]
    found = match_exact((dictionary.entries(numbers) * 7 * phase).astype(np.complex64), dictionary)
    np.testing.assert_allclose(found.score, 1, rtol=SAME_SCORE)
    expected, got = dictionary.parameters(numbers), dictionary.parameters(found.entry)
    mixed = (expected["FF"] > 0.2) & (expected["FF"] < 0.8)
    for name in ("FF", "df", "B1"):
        assert np.mean(expected[name][mixed] == got[name][mixed]) > 0.97


@settings(deadline=None, max_examples=300)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 30))
def test_the_best_share_is_the_best_of_all(seed, n):
    rng = np.random.default_rng(seed)
    w, f, y = complex_normal(rng, 3, 2).astype(complex)
    f = f + rng.choice([-2, 0, 2]) * w  # fat nearly along or against water, too
    inner = np.vdot(w, y), np.vdot(f, y)
    terms = (
        abs(inner[0]) ** 2,
        abs(inner[1]) ** 2,
        (inner[0] * inner[1].conjugate()).real,
        np.vdot(w, w).real,
        np.vdot(f, f).real,
        np.vdot(w, f).real,
    )
    x = np.linspace(0, 1, 2001)
    d = (1 - x)[:, None] * w + x[:, None] * f
    scores = np.abs(d.conj() @ y) ** 2 / np.sum(np.abs(d) ** 2, axis=1)
    best = best_share(*terms)
    top = max(score_at(best, *terms) if best > 0 else 0, scores[0], scores[-1])
    assert top >= scores.max() * (1 - 1e-9)
    assert top <= scores.max() * (1 + 1e-2)
    grid = np.sort(rng.random(n))
    on_grid = (1 - grid)[:, None] * w + grid[:, None] * f
    on_grid = np.abs(on_grid.conj() @ y) ** 2 / np.sum(np.abs(on_grid) ** 2, axis=1)
    score, position = best_on_grid(grid, *terms)
    assert score == pytest.approx(on_grid.max(), rel=1e-9)
    assert on_grid[position] == pytest.approx(on_grid.max(), rel=1e-9)


def test_results_do_not_depend_on_threads_or_on_company():
    import numba

    dictionary = build_dictionary(load_protocol("t1ff-small"), rank=12)
    signals = noisy_signals(dictionary, 200, seed=3)
    together = match_exact(signals, dictionary)
    numba.set_num_threads(1)
    try:
        alone = [match_exact(signals[i : i + 7], dictionary) for i in range(0, 200, 7)]
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    np.testing.assert_array_equal(np.concatenate([m.entry for m in alone]), together.entry)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
@pytest.mark.parametrize("match", [match_exact, match_brute])
def test_a_signal_without_a_match_is_refused(match, value):
    dictionary = build_dictionary(load_protocol("t1ff-small"), rank=5)
    signals = np.ones((3, 5), np.complex64)
    signals[1] = value
    with pytest.raises(ValueError, match="finite and not zero"):
        match(signals, dictionary)
    with pytest.raises(ValueError, match="coefficients has shape"):
        match(np.ones((3, 4), np.complex64), dictionary)
