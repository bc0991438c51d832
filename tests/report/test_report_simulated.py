"""Fingerprints beside a network's maps: measured and simulated in one basis."""

import numpy as np
import pytest
from helpers import complex_normal, small_protocol

from mrfpipe.imaging.series import FrameSeries
from mrfpipe.maps import PARAMETERS, ParameterMaps
from mrfpipe.physics.simulate import fingerprints
from mrfpipe.report.simulated import range_basis, simulated_fingerprints

LOST = 0.02
"""Of a signal's norm: the basis keeps 0.99999 of all energy, and its weakest signals less than its strongest."""


@pytest.fixture(scope="module")
def scan():
    """Two slices whose frames are simulated signals on a complex scale, and their true maps."""
    protocol, rng = small_protocol(matrix=8), np.random.default_rng(0)
    mask = rng.random((2, 5, 7)) < 0.6
    grid = protocol.grid
    values = {
        p.field: rng.uniform(getattr(grid, p.field).min(), getattr(grid, p.field).max(), mask.shape) for p in PARAMETERS
    }
    scale = complex_normal(rng, *mask.shape) + 2
    signals = fingerprints(protocol, **{name: v.ravel() for name, v in values.items()}) * scale.reshape(-1, 1)
    images = np.moveaxis(signals.reshape(*mask.shape, -1), -1, 1).astype(np.complex64)
    blank = {name: np.where(mask, v, np.nan).astype(np.float32) for name, v in values.items()}
    blank |= {name: np.where(mask, 1, np.nan).astype(np.float32) for name in ("m0", "phase", "match")}
    maps = ParameterMaps(**blank, edge=np.zeros(mask.shape, np.uint8), mask=mask, affine=np.eye(4))
    series = [
        FrameSeries(
            name="t",
            images=np.ascontiguousarray(images[s : s + 1]),
            mask=mask[s : s + 1],
            affine=np.eye(4),
            sequence_hash=protocol.sequence.hash,
        )
        for s in range(2)
    ]
    return protocol, maps, series, images, scale


def test_the_basis_is_orthonormal_and_holds_the_fingerprints(scan):
    protocol, maps, series, images, _ = scan
    basis = range_basis(protocol)
    # complex64 rounds products of unit vectors to 1e-6
    np.testing.assert_allclose(basis.conj().T @ basis, np.eye(basis.shape[1]), atol=1e-5)
    found = simulated_fingerprints(iter(series), maps, protocol)
    signals = np.moveaxis(images, 1, -1)[maps.mask]
    off = np.linalg.norm(found.measured @ found.basis.T - signals, axis=1) / np.linalg.norm(signals, axis=1)
    assert off.max() < LOST


def test_a_perfect_estimate_fits_with_the_scale_and_its_phase(scan):
    protocol, maps, series, _, scale = scan
    found = simulated_fingerprints(iter(series), maps, protocol)
    ratio = np.sum(found.simulated.conj() * found.measured, axis=1) / np.sum(np.abs(found.simulated) ** 2, axis=1)
    # float32 parameters move signals by 1e-5 or so; a lost conjugate or another voxel order by far more
    np.testing.assert_allclose(ratio, scale[maps.mask], rtol=1e-3)
    np.testing.assert_allclose(found.fitted, found.measured, atol=1e-3 * np.abs(found.measured).max())


def test_a_scan_of_fewer_slices_than_maps_is_refused(scan):
    protocol, maps, series, *_ = scan
    with pytest.raises(ValueError, match="1 slices, its maps have 2"):
        simulated_fingerprints(series[0], maps, protocol)


def test_coefficients_keep_their_own_basis(scan):
    protocol, maps, _, images, _ = scan
    basis = range_basis(protocol)[:, :5]
    whole = FrameSeries(
        name="t",
        images=np.ascontiguousarray(np.einsum("fr,sfyx->sryx", basis.conj(), images)),
        mask=maps.mask,
        affine=np.eye(4),
        sequence_hash=protocol.sequence.hash,
        basis=basis,
    )
    found = simulated_fingerprints(whole, maps, protocol)
    assert np.array_equal(found.basis, basis)
    assert np.array_equal(found.measured, np.moveaxis(whole.images, 1, -1)[maps.mask])
