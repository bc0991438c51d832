import itertools

import numpy as np
import pytest
import scipy.linalg
from helpers import small_protocol

from mrfpipe.basis import entry_gram, leading_basis
from mrfpipe.dictionary import build_dictionary
from mrfpipe.physics.simulate import SignalModel, component_signals, fingerprints
from mrfpipe.protocol import load_protocol

COMPRESSED = 3e-5
"""By how much compressing in two ways may differ, over the norm of the signal: each is off by 1.5e-5 at most. It is a
sum of n = 175 complex products in single precision, u = 2^-24, whose error is at most sqrt(2) (n + 2) u of the norms'
product in whatever order a CPU sums (Higham, Accuracy and Stability of Numerical Algorithms, 3.1 and 3.6)."""


@pytest.fixture(scope="module")
def small():
    return build_dictionary(load_protocol("t1ff-small"), rank=30)


@pytest.fixture(scope="module")
def t1ff():
    return build_dictionary(load_protocol("t1ff"))


def test_all_entries_are_addressable_in_the_order_of_the_axes(t1ff):
    grid = t1ff.protocol.grid
    assert t1ff.n_entries == 7_182_000
    number = np.ravel_multi_index((4, 100, 3, 20, 11), grid.shape)
    parameters = t1ff.parameters(np.array([number]))
    assert [parameters[name][0] for name in grid] == [
        grid["FF"][4],
        grid["T1H2O"][100],
        grid["T1fat"][3],
        grid["df"][20],
        grid["B1"][11],
    ]
    for outside in (-1, t1ff.n_entries):
        with pytest.raises(IndexError, match="from 0 to 7181999"):
            t1ff.entries(np.array([outside]))


def test_an_entry_is_the_compressed_fingerprint_of_its_parameters(t1ff):
    rng = np.random.default_rng(1)
    numbers = rng.integers(0, t1ff.n_entries, 300)
    simulated = fingerprints(t1ff.protocol, t1ff.parameters(numbers))
    away = np.abs(t1ff.entries(numbers) - t1ff.compress(simulated)).max(axis=1)
    assert np.all(away <= COMPRESSED * np.linalg.norm(simulated, axis=1))
    # Rank 12 keeps 99.999 % of the energy: what an entry loses is small beside it.
    lost = np.linalg.norm(simulated - t1ff.entries(numbers) @ t1ff.basis.T, axis=1)
    assert np.median(lost / np.linalg.norm(simulated, axis=1)) < 4e-3


def test_residual_energy_by_rank_has_its_reference_values():
    """Values of another implementation's SVD; to two digits at the ranks it states two digits for."""
    protocol = load_protocol("t1ff")
    values = np.linalg.eigvalsh(entry_gram(component_signals(protocol), protocol))[::-1]
    residual = 1 - np.cumsum(values) / values.sum()
    for rank, expected in ((6, 4.7e-4), (8, 1.1e-4), (10, 2.4e-5), (12, 9e-6), (15, 3e-7)):
        assert residual[rank - 1] == pytest.approx(expected, rel=0.25)


def test_the_gram_matrix_is_that_of_all_entries_made_one_by_one():
    protocol = small_protocol(
        FF="[[0.0, 1.0, 0.25]]",
        T1H2O="[[600, 1600, 500]]",
        df="[[-60, 60, 60]]",
        B1="[[0.4, 1.0, 0.3]]",
    )
    grid = protocol.grid
    combinations = np.array(list(itertools.product(*grid.values()))).T
    entries = fingerprints(protocol, dict(zip(grid, combinations, strict=True))).astype(complex)
    assert len(entries) == grid.n_entries
    gram = entry_gram(component_signals(protocol), protocol)
    np.testing.assert_allclose(gram, entries.T @ entries.conj(), rtol=0, atol=1e-6 * np.abs(gram).max())


@pytest.mark.parametrize("rank", [6, 12, 20])
def test_the_energy_outside_the_basis_is_right_however_small(rank):
    """Against the singular values of all entries, made one by one in double precision."""
    protocol = small_protocol(FF="[[0.0, 1.0, 0.25]]", df="[[-60, 60, 60]]", B1="[[0.4, 1.0, 0.3]]")
    (water, fat), ff = component_signals(protocol), protocol.grid["FF"][:, None, None, None, None, None]
    water, fat = water[:, None].astype(complex), fat[None].astype(complex)
    entries = ((1 - ff) * water + ff * fat).reshape(protocol.grid.n_entries, -1)
    values = np.linalg.svd(entries, compute_uv=False) ** 2
    energy = build_dictionary(protocol, rank=rank).energy
    assert energy <= 1
    # The Gram matrix rounds what is outside by some 1e-16 of what is inside.
    assert 1 - energy == pytest.approx(values[rank:].sum() / values.sum(), rel=1e-6, abs=1e-14)


def test_energy_and_rank_choose_the_basis(small):
    protocol = small.protocol
    for energy in (0.99, 0.9999):
        dictionary = build_dictionary(protocol, energy=energy)
        assert dictionary.energy >= energy
        assert build_dictionary(protocol, rank=dictionary.rank - 1).energy < energy
    np.testing.assert_allclose(small.basis.conj().T @ small.basis, np.eye(30), atol=1e-6)
    for rank in (1, 176):
        with pytest.raises(ValueError, match="Rank must be from 2 to the number of frames, 175"):
            build_dictionary(protocol, rank=rank)
    with pytest.raises(ValueError, match="between 0 and 1"):
        build_dictionary(protocol, energy=1.0)


def test_products_are_those_of_the_signals(small):
    i, j, f, b = 3, 1, 7, 2
    water, fat = (signals.astype(complex) for signals in small.components)
    water, fat, products = water[i, f, b], fat[j, f, b], small.products()
    n_b1 = small.protocol.grid["B1"].size
    g = f * n_b1 + b
    # Sums of 60 products in double precision.
    assert products.energies[0][g, i] == pytest.approx(np.vdot(water, water).real, rel=1e-13)
    assert products.energies[1][g, j] == pytest.approx(np.vdot(fat, fat).real, rel=1e-13)
    assert products.cross[g, j, i] == pytest.approx(np.vdot(water, fat).real, abs=1e-13)
    cosine = np.vdot(water, fat).real / np.linalg.norm(water) / np.linalg.norm(fat)
    assert products.cosines()[g, j, i] == pytest.approx(cosine, abs=1e-13)
    # Off-resonance is a phase common to water and fat: it changes no norm and no cross term.
    cross = products.cross.reshape(-1, n_b1, *products.cross.shape[1:])
    np.testing.assert_allclose(cross.std(axis=0), 0, atol=2e-5)


def test_the_basis_does_not_depend_on_the_phases_of_eigenvectors(small, monkeypatch):
    """LAPACK's eigenvectors have other signs on other processors."""
    gram, plain = entry_gram(small.components, small.protocol), scipy.linalg.eigh

    def turned(matrix):
        values, vectors = plain(matrix)
        return values, vectors * np.exp(2j * np.pi * np.random.default_rng(0).uniform(size=len(values)))

    before, _ = leading_basis(gram, 6, 1.0)
    monkeypatch.setattr(scipy.linalg, "eigh", turned)
    after, _ = leading_basis(gram, 6, 1.0)
    np.testing.assert_allclose(after, before, atol=1e-6)  # complex64
    largest = np.abs(before).argmax(axis=0)
    np.testing.assert_allclose(before[largest, np.arange(6)], np.abs(before).max(axis=0), atol=1e-7)


def test_leading_vectors_alone_make_the_dictionary_of_that_rank(small):
    """The basis is nested: components and the share of energy are those of a build of lower rank."""
    few = build_dictionary(small.protocol, rank=6)
    found = small.in_basis(small.basis[:, :6])
    assert found.rank == 6
    # float32 sums of 30 products, and eigenvectors that are orthogonal to as many digits
    for got, expected in zip((found.basis, *found.components), (few.basis, *few.components), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())
    assert found.energy == pytest.approx(few.energy, abs=1e-6)


def test_entries_in_another_basis_are_their_projections(small):
    """On a basis of none of the dictionary's vectors, complex and partly outside of their space."""
    rng = np.random.default_rng(3)
    directions = rng.standard_normal((small.basis.shape[0], 5)) + 1j * rng.standard_normal((small.basis.shape[0], 5))
    basis = np.linalg.qr(small.basis[:, :5] + 0.05 * directions)[0].astype(np.complex64)
    numbers = rng.integers(0, small.n_entries, 50)
    expected = (small.entries(numbers) @ small.basis.T) @ basis.conj()
    found = small.in_basis(basis)
    np.testing.assert_allclose(found.entries(numbers), expected, atol=1e-5 * np.abs(expected).max())
    assert found.energy < small.energy


def test_entries_are_of_the_signal_model_asked_for():
    """Phase graphs have a phase that df alone does not make; their entries are still mixtures of their components."""
    protocol, model = load_protocol("t1ff-small"), SignalModel(spoiling="epg")
    dictionary = build_dictionary(protocol, model=model, rank=40)
    assert dictionary.model == model
    numbers = np.random.default_rng(2).integers(0, dictionary.n_entries, 50)
    simulated = fingerprints(protocol, dictionary.parameters(numbers), model=model)
    ideal = fingerprints(protocol, dictionary.parameters(numbers))
    away = np.abs(dictionary.entries(numbers) - dictionary.compress(simulated)).max(axis=1)
    assert np.all(away <= COMPRESSED * np.linalg.norm(simulated, axis=1))
    assert np.linalg.norm(simulated - ideal) > 5e-3 * np.linalg.norm(ideal)


def test_nearest_entries_are_those_of_the_shortest_distance_along_every_axis():
    dictionary = build_dictionary(load_protocol("t1ff-small"), rank=4)
    rng, grid = np.random.default_rng(0), dictionary.protocol.grid
    values = {name: rng.uniform(axis[0] - 0.1 * np.ptp(axis), axis[-1], 200) for name, axis in grid.items()}
    found = dictionary.positions(dictionary.nearest(values))
    for name, axis in grid.items():
        np.testing.assert_array_equal(found[name], np.abs(values[name][:, None] - axis).argmin(axis=1))
