"""Joint reconstruction against the dense system it stands for, and on a scan whose maps are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import complex_normal, small_protocol

import mrfpipe.imaging.joint as joint
import mrfpipe.imaging.reconstruction as reconstruction
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.dictionary import build_dictionary
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.density import ramp_weights
from mrfpipe.imaging.mask import box_of
from mrfpipe.imaging.normal import Equations, apply_normal, cropped_kernels
from mrfpipe.imaging.series import REPLICA_NOISE, FrameSeries
from mrfpipe.imaging.smoothness import Smoothness
from mrfpipe.imaging.subspace import normal_equations, solve_subspace
from mrfpipe.interpolation import interpolated
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.joint import joint_estimates
from mrfpipe.matching.match import match_series
from mrfpipe.physics.simulate import readout_signals
from mrfpipe.readout_basis import ENERGY_LEFT, at_readouts, readout_basis

MATRIX = 24
PROTOCOL = small_protocol(
    matrix=MATRIX, T1H2O="[[600, 1600, 50]]", T1fat="[[250, 350, 25]]", df="[[-60, 60, 10]]", B1="[[0.5, 1.0, 0.05]]"
)
"""Fine enough for interpolation to be no error."""
DICTIONARY = build_dictionary(PROTOCOL, rank=10)
SPOKES = golden_angle_spokes(PROTOCOL.sequence)
RICH = DICTIONARY.in_basis(DICTIONARY.basis[:, : DICTIONARY.rank_leaving(ENERGY_LEFT)])
NOISE = 1e-6


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    """An object that is not alike after a flip or transposition, with a hole."""
    y, x = np.mgrid[:MATRIX, :MATRIX]
    inside = ((y - 10) / 6) ** 2 + ((x - 13) / 9) ** 2 < 1
    inside[:8, 10:12] = inside[11, 12] = False
    return inside


@pytest.fixture(scope="module")
def truth(mask) -> np.ndarray:
    """Parameters off the grid, FF and T1 of patches, df and B1 smooth. Shape (voxels, parameters)."""
    y, x = (np.nonzero(mask)[axis] for axis in (0, 1))
    low, high = DICTIONARY.ends
    patches = np.random.default_rng(0).uniform(0.2, 0.6, (MATRIX, 3))[y // 3 + 8 * (x // 9)]
    unit = np.column_stack([patches, 0.3 + 0.4 * x / MATRIX, 0.4 + (0.3 * y + 0.1 * x) / MATRIX])
    return low + unit * (high - low)


@pytest.fixture(scope="module")
def equations(mask, truth) -> Equations:
    """Of samples that are exact: every readout with its own signal."""
    v, u = np.mgrid[:MATRIX, :MATRIX] / MATRIX
    maps = np.stack([1 - 0.6 * u + 0.5j * v, (0.3 + 0.7 * u * v) * np.exp(2j * u - 1j * v)])
    maps = (maps / np.sqrt(np.sum(np.abs(maps) ** 2, axis=0))).astype(np.complex64)
    signals = readout_signals(PROTOCOL, dict(zip(PROTOCOL.grid, truth.T, strict=True)))
    density = np.random.default_rng(1).uniform(0.7, 1, len(truth)) * np.exp(0.4j)
    y, x = (np.nonzero(mask)[axis] - MATRIX // 2 for axis in (0, 1))
    turns = (SPOKES[..., 0, None] * x + SPOKES[..., 1, None] * y) / MATRIX  # (readouts, samples, voxels)
    emitted = (maps[:, mask] * density)[:, None] * signals.T  # (coils, readouts, voxels)
    kspace = np.swapaxes(np.exp(-2j * np.pi * turns) @ np.moveaxis(emitted, 0, 2), 1, 2).swapaxes(0, 1)
    basis = readout_basis(DICTIONARY)
    weights = ramp_weights(SPOKES, MATRIX)
    arguments = (weights, maps, basis, PROTOCOL.sequence.readouts_per_frame)
    return normal_equations(kspace.astype(np.complex64), SPOKES, *arguments, backend="finufft").with_noise(NOISE)


def test_readout_basis_has_the_dictionarys_for_its_means_over_frames():
    basis = readout_basis(DICTIONARY)
    means = basis.reshape(PROTOCOL.sequence.n_frames, -1, basis.shape[1]).mean(axis=1)
    np.testing.assert_allclose(means, DICTIONARY.basis[:, : basis.shape[1]], atol=1e-6)


def test_readout_basis_gives_the_signals_of_readouts():
    """Of entries it was not fitted to, four times as well as the values of frames."""
    numbers = np.random.default_rng(5).integers(0, DICTIONARY.n_entries, 50)
    signals = readout_signals(PROTOCOL, DICTIONARY.parameters(numbers), DICTIONARY.model)
    n_together, basis = PROTOCOL.sequence.readouts_per_frame, readout_basis(DICTIONARY)
    frames = signals.reshape(len(signals), -1, n_together).mean(axis=2)
    within = signals - np.repeat(frames, n_together, axis=1)
    coefficients = frames @ DICTIONARY.basis[:, : basis.shape[1]].conj()
    found = coefficients @ basis.T
    found -= np.repeat(found.reshape(len(found), -1, n_together).mean(axis=2), n_together, axis=1)
    assert np.linalg.norm(found - within) < 0.25 * np.linalg.norm(within)


def test_a_basis_that_is_turned_is_so_at_readouts():
    """As another machine may compute it."""
    rng, leading = np.random.default_rng(6), DICTIONARY.basis[:, :4]
    turn = np.linalg.qr(rng.standard_normal((4, 4)) + 1j * rng.standard_normal((4, 4)))[0]
    extended = at_readouts((leading @ turn).astype(np.complex64), DICTIONARY)
    np.testing.assert_allclose(extended, at_readouts(leading, DICTIONARY) @ turn, atol=1e-6)


def test_frames_of_one_readout_have_their_own_basis():
    dictionary = build_dictionary(replace(PROTOCOL, sequence=PROTOCOL.sequence.with_single_readouts()), rank=8)
    np.testing.assert_array_equal(
        readout_basis(dictionary), dictionary.basis[:, : dictionary.rank_leaving(ENERGY_LEFT)]
    )


def test_cropped_kernels_are_those_of_the_box(equations, mask):
    """Also of a box that touches no side, and of images that are random there."""
    box = box_of(mask)
    assert mask[box].sum() == mask.sum()
    assert mask[box].shape == (16, 24)
    rank, inside = len(equations.right), mask.copy()
    images = np.zeros((rank, MATRIX, MATRIX), np.complex64)
    images[:, inside] = complex_normal(np.random.default_rng(2), rank, int(inside.sum()))
    cropped = equations.inside(mask, box, cropped_kernels(equations.kernels, *mask[box].shape))
    expected = equations.normal(torch.from_numpy(images)).numpy()[:, mask]
    found = cropped.normal(torch.from_numpy(images[:, *box])).numpy()[:, mask[box]]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(cropped.normal(torch.from_numpy(images[:, *box])).numpy()[:, ~mask[box]], 0)


def test_the_step_solves_the_dense_system(equations, mask, truth, monkeypatch):
    """(J' N J + P) step = J' residual - P start, with N applied to every unit vector, for some voxels."""
    some = mask & (np.indices(mask.shape)[1] // 2 % 4 == 1)  # stripes of neighbours
    values = truth[some[mask]]
    low, high = DICTIONARY.ends
    start = (values - low) / (high - low)
    signals, slopes = interpolated(RICH, values)
    scale = np.random.default_rng(3).uniform(0.5, 1, len(values)) * np.exp(0.7j)
    jacobian = joint.scaled_jacobian(signals, slopes, scale, high - low)
    residual = complex_normal(np.random.default_rng(5), len(values), RICH.rank).astype(np.complex64)
    smooth = Smoothness.of(torch.from_numpy(start), some)
    monkeypatch.setattr(joint, "N_ITERATIONS", 200)
    given = []
    monkeypatch.setattr(joint, "learn", lambda maps, *rest: given.extend(rest) or (maps + 0.1, smooth))
    n_voxels, n_unknowns, rank = jacobian.shape
    n = n_unknowns - 2
    columns, prior = [], np.zeros((n_voxels, n_unknowns, n_voxels, n_unknowns))
    for v in range(n_voxels):
        for u in range(n_unknowns):
            image = np.zeros((rank, MATRIX, MATRIX), np.complex64)
            image[:, *np.argwhere(some)[v]] = jacobian[v, u]
            applied = apply_normal(torch.from_numpy(image), equations.maps, equations.kernels).numpy()[:, some]
            columns.append(np.real(np.sum(jacobian.conj() * applied.T[:, None], axis=2)).ravel())
            unit = torch.zeros((n_voxels, n_unknowns), dtype=torch.float64)
            unit[v, u] = 1
            prior[v, u, :, :n] = smooth.apply(unit[:, :n]).numpy()
    weakest = np.tile([joint.WEAKEST] * n + [1 / joint.SCALE_TRUST**2] * 2, n_voxels)
    dense = np.array(columns).T + prior.reshape(n_voxels * n_unknowns, -1) + np.diag(weakest)
    pull = smooth.apply(torch.from_numpy(start)).numpy()
    right = np.real(np.sum(jacobian.conj() * residual[:, None], axis=2)) - np.pad(pull, ((0, 0), (0, 2)))
    expected = np.linalg.solve(dense, right.ravel()).reshape(n_voxels, n_unknowns)[:, :n]
    found, _ = joint._step(equations, jacobian, residual, start, some)
    monkeypatch.setattr(joint, "N_ITERATIONS", 0)
    np.testing.assert_allclose(joint._step(equations, jacobian, residual, start, some)[0], 0.1)  # where it begins
    # What a voxel tells of its parameters by itself, whatever its scale is: the step that its own block would take.
    own = np.real(jacobian.conj() @ jacobian.swapaxes(1, 2)) + np.diag(weakest[:n_unknowns])
    alone = np.linalg.solve(own, np.real(np.sum(jacobian.conj() * residual[:, None], axis=2))[..., None])[:, :n, 0]
    information, gradient = (each.numpy() for each in given[:2])
    np.testing.assert_allclose(np.linalg.inv(information), np.linalg.inv(own)[:, :n, :n], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(np.linalg.solve(information, gradient[..., None])[..., 0], alone, rtol=1e-3, atol=1e-4)
    # Single precision in the operator, of a system whose condition is some hundred.
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def estimates(series: FrameSeries) -> np.ndarray:
    maps = match_series(series, DICTIONARY)[0]
    return np.stack([maps.si[name][0][series.mask[0]] for name in PROTOCOL.grid], axis=1)


def test_it_finds_what_the_subspace_misses(equations, mask, truth):
    """Of a scan without noise, whose subspace images were stopped early."""
    rank = 6
    whole = (slice(0, MATRIX), slice(0, MATRIX))
    equations = equations.inside(mask, whole, equations.kernels)
    images = solve_subspace(equations.leading(rank), 2, denoised=False)
    series = FrameSeries(
        name="exact",
        images=images[None],
        mask=mask[None],
        affine=np.eye(4),
        sequence_hash=PROTOCOL.sequence.hash,
        basis=DICTIONARY.basis[:, :rank],
        equations=equations,
    )
    low, high = DICTIONARY.ends
    by_subspace = estimates(replace(series, equations=None))
    found = joint_estimates(series, DICTIONARY, lambda signals, among: match_exact(signals, among).entry)
    found = found.parameters
    np.testing.assert_allclose(estimates(series), found, rtol=1e-6)
    before, after = (np.sqrt(np.mean(((at - truth) / (high - low)) ** 2, axis=0)) for at in (by_subspace, found))
    assert np.all(after < 0.7 * before), (before, after)


def test_unexplained_is_the_variance_of_white_noise_and_nothing_of_steps():
    rng, low, high = np.random.default_rng(6), *DICTIONARY.ends
    at = low + rng.uniform(0.2, 0.8, (3000, 5)) * (high - low)
    signals, slopes = interpolated(DICTIONARY, at)
    jacobian = joint.scaled_jacobian(signals, slopes, (2 - 1j) * np.ones(len(at)), high - low)
    step = np.einsum("vu,vur->vr", rng.normal(size=(len(at), 7)), jacobian)
    noise = 0.3 * complex_normal(rng, *signals.shape)
    assert joint.unexplained(jacobian, (step + noise).astype(np.complex64)) == pytest.approx(0.09, rel=0.06)
    assert joint.unexplained(jacobian, step) < 1e-9 * np.mean(np.abs(step) ** 2)


@pytest.mark.parametrize("noise", [NOISE, 0.0])
def test_a_parameter_of_one_value_and_few_coefficients(noise):
    """Steps stay bounded: off-resonance is known here, and 3 coefficients say less than 7 unknowns."""
    protocol = small_protocol(matrix=MATRIX, df="[[0, 0, 1]]")
    dictionary = build_dictionary(protocol, rank=3)
    mask = np.zeros((MATRIX, MATRIX), bool)
    mask[6:14, 5:17] = True
    low, high = dictionary.ends
    start = np.tile(low + 0.4 * (high - low), (int(mask.sum()), 1))
    images = np.zeros((2, MATRIX, MATRIX), np.complex64)
    images[:, mask] = interpolated(dictionary, start)[0].T[:2]
    kernels = torch.eye(3, dtype=torch.complex64)[:, :, None, None].expand(3, 3, 2 * MATRIX, 2 * MATRIX)
    right = torch.from_numpy(np.concatenate([images, 0 * images[:1]]))
    ones = torch.ones((1, MATRIX, MATRIX), dtype=torch.complex64)
    equations = Equations(right=right, maps=ones, kernels=kernels, noise=noise, matrix=MATRIX)
    found = joint.joint_maps(equations, dictionary, start, images, mask)
    assert np.all((found.parameters >= low) & (found.parameters <= high))
    assert np.all(np.isfinite(found.deviations) & (found.deviations > 0))


def test_deviations_are_those_of_a_voxel_whose_neighbours_are_known(equations, mask, truth, monkeypatch):
    """By the inverse of its information and its prior, scale included; with noise of four times the variance, too."""
    rank, variance, kept = 6, 0.02, []
    equations = equations.inside(mask, (slice(0, MATRIX), slice(0, MATRIX)), equations.kernels).leading(rank)
    dictionary = DICTIONARY.in_basis(DICTIONARY.basis[:, :rank])
    images = np.zeros((rank, MATRIX, MATRIX), np.complex64)
    signals, slopes = interpolated(dictionary, truth)
    images[:, mask] = (2 - 1j) * signals.T
    low, high = dictionary.ends
    learn = joint.learn

    def noted(*given):
        kept.append(learn(*given))
        return kept[-1]

    monkeypatch.setattr(joint, "learn", noted)
    for times in (1, 4):
        monkeypatch.setattr(joint, "unexplained", lambda *_, times=times: times * variance)
        found = joint.joint_maps(equations, dictionary, truth, images, mask).deviations
        jacobian = joint.scaled_jacobian(signals, slopes, (2 - 1j) * np.ones(len(truth)), high - low)
        prior = kept[-1][1].diagonal().numpy()
        for voxel in (0, 7, len(truth) - 1):
            rows = np.concatenate([jacobian[voxel].real, jacobian[voxel].imag], axis=1).astype(float)
            precision = rows @ rows.T / (times * variance / 2)
            precision[:5, :5] += np.diag(prior[voxel] + joint.WEAKEST)
            expected = np.sqrt(np.diag(np.linalg.inv(precision)))[:5] * (high - low)
            np.testing.assert_allclose(found[voxel], expected, rtol=1e-3)


def test_a_replica_has_a_share_of_the_noise_of_the_samples_added(monkeypatch):
    """Coils that hear each other, of which prewhitening makes noise of variance 1; b is linear in the samples."""
    rng, n_coils = np.random.default_rng(8), 3
    mixing = np.eye(n_coils) + 0.3 * complex_normal(rng, n_coils, n_coils)
    kspace = np.tensordot(mixing, complex_normal(rng, n_coils, *SPOKES.shape[:2]), 1).astype(np.complex64)
    kspace += 300 * np.exp(-np.hypot(SPOKES[..., 0], SPOKES[..., 1]) / 3).astype(np.float32)
    scan = RawScan(
        name="noise",
        kspace=kspace[None],
        trajectory=SPOKES,
        noise=(mixing @ complex_normal(rng, n_coils, 20_000)).astype(np.complex64),
        affine=np.eye(4),
        matrix=MATRIX,
        fov=PROTOCOL.sequence.fov,
    )
    everywhere = np.ones((MATRIX, MATRIX), bool)
    monkeypatch.setattr(reconstruction, "support", lambda *_: everywhere)
    imaging = Imaging(recon="joint", correct_delays=False)
    made = reconstruction.Reconstruction(
        scan, PROTOCOL.sequence, imaging, basis=DICTIONARY.basis[:, :6], readout_basis=readout_basis(DICTIONARY)
    )
    one = next(iter(made))
    added = (one.replica().equations.right - one.equations.right).numpy()
    # Of about 2,000 independent values, known to 3 %.
    assert np.mean(np.abs(added) ** 2) / one.equations.noise == pytest.approx(REPLICA_NOISE**2, rel=0.15)
