import dataclasses
import functools
import itertools

import h5py
import numpy as np
import pytest
import torch
from helpers import complex_normal

from mrfpipe.dictionary import Dictionary, EntryGroups, build_dictionary
from mrfpipe.errors import InputError
from mrfpipe.files.dictionaries import load_dictionary, load_groups, save_dictionary
from mrfpipe.matching import group
from mrfpipe.matching.brute import match_brute
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.group import match_group
from mrfpipe.matching.grouping import build_groups, default_groups
from mrfpipe.matching.score import Matches
from mrfpipe.physics.simulate import SignalModel, fingerprints
from mrfpipe.protocol import load_protocol

SAME_SCORE = 1e-5
"""Relative: float32 sums of 24 products, squared and divided."""
LEVELS = (0, 0.1, 0.3, 1)
"""Noise over signal, norms in the basis."""


@functools.cache
def small() -> tuple[Dictionary, EntryGroups]:
    """With off-resonance and phase graphs, so that an entry's phase differs along the train."""
    dictionary = build_dictionary(load_protocol("t1ff-small"), model=SignalModel(spoiling="epg"), rank=10)
    return dictionary, build_groups(dictionary)


def noisy_signals(dictionary: Dictionary, n: int, seed: int) -> np.ndarray:
    """Fingerprints off the grid with a random phase and scale, and every level of noise in turn."""
    rng, grid = np.random.default_rng(seed), dictionary.protocol.grid
    values = {name: rng.uniform(grid[name][0], grid[name][-1], n) for name in ("FF", "T1H2O", "T1fat", "df", "B1")}
    clean = dictionary.compress(fingerprints(dictionary.protocol, values))
    clean /= np.linalg.norm(clean, axis=1, keepdims=True)
    clean *= np.exp(2j * np.pi * rng.random(n))[:, None]
    level = np.resize(LEVELS, n) / np.sqrt(dictionary.rank)
    signals = clean + level[:, None] * complex_normal(rng, n, dictionary.rank)
    return (signals * 10.0 ** rng.uniform(-6, 6, n)[:, None]).astype(np.complex64)


def found(ours: Matches, best: Matches) -> np.ndarray:
    """Whether a voxel got the best entry, or one that scores the same."""
    assert np.all(ours.score <= best.score * (1 + SAME_SCORE))
    return ours.score >= best.score * (1 - SAME_SCORE)


def assert_scores_are_of_the_entries(dictionary: Dictionary, signals: np.ndarray, matches: Matches) -> None:
    entries, signals = dictionary.entries(matches.entry).astype(complex), signals.astype(complex)
    overlap = np.abs(np.sum(entries.conj() * signals, axis=1)) ** 2
    score = overlap / np.sum(np.abs(entries) ** 2, axis=1) / np.sum(np.abs(signals) ** 2, axis=1)
    np.testing.assert_allclose(matches.score, score, rtol=SAME_SCORE)


@pytest.mark.parametrize("n_groups", [1, 2, 19, 20, 21, 500, None])
def test_every_entry_is_in_one_group_of_like_size(n_groups):
    dictionary, _ = small()
    groups = build_groups(dictionary, n_groups)
    assert groups.n_groups == (n_groups or default_groups(dictionary.n_entries))
    np.testing.assert_array_equal(np.sort(groups.entries), np.arange(dictionary.n_entries))
    assert np.ptp(np.diff(groups.offsets)) <= 1


def test_a_group_is_what_correlates_best_with_one_of_it():
    """The first of two groups: some entry of it is nearer to all the others than to any outside."""
    dictionary, _ = small()
    groups = build_groups(dictionary, 2)
    inside = np.zeros(dictionary.n_entries, bool)
    inside[groups.entries[: groups.offsets[1]]] = True
    units = dictionary.entries(np.arange(dictionary.n_entries))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    correlation = np.abs(units[inside].conj() @ units.T)
    # Entries of equal correlation may be on both sides.
    assert np.any(correlation[:, inside].min(axis=1) >= correlation[:, ~inside].max(axis=1) - 1e-6)


def test_the_representative_is_the_mean_in_phase():
    dictionary, groups = small()
    for g in range(0, groups.n_groups, 17):
        units = dictionary.entries(groups.entries[groups.offsets[g] : groups.offsets[g + 1]])
        units /= np.linalg.norm(units, axis=1, keepdims=True)
        phase = np.sum(units * units[0].conj(), axis=1)
        mean = np.mean(units * (np.abs(phase) / phase)[:, None], axis=0)
        assert abs(np.vdot(mean, groups.representatives[g])) == pytest.approx(np.linalg.norm(mean), rel=1e-5)
    np.testing.assert_allclose(np.linalg.norm(groups.representatives, axis=1), 1, rtol=1e-5)


def test_the_same_seed_gives_the_same_groups_and_another_does_not():
    dictionary, groups = small()
    np.testing.assert_array_equal(build_groups(dictionary).entries, groups.entries)
    assert np.any(build_groups(dictionary, seed=1).entries != groups.entries)


def test_all_groups_kept_is_brute_force():
    dictionary, groups = small()
    signals = noisy_signals(dictionary, 300, seed=0)
    ours, best = match_group(signals, dictionary, groups, kept=1), match_brute(signals, dictionary)
    assert found(ours, best).all()
    assert_scores_are_of_the_entries(dictionary, signals, ours)


def test_the_more_groups_kept_the_more_voxels_find_their_entry():
    dictionary, _ = small()
    groups = build_groups(dictionary, 2000)
    signals = noisy_signals(dictionary, 400, seed=1)
    shares = (1e-6, 0.03, 0.1, 0.3, 1)
    scores = [match_group(signals, dictionary, groups, kept).score for kept in shares]
    for less, more in itertools.pairwise(scores):
        assert np.all(more >= less * (1 - SAME_SCORE))
    assert np.mean(scores[0] < scores[-1] * (1 - SAME_SCORE)) > 0.02  # the least that is kept is not enough for all


def test_the_default_finds_nearly_every_entry_of_the_small_grid():
    dictionary, groups = small()
    signals = noisy_signals(dictionary, 1000, seed=2)
    assert found(match_group(signals, dictionary, groups), match_brute(signals, dictionary)).mean() >= 0.95


@pytest.mark.slow
def test_the_default_finds_nearly_every_entry_of_the_full_grid():
    dictionary = build_dictionary(load_protocol("t1ff"), rank=12)
    assert dictionary.n_entries == 7_182_000
    groups = build_groups(dictionary)
    signals = noisy_signals(dictionary, 100, seed=3)
    brute, ours = match_brute(signals, dictionary), match_group(signals, dictionary, groups)
    assert found(ours, brute).mean() >= 0.95
    many = noisy_signals(dictionary, 2000, seed=4)
    right = found(match_group(many, dictionary, groups), match_exact(many, dictionary))
    for i, level in enumerate(LEVELS):
        assert right[i :: len(LEVELS)].mean() >= 0.95, level


def test_scale_and_phase_do_not_matter():
    dictionary, groups = small()
    signals = noisy_signals(dictionary, 100, seed=5)
    signals /= np.linalg.norm(signals, axis=1, keepdims=True)
    turned = (signals * 1e7 * np.exp(2j * np.pi * np.linspace(0, 1, 100))[:, None]).astype(np.complex64)
    ours, other = (match_group(s, dictionary, groups) for s in (signals, turned))
    np.testing.assert_allclose(ours.score, other.score, rtol=SAME_SCORE)


@pytest.mark.parametrize("at_once", [7, 1 << 20])
def test_torch_does_what_numba_does(monkeypatch, at_once):
    dictionary, groups = small()
    unit = group.unit_signals(noisy_signals(dictionary, 60, seed=7))
    monkeypatch.setattr(group, "SCORES_AT_ONCE", at_once)
    number, score = group._on_device(unit, dictionary, groups, 20, torch.device("cpu"))
    np.testing.assert_allclose(score, group._on_cpu(unit, dictionary, groups, 20)[1], rtol=SAME_SCORE)
    assert_scores_are_of_the_entries(dictionary, unit, Matches(entry=number, score=score))


def test_no_voxels_give_no_matches():
    dictionary, groups = small()
    matches = match_group(np.empty((0, dictionary.rank), np.complex64), dictionary, groups)
    assert matches.entry.shape == matches.score.shape == (0,)


def test_what_cannot_be_is_refused():
    dictionary, groups = small()
    signals = np.ones((3, dictionary.rank), np.complex64)
    for kept in (0, -1, 1.1, np.nan):
        with pytest.raises(ValueError, match="Share of groups"):
            match_group(signals, dictionary, groups, kept)
    for n_groups in (0, dictionary.n_entries + 1):
        with pytest.raises(ValueError, match="Number of groups"):
            build_groups(dictionary, n_groups)
    with pytest.raises(ValueError, match="representatives has shape"):
        match_group(signals[:, :5], build_dictionary(load_protocol("t1ff-small"), rank=5), groups)
    with pytest.raises(ValueError, match="finite and not zero"):
        match_group(0 * signals, dictionary, groups)


def test_groups_go_through_the_file(tmp_path):
    dictionary, groups = small()
    save_dictionary(dictionary, tmp_path / "with.h5", groups)
    save_dictionary(dictionary, tmp_path / "without.h5")
    assert load_groups(tmp_path / "without.h5") is None
    assert load_dictionary(tmp_path / "with.h5").n_entries == dictionary.n_entries
    got = load_groups(tmp_path / "with.h5")
    for field in dataclasses.fields(EntryGroups):
        before, after = getattr(groups, field.name), getattr(got, field.name)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("name", "damage", "complaint"),
    [
        ("entries", lambda a: np.where(a == 3, 4, a), "every entry"),
        ("entries", lambda a: np.where(a == 3, -1, a), "every entry"),
        ("entries", lambda a: np.where(a == 3, a.size, a), "every entry"),
        ("entries", lambda a: a.astype(np.int64), "int64"),
        ("entries", lambda a: a[:-1], "shape"),
        ("offsets", lambda a: np.where(a == a[1], a[2], a), "do not rise"),
        ("offsets", lambda a: a + 1, "do not rise"),
        ("offsets", lambda a: a[:-1], "shape"),
        ("representatives", lambda a: 2 * a, "unit norm"),
        ("representatives", lambda a: a * np.nan, "unit norm"),
        ("representatives", lambda a: a[:, :-1], "shape"),
        ("representatives", None, "missing"),
    ],
)
def test_damaged_groups_are_refused(tmp_path, name, damage, complaint):
    dictionary, groups = small()
    path = tmp_path / "d.h5"
    save_dictionary(dictionary, path, groups)
    with h5py.File(path, "r+") as file:
        array = file[f"groups/{name}"][...]
        del file[f"groups/{name}"]
        if damage is not None:
            file[f"groups/{name}"] = damage(array)
    with pytest.raises(InputError, match=complaint) as caught:
        load_groups(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
