"""Fingerprints beside a network's maps: measured and simulated in one basis, voxel by voxel in the maps' order."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mrfpipe.basis import range_basis
from mrfpipe.dictionary import build_dictionary
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.network import initial_network
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.physics.simulate import SPOILED, fingerprints

CPU = torch.device("cpu")
LOST = 0.02
"""Of a signal's norm: the basis keeps 0.99999 of all energy, and its weakest signals less than its strongest."""


def encoded(model, series, protocol, rank):
    """Turn a model into one of as many coefficients, of untrained weights."""
    encoding = Encoding.of(build_dictionary(protocol, rank=rank).basis, [series])
    architecture = replace(model.architecture, n_inputs=2 * rank)
    network = initial_network(architecture, torch.Generator().manual_seed(1)).eval()
    return replace(model, network=network, architecture=architecture, encoding=encoding)


@pytest.mark.parametrize("with_encoding", [False, True])
def test_measured_and_simulated_are_those_of_the_maps_voxels(make_model, make_scan, protocol, with_encoding):
    series, _ = make_scan(1)
    turned = replace(series, images=series.images * np.exp(0.7j).astype(np.complex64))
    model = encoded(make_model(), turned, protocol, 6) if with_encoding else make_model()
    maps, found = reconstruct(turned, model, protocol, device=CPU)
    basis = range_basis(protocol, SPOILED)
    np.testing.assert_array_equal(found.basis, basis)
    signals = np.moveaxis(turned.images, 1, -1)[maps.mask]
    values = {p.name: maps.si[p.name][maps.mask].astype(float) for p in PARAMETERS}
    simulated = fingerprints(protocol, values)
    # complex64 sums of sixteen frames; a lost conjugate, or voxels in another order, are off by the signal itself
    np.testing.assert_allclose(found.measured, signals @ basis.conj(), atol=1e-5 * np.abs(signals).max())
    np.testing.assert_allclose(found.simulated, simulated @ basis.conj(), atol=1e-5 * np.abs(simulated).max())
    # The fitted fingerprint has the maps' own scale and phase, but for what the basis leaves out.
    scale = (maps.m0 * np.exp(1j * maps.phase))[maps.mask]
    off = np.linalg.norm(found.fitted - scale[:, None] * found.simulated, axis=1)
    assert np.max(off / np.linalg.norm(found.measured, axis=1)) < LOST


def test_coefficients_keep_their_own_basis(make_model, make_scan, protocol):
    series, _ = make_scan(2)
    model = encoded(make_model(), series, protocol, 6)
    model = replace(model, record={**model.record, "input": "coefficients"})
    basis = build_dictionary(protocol, rank=8).basis
    images = np.ascontiguousarray(np.einsum("fr,sfyx->sryx", basis.conj(), series.images))
    maps, found = reconstruct(replace(series, images=images, basis=basis), model, protocol, device=CPU)
    np.testing.assert_array_equal(found.basis, basis)
    np.testing.assert_array_equal(found.measured, np.moveaxis(images, 1, -1)[maps.mask])


def test_the_maps_are_those_of_reconstruct(make_model, make_scan, protocol):
    series, _ = make_scan(3)
    alone = reconstruct(series, make_model(), protocol, device=CPU)[0]
    maps, _ = reconstruct(series, make_model(), protocol, device=CPU)
    for name in alone:
        np.testing.assert_array_equal(alone.si[name], maps.si[name])
    for name in ("m0", "phase", "match"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(maps, name))


def test_the_basis_of_the_ranges_is_orthonormal_and_holds_their_fingerprints(protocol):
    basis, rng = range_basis(protocol, SPOILED), np.random.default_rng(9)
    # complex64 rounds products of unit vectors to 1e-6
    np.testing.assert_allclose(basis.conj().T @ basis, np.eye(basis.shape[1]), atol=1e-5)
    axes = {p.name: protocol.grid[p.name] for p in PARAMETERS}
    signals = fingerprints(protocol, {name: rng.uniform(a.min(), a.max(), 200) for name, a in axes.items()})
    kept = (signals @ basis.conj()) @ basis.T
    assert np.max(np.linalg.norm(kept - signals, axis=1) / np.linalg.norm(signals, axis=1)) < LOST
