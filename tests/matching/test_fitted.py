"""Matching of a subspace reconstruction: its maps are fitted to the samples of the scan."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import complex_normal, small_protocol

import mrfpipe.imaging.reconstruction as reconstruction
from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import MismatchError
from mrfpipe.imaging.choices import BEST, Imaging
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.imaging.subspace import solve_subspace
from mrfpipe.matching.match import match_series
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.scanner import scan
from mrfpipe.readout_basis import at_readouts, readout_basis
from mrfpipe.run.choices import Matching
from mrfpipe.run.mapper import MatchMapper

MATRIX = 24
PROTOCOL = small_protocol(
    matrix=MATRIX, T1H2O="[[600, 1600, 50]]", T1fat="[[250, 350, 25]]", df="[[-60, 60, 10]]", B1="[[0.5, 1.0, 0.05]]"
)
DICTIONARY = build_dictionary(PROTOCOL, rank=10)
SUBSPACE = Imaging(recon="subspace")


@pytest.fixture(scope="module")
def phantom():
    return thigh(matrix=MATRIX, fov=PROTOCOL.sequence.fov, n_slices=1, slice_spacing=0.012, seed=3)


@pytest.fixture(scope="module")
def raw(phantom):
    return scan(phantom, PROTOCOL, n_coils=3)


def reconstructed(raw, basis=DICTIONARY.subspace):
    readout_basis = at_readouts(basis, DICTIONARY)
    return next(iter(Reconstruction(raw, PROTOCOL.sequence, SUBSPACE, basis=basis, readout_basis=readout_basis)))


@pytest.fixture(scope="module")
def series(raw):
    return reconstructed(raw)


def test_a_slice_has_the_equations_that_its_images_solve(series):
    np.testing.assert_array_equal(solve_subspace(series.equations), series.images[0])


def test_off_resonance_corrected_at_several_frequencies_leaves_none(raw):
    field = np.zeros((1, MATRIX, MATRIX), np.float32)
    field[:, :12] = 40
    times = np.broadcast_to(np.linspace(0, 2e-3, raw.trajectory.shape[1]), raw.trajectory.shape[:2])
    timed = replace(raw, times=times)
    (one,) = Reconstruction(timed, PROTOCOL.sequence, SUBSPACE, basis=DICTIONARY.subspace, field=field)
    assert one.equations is None


def test_fitted_maps_are_nearer_the_truth(phantom, series):
    fitted, plain = (match_series(one, DICTIONARY)[0] for one in (series, replace(series, equations=None)))
    for p in PROTOCOL.parameters:
        counts = phantom.maps.counts(p) & series.mask
        errors = [np.linalg.norm((maps.si[p.name] - phantom.maps.si[p.name])[counts]) for maps in (fitted, plain)]
        assert errors[0] < 0.95 * errors[1], p.name  # 0.57 to 0.88 seen


def test_another_basis_of_the_subspace_gives_the_same_maps(raw, series):
    """As that of a network, whose vectors another machine has computed."""
    basis, rng = DICTIONARY.subspace, np.random.default_rng(0)
    turned = (basis @ np.linalg.qr(complex_normal(rng, basis.shape[1], basis.shape[1]))[0]).astype(np.complex64)
    other = reconstructed(raw, turned)
    expected, found = (match_series(replace(one, replica=None), DICTIONARY)[0] for one in (series, other))
    for name, axis in PROTOCOL.grid.items():
        np.testing.assert_allclose(found.si[name], expected.si[name], atol=2e-3 * np.ptp(axis))  # single precision


def test_maps_on_the_grid_are_the_entries_that_match_best(series):
    on_grid, plain = (
        match_series(one, DICTIONARY, refined=False)[0] for one in (series, replace(series, equations=None))
    )
    for name, values in plain.si.items():
        np.testing.assert_array_equal(on_grid.si[name], values)


def test_the_search_is_the_one_that_was_chosen(series):
    """Brute matching, which alone tells how far it is, finds the same entries."""
    steps, one = [], replace(series, replica=None)
    exact = match_series(one, DICTIONARY)[0]
    brute = match_series(one, DICTIONARY, "brute", progress=lambda *step: steps.append(step))[0]
    assert steps
    for name, values in exact.si.items():
        np.testing.assert_allclose(brute.si[name], values, rtol=1e-4, atol=1e-3)  # sums in threads are rounded


def test_every_reconstruction_has_a_basis_of_readouts():
    mapper = MatchMapper(dictionary=DICTIONARY)
    assert mapper.readout_basis("nufft") is None
    np.testing.assert_array_equal(mapper.readout_basis("joint"), readout_basis(DICTIONARY))
    np.testing.assert_array_equal(mapper.readout_basis("subspace"), at_readouts(DICTIONARY.subspace, DICTIONARY))


def test_estimates_on_the_grid_are_not_joint():
    mapper = MatchMapper(dictionary=DICTIONARY, matching=Matching(refined=False))
    assert mapper.imaging(BEST).recon == "subspace"
    with pytest.raises(MismatchError, match="choose --recon subspace with --no-refine"):
        mapper.imaging(replace(BEST, recon="joint"))


def test_a_replica_lies_within_the_same_support(series, monkeypatch):
    """A support that is looked for again may be another one, by which all voxels would change."""
    monkeypatch.setattr(reconstruction, "support", None)
    again = series.replica().equations
    assert again.box == series.equations.box
    np.testing.assert_array_equal(again.support, series.equations.support)
    assert 0 < again.support.sum() < MATRIX**2
