"""Dictionaries of one component, FISP's T1 x T2 x B1: exact matching, its bounds, gap and refinement by slow twins."""

import functools
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_same_matches, complex_normal, scores_in_double
from hypothesis import given, settings
from hypothesis import strategies as st

from mrfpipe.dictionary import Dictionary, build_dictionary
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.gap import correlation_gap
from mrfpipe.matching.group import match_group
from mrfpipe.matching.grouping import build_groups
from mrfpipe.matching.layout import TILE, lay_out
from mrfpipe.matching.refine import refine
from mrfpipe.physics.simulate import SignalModel, fingerprints
from mrfpipe.protocol import Grid, load_protocol

EPG = SignalModel(spoiling="epg")
FEW = {"T1": 21, "T2": 13, "B1": 5}
"""Values of each axis: no multiples of a tile, so that tiles reach over the ends."""


def small(rank: int = 8) -> Dictionary:
    full = simulated()
    return full.in_basis(full.basis[:, :rank])


@functools.cache
def simulated() -> Dictionary:
    protocol = load_protocol("fisp")
    axes = {name: np.geomspace(axis[axis >= 0.02][0], axis[-1], FEW[name]) for name, axis in protocol.grid.items()}
    return build_dictionary(replace(protocol, grid=Grid(axes=axes)), rank=20)


def drawn(dictionary: Dictionary, n: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: np.exp(rng.uniform(*np.log(axis[[0, -1]]), n)) for name, axis in dictionary.protocol.grid.items()}


def noisy(dictionary: Dictionary, n: int, seed: int) -> np.ndarray:
    """Fingerprints off the grid with a random phase and noise of 0 to 10 times their norm."""
    rng = np.random.default_rng(seed)
    clean = dictionary.compress(fingerprints(dictionary.protocol, drawn(dictionary, n, seed), model=EPG))
    clean *= np.exp(2j * np.pi * rng.random(n))[:, None] / np.linalg.norm(clean, axis=1, keepdims=True)
    level = rng.choice([0, 0.003, 0.03, 0.3, 1, 10], n) / np.sqrt(dictionary.rank)
    return (clean + level[:, None] * complex_normal(rng, n, dictionary.rank)).astype(np.complex64)


def test_the_model_is_epg_unless_told_otherwise():
    assert small().model == EPG
    assert build_dictionary(load_protocol("t1ff-small"), rank=2).model == SignalModel()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), rank=st.sampled_from([2, 5, 8, 20]))
def test_exact_is_brute_force(seed, rank):
    dictionary = small(rank)
    assert_same_matches(dictionary, noisy(dictionary, 60, seed))


def test_every_signal_is_in_a_tile_and_names_its_entry():
    dictionary = small()
    layout = lay_out(dictionary)
    n_tiles = -(-FEW["T1"] // TILE) * -(-FEW["T2"] // TILE)
    assert layout.first.shape == (FEW["B1"] * n_tiles, TILE**2)
    group, i = np.indices(layout.first.shape).reshape(2, -1)
    numbers = layout.numbers(group, np.zeros_like(group), i, np.zeros_like(group))
    assert set(numbers.tolist()) == set(range(dictionary.n_entries))
    parts = layout.groups.first[group, :, :, i]
    np.testing.assert_array_equal(parts[..., 0] + 1j * parts[..., 1], dictionary.entries(numbers))


def test_no_entry_beats_the_bound_of_its_tile():
    dictionary = small()
    groups = lay_out(dictionary).groups
    unit = noisy(dictionary, 40, seed=5).astype(complex)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    u = np.einsum("gdr,vr->vgd", groups.space[..., 0] - 1j * groups.space[..., 1], unit)
    length = np.sqrt((np.sum(np.abs(u) ** 2, axis=2) + np.abs(np.sum(u**2, axis=2))) / 2)
    entries = groups.first[:, :, 0].astype(complex) + 1j * groups.first[:, :, 1]
    scores = np.abs(np.einsum("grs,vr->vgs", entries.conj(), unit)) / np.linalg.norm(entries, axis=1)
    assert np.all(scores.max(axis=2) <= length + groups.remainder)


def test_group_matching_of_all_groups_is_exact():
    dictionary = small()
    signals = noisy(dictionary, 50, seed=3)
    found = match_group(signals, dictionary, build_groups(dictionary, 40), kept=1)
    # Single precision: entries that score the same but for it may be told apart differently.
    np.testing.assert_allclose(found.score, match_exact(signals, dictionary).score, rtol=1e-5)


def test_gap_is_that_of_all_entries():
    dictionary = small()
    signals = noisy(dictionary, 20, seed=7)
    expected = []
    for signal in signals:
        scores = scores_in_double(dictionary, signal[None], np.arange(dictionary.n_entries))
        line = np.sqrt(scores.reshape(*FEW.values()).max(axis=(0, 1)))
        padded = np.pad(line, 1, constant_values=-1)
        peaks = line[(line >= padded[:-2]) & (line >= padded[2:])]
        expected.append(np.subtract(*sorted([*peaks, 0.0])[:-3:-1]))
    np.testing.assert_allclose(correlation_gap(signals, dictionary), expected, atol=2e-6)  # float32 of signals


def test_off_the_grid_the_truth_is_found():
    """On the grid of the protocol, where it is densest; T2 and B1 are told apart least."""
    protocol = load_protocol("fisp")
    inside = {"T1": (0.8, 1.4), "T2": (0.05, 0.1), "B1": (0.9, 1.05)}
    grid = {n: axis[(axis >= inside[n][0]) & (axis <= inside[n][1])] for n, axis in protocol.grid.items()}
    dictionary = build_dictionary(replace(protocol, grid=Grid(axes=grid)), rank=12)
    truth = drawn(dictionary, 60, seed=1)
    signals = dictionary.compress(fingerprints(protocol, truth, model=EPG))
    found = refine(signals, match_exact(signals, dictionary).entry, dictionary).parameters
    for name, most in (("T1", 1e-3), ("T2", 3e-3), ("B1", 2e-3)):
        error = np.abs(found[name] / truth[name] - 1)
        assert np.median(error) < most, (name, np.median(error))


def test_the_kernel_is_its_twin_on_the_cpu():
    """In Numba's simulator, with fewer threads than a tile has signals."""
    run = f"""
        import sys
        sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(Path(__file__).parent)!r}]
        import numpy as np, torch
        from dataclasses import replace
        from mrfpipe.dictionary import build_dictionary
        from mrfpipe.matching import cuda
        from mrfpipe.matching.exact import match_exact
        from mrfpipe.protocol import Grid, load_protocol

        cuda.THREADS = 8
        protocol = load_protocol("fisp")
        axes = dict(T1=np.array([0.2, 0.5, 1.1]), T2=np.array([0.02, 0.05, 0.1, 0.2]), B1=np.array([0.8, 1.0]))
        dictionary = build_dictionary(replace(protocol, grid=Grid(axes=axes)), rank=5)
        numbers = np.array([0, 5, 23, 11])
        rng = np.random.default_rng(0)
        noise = rng.standard_normal((4, 5, 2)) @ [1, 1j] * np.array([0, 0, 0.03, 1])[:, None]
        entries = dictionary.entries(numbers)
        signals = (entries / np.linalg.norm(entries, axis=1, keepdims=True) + noise).astype(np.complex64)
        gpu, cpu = match_exact(signals, dictionary, torch.device("cuda:0")), match_exact(signals, dictionary)
        np.testing.assert_array_equal(gpu.entry, cpu.entry)
        np.testing.assert_allclose(gpu.score, cpu.score, rtol=1e-6)
        assert gpu.entry[:2].tolist() == [0, 5]
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(run)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("left", [1e-2, 1e-3])
def test_a_subspace_leaves_no_more_energy_than_it_says(monkeypatch, left):
    dictionary = small(20)
    dictionary = replace(dictionary, protocol=replace(dictionary.protocol, subspace_rank=None))
    monkeypatch.setattr("mrfpipe.dictionary.SUBSPACE_LEFT", left)
    rank = dictionary.subspace.shape[1]
    entries = dictionary.entries(np.arange(dictionary.n_entries)).astype(complex)
    energies = np.cumsum(np.sum(np.abs(entries) ** 2, axis=0)) / np.sum(np.abs(entries) ** 2) * dictionary.energy
    assert 1 - energies[rank - 1] <= left < 1 - energies[rank - 2]
    assert load_protocol("fisp").subspace_rank == 8
    said = replace(dictionary, protocol=replace(dictionary.protocol, subspace_rank=5))
    np.testing.assert_array_equal(said.subspace, dictionary.basis[:, :5])
