"""Dictionaries in which water and fat nearly cancel: one fat peak, measured at one echo time, opposed to water."""

import functools

import numpy as np
import pytest
import torch
from helpers import complex_normal, opposed_protocol, scores_in_double

from mrfpipe.dictionary import LEAST_LEFT, Dictionary, build_dictionary
from mrfpipe.errors import InputError
from mrfpipe.matching import group
from mrfpipe.matching.brute import match_brute
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.group import match_group
from mrfpipe.matching.grouping import build_groups
from mrfpipe.matching.layout import lay_out
from mrfpipe.matching.refine import _scale, refine
from mrfpipe.matching.score import Matches, best_on_grid, may_win, rounding

N_VOXELS = 120
SAME = 1e-6
"""Unit signals and entries in single precision, a few roundings of 6e-8 each, and sums of 24 products of them."""
CASES = [
    pytest.param(200.05, "[[0.0, 1.0, 0.1]]", 4, id="2e-4 left"),
    pytest.param(200.05, "[[0.0, 1.0, 0.1]]", 12, id="2e-4 left, higher rank"),
    pytest.param(200.05, "[[0.05, 0.95, 0.1]]", 4, id="FF = 0.5 between two entries"),
    pytest.param(200.0, "[[0.05, 0.95, 0.1]]", 4, id="exactly opposed"),
]


@functools.cache
def case(shift: float, ff: str, rank: int) -> tuple[Dictionary, np.ndarray, np.ndarray]:
    """A dictionary; noisy entries, every other of those with least left; and the scores of all entries."""
    dictionary = build_dictionary(opposed_protocol(shift, ff), rank=rank)
    rng = np.random.default_rng(0)
    entries = dictionary.entries(np.arange(dictionary.n_entries))
    weakest = np.argsort(np.linalg.norm(entries, axis=1))[:200]
    numbers = rng.integers(0, dictionary.n_entries, N_VOXELS)
    numbers[::2] = rng.choice(weakest, N_VOXELS // 2)
    clean = entries[numbers] / np.linalg.norm(entries[numbers], axis=1, keepdims=True)
    level = rng.choice([0, 0.03, 0.3, 1], N_VOXELS)[:, None] / np.sqrt(rank)
    signals = (clean + level * complex_normal(rng, N_VOXELS, rank)).astype(np.complex64)
    return dictionary, signals, all_scores(dictionary, signals)


def all_scores(dictionary: Dictionary, signals: np.ndarray) -> np.ndarray:
    """Scores of every entry, the norm of the mixture and not of its parts, in double precision `(voxels, entries)`."""
    grid = dictionary.protocol.grid
    ff, t1w, t1f, df, b1 = np.unravel_index(np.arange(dictionary.n_entries), grid.shape)
    x, (water, fat) = grid["FF"][ff][:, None], dictionary.components
    entries = (1 - x) * water.astype(complex)[t1w, df, b1] + x * fat[t1f, df, b1]
    signals = signals / np.linalg.norm(signals.astype(complex), axis=1, keepdims=True)
    return np.abs(signals @ entries.conj().T) ** 2 / np.sum(np.abs(entries) ** 2, axis=1)


def by_group(signals: np.ndarray, dictionary: Dictionary) -> Matches:
    return match_group(signals, dictionary, build_groups(dictionary), kept=1)


def by_torch(signals: np.ndarray, dictionary: Dictionary) -> Matches:
    unit, groups = group.unit_signals(signals), build_groups(dictionary)
    entry, score = group._on_device(unit, dictionary, groups, groups.n_groups, torch.device("cpu"))
    return Matches(entry=entry, score=score)


@pytest.mark.parametrize(("shift", "ff", "rank"), CASES)
@pytest.mark.parametrize("match", [match_exact, match_brute, by_group, by_torch])
def test_the_best_entry_is_the_best_of_all(match, shift, ff, rank):
    dictionary, signals, expected = case(shift, ff, rank)
    found = match(signals, dictionary)
    np.testing.assert_allclose(found.score, expected.max(axis=1), rtol=0, atol=SAME)
    named = expected[np.arange(N_VOXELS), found.entry]
    # Exact matching scores in double precision: to 1e-16 over the square of what is left.
    np.testing.assert_allclose(named, expected.max(axis=1), rtol=0, atol=1e-7 if match is match_exact else SAME)
    np.testing.assert_allclose(scores_in_double(dictionary, signals, found.entry), named, rtol=0, atol=SAME)
    assert found.score.max() <= 1 + SAME


def test_no_entry_beats_the_bound_of_its_group():
    dictionary, signals, expected = case(200.05, "[[0.0, 1.0, 0.1]]", 12)
    groups, shape = lay_out(dictionary).groups, dictionary.protocol.grid.shape
    unit = signals / np.linalg.norm(signals.astype(complex), axis=1, keepdims=True)
    u = np.einsum("gdr,vr->vgd", groups.space[..., 0] - 1j * groups.space[..., 1], unit)
    length = np.sqrt((np.sum(np.abs(u) ** 2, axis=2) + np.abs(np.sum(u**2, axis=2))) / 2)
    best = expected.reshape(N_VOXELS, -1, *shape[3:]).max(axis=1).reshape(N_VOXELS, -1)
    assert np.all(np.sqrt(best) <= length + groups.remainder)
    assert groups.remainder.max() < 1 + 1e-4  # nothing of a unit vector can be more


def test_a_pair_that_may_win_is_never_ruled_out():
    """Pairs whose water and fat leave 1 to 1e-5 of each other, and a score that their best just reaches."""
    rng, n, rank, ff = np.random.default_rng(0), 3000, 6, np.linspace(0, 1, 2001)
    slack, ruled_out = 2 * rounding(rank), 0
    for left in 10.0 ** rng.uniform(-5, 0, n):
        w, y = complex_normal(rng, 2, rank)
        f = (-rng.uniform(0.5, 2) * w + left * complex_normal(rng, rank)).astype(np.complex64)
        y /= np.linalg.norm(y)
        rough = terms(w, f, y)
        best, _ = best_on_grid(ff, *(float(term) for term in terms(*(v.astype(np.complex128) for v in (w, f, y)))))
        assert may_win(np.float32(best), np.float32(best - slack), *rough)
        ruled_out += not may_win(np.float32(1.01), np.float32(1.01 - slack), *rough)
    assert ruled_out > 0.3 * n  # no score is above 1, and the test can tell unless rounding forbids


def terms(w: np.ndarray, f: np.ndarray, y: np.ndarray) -> tuple[np.floating, ...]:
    """p, q, r, a, b, c in the precision of the signals."""
    at_w, at_f = np.vdot(w, y), np.vdot(f, y)
    p, q, r = (at_w * at_w.conj()).real, (at_f * at_f.conj()).real, (at_w * at_f.conj()).real
    return p, q, r, np.vdot(w, w).real, np.vdot(f, f).real, np.vdot(w, f).real


def test_refinement_keeps_away_from_where_nothing_is_left():
    dictionary, signals, expected = case(200.0, "[[0.05, 0.95, 0.1]]", 4)
    matches = match_exact(signals, dictionary)
    found = refine(signals, matches.entry, dictionary)
    overlap = np.abs(np.sum(found.signals.conj() * signals.astype(complex), axis=1)) ** 2
    norms = [np.sum(np.abs(s.astype(complex)) ** 2, axis=1) for s in (found.signals, signals)]
    assert np.all(overlap / norms[0] / norms[1] >= expected.max(axis=1) - SAME)
    assert np.sqrt(norms[0].min()) > LEAST_LEFT / 2 * np.linalg.norm(dictionary.components[0], axis=-1).min()
    nothing, y = np.zeros(4, complex), np.ones(4, np.complex64)
    assert _scale(nothing, y, 0.0) == (0, 0)
    assert _scale(nothing + 1e-6, y, 1e-10) == (0, 0)


@pytest.mark.parametrize("ff", ["[[0.0, 1.0, 0.1]]", "[[0.5, 0.5, 0.1]]"])
def test_a_grid_with_a_fingerprint_of_nothing_is_refused(ff):
    expected = (
        r"'t1ff-small': water and fat cancel to \S+ of their size in the fingerprint of FF 0\.5, T1H2O (\d+) ms, "
        r"T1fat \1 ms, df 0 Hz, B1 [\d.]+; leave this value out of parameters\.FF or change echo times"
    )
    with pytest.raises(InputError, match=expected) as refused:
        build_dictionary(opposed_protocol(200.0, ff), rank=4)
    assert "\n" not in str(refused.value)
