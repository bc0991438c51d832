"""Simulated coefficients against the scanner's scan of the same body, reconstructed; and what is learned from them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import small_protocol

from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.dictionary import build_dictionary
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.density import ramp_weights
from mrfpipe.imaging.normal import apply_normal
from mrfpipe.imaging.nufft import nufft, nufft_adjoint
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.imaging.toeplitz import spread_kernels
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.network import initial_network
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.matching.match import match_series
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.scanner import coil_maps, scan
from mrfpipe.physics.simulate import readout_signals
from mrfpipe.studies import simulated
from mrfpipe.studies.correction import Training, loss_of, matching_errors
from mrfpipe.studies.examples import Source
from mrfpipe.studies.shipped import RECIPES, _unscaled
from mrfpipe.studies.simulated import SimulatedScanner
from mrfpipe.studies.varied import random_coils, varied

CPU, MATRIX = torch.device("cpu"), 32


@pytest.fixture(scope="module")
def protocol():
    return small_protocol(matrix=MATRIX)


@pytest.fixture(scope="module")
def body(protocol):
    sequence = protocol.sequence
    return thigh(matrix=MATRIX, fov=sequence.fov, n_slices=1, slice_spacing=0.012, seed=3)


@pytest.fixture(scope="module")
def tensors(body):
    maps, mask = body.maps, body.maps.mask[0]
    named = {name: torch.from_numpy(np.where(mask, image[0], 0).astype(np.float32)) for name, image in maps.si.items()}
    return named | {"m0": torch.from_numpy(np.where(mask, maps.m0[0], 0).astype(np.float32))}


@pytest.fixture(scope="module")
def scanner(protocol):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated, "FINEST", {"T1H2O": 15, "T1fat": 4, "df": 19, "B1": 7})
        patch.setattr(simulated, "NOISES", 6)
        return SimulatedScanner.of(protocol, CPU, "sigpy", seed=0)


def test_signals_between_grid_points_are_those_simulated(protocol, scanner, tensors):
    inside = tensors["m0"] > 0
    values = {name: image[inside] for name, image in tensors.items() if name != "m0"}
    found = (scanner.signals.at(values) @ scanner.trains.T).numpy()
    exact = readout_signals(protocol, {name: value.double().numpy() for name, value in values.items()})
    scale = np.sum(exact * found.conj(), axis=1) / np.sum(np.abs(found) ** 2, axis=1)
    error = np.linalg.norm(exact - scale[:, None] * found, axis=1) / np.linalg.norm(exact, axis=1)
    # Steps of 10 Hz over echo times that differ by 2 ms err by (2 pi 10 Hz 1 ms)^2 / 8, 5e-4; T1 and B1 more.
    assert error.max() < 6e-3


def test_coefficients_are_those_of_a_scan(protocol, body, tensors, scanner):
    """Up to the intensity of coils, which whitening changes: noise is told apart by its size alone."""
    basis = scanner.basis.numpy()
    raw = scan(body, protocol, n_coils=4, snr=1e6, seed=5)
    theirs = Reconstruction(raw, protocol.sequence, Imaging(recon="subspace"), basis=basis).series().images[0]
    maps = {name: image for name, image in tensors.items() if name != "m0"}
    coils = torch.from_numpy(coil_maps(4, MATRIX))
    ours = scanner.scan(maps, tensors["m0"] + 0j, coils, 1e6, torch.Generator().manual_seed(1)).numpy()
    mask = body.maps.mask[0]
    # sigpy's NUFFT errs by 3e-3, and whitened coils, of which the scan has other ones, see other aliasing.
    assert _apart(theirs[:, mask], ours[:, mask]) < 0.03
    scale = np.sum(theirs * ours.conj(), axis=0)[mask] / np.sum(np.abs(ours) ** 2, axis=0)[mask]
    assert np.abs(np.angle(scale)).max() < 0.2
    assert _apart(theirs[:, mask], ours[:, mask].conj()) > 0.3


def _apart(first, second):
    """Tell how far coefficients `(rank, voxels)` are apart, over the first, each voxel brought to one scale."""
    scale = np.sum(first * second.conj(), axis=0) / np.sum(np.abs(second) ** 2, axis=0)
    return np.linalg.norm(first - scale * second) / np.linalg.norm(first)


def test_noise_is_that_of_a_scan(protocol, body, tensors, scanner):
    """Two scans that differ by their noise differ as much, over the signal, as two that the scanner makes.

    Up to a scale of every voxel, as whitening changes the intensity of coils with their noise.
    """
    basis, mask, snr = scanner.basis.numpy(), body.maps.mask[0], 400.0
    maps, coils = {n: i for n, i in tensors.items() if n != "m0"}, torch.from_numpy(coil_maps(4, MATRIX))
    raws = [scan(body, protocol, n_coils=4, snr=snr, seed=seed) for seed in (5, 6)]
    theirs = [Reconstruction(r, protocol.sequence, Imaging(recon="subspace"), basis=basis).series() for r in raws]
    ours = [
        scanner.scan(maps, tensors["m0"] + 0j, coils, snr, torch.Generator().manual_seed(seed)).numpy()
        for seed in (1, 2)
    ]
    shares = [_apart(*(image[:, mask] for image in pair)) for pair in ([series.images[0] for series in theirs], ours)]
    # Some hundred voxels, denoised by blocks, and whitened coils.
    assert shares[1] == pytest.approx(shares[0], rel=0.2)


def test_noise_is_as_large_as_it_is_said(protocol, tensors, scanner):
    """Twice the noise: twice the difference between two scans of one body."""
    maps, coils = {n: i for n, i in tensors.items() if n != "m0"}, torch.from_numpy(coil_maps(4, MATRIX))
    differences = []
    for snr in (400.0, 200.0):
        pair = [
            scanner.scan(maps, tensors["m0"] + 0j, coils, snr, torch.Generator().manual_seed(seed)) / snr
            for seed in (1, 2)
        ]
        differences.append(float(torch.linalg.vector_norm(pair[0] - pair[1])))
    assert differences[1] / differences[0] == pytest.approx(2, rel=0.15)  # drawn, and denoised


def test_kernels_from_trains_are_sampling_and_summing(protocol):
    """Against the NUFFT there and back, with other sensitivities there than back."""
    rng, sequence = np.random.default_rng(0), protocol.sequence
    trajectory = golden_angle_spokes(sequence)[::8]
    weights = ramp_weights(trajectory, MATRIX)
    trains, basis = (np.linalg.qr(_complex(rng, len(trajectory), n))[0].astype(np.complex64) for n in (3, 2))
    images, coils, back = (_complex(rng, n, MATRIX, MATRIX).astype(np.complex64) for n in (3, 2, 2))
    expected = 0
    for coil, other in zip(coils, back, strict=True):
        samples = np.einsum("rjs,jr->js", nufft(coil * images, trajectory), trains)
        parts = (basis.conj().T[:, :, None] * (weights * samples)).astype(np.complex64)
        expected = expected + other.conj() * nufft_adjoint(parts, trajectory, MATRIX)
    kernels = spread_kernels(trajectory, weights, basis, trains, MATRIX)
    tensors = (torch.from_numpy(array) for array in (images, coils))
    found = apply_normal(*tensors, kernels, torch.from_numpy(back)).numpy()
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 2e-2  # sigpy's NUFFT errs by 3e-3, twice
    assert np.linalg.norm(found.conj() - expected) / np.linalg.norm(expected) > 0.5


def _complex(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def test_bodies_vary_within_the_grid(protocol, tensors):
    first, second = (varied(tensors, protocol.grid, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    again = varied(tensors, protocol.grid, torch.Generator().manual_seed(0))
    for maps, m0 in (first, second):
        inside = m0 != 0
        assert 0.05 < float(inside.float().mean()) < 0.9
        for name, axis in protocol.grid.items():
            values = maps[name][inside]
            assert axis[0] - 1e-6 <= float(values.min()) < float(values.max()) <= axis[-1] + 1e-6
    for name, image in first[0].items():
        torch.testing.assert_close(image, again[0][name])
        assert not torch.equal(image, second[0][name])
    coils = random_coils(5, MATRIX, CPU, torch.Generator().manual_seed(0))
    assert coils.shape == (5, MATRIX, MATRIX)
    assert float(torch.linalg.vector_norm(coils, dim=0).min()) > 0


def test_an_example_is_matched_and_its_precision_is_the_bound(protocol, tensors, scanner):
    """Bounds against those of simulated signals, slopes by wider differences, a voxel at a time."""
    source = Source(scanner, protocol, [tensors], torch.Generator().manual_seed(4))
    example = source()
    inside = example.precision[0] > 0
    ff = (example.matched[0] - example.maps[0])[inside]
    assert float(ff.square().mean().sqrt()) < 0.2  # matched, and of this very body
    values = {name: image[tensors["m0"] > 0][::150] for name, image in tensors.items() if name != "m0"}
    found = source._bounds(values, torch.ones(len(values["FF"]))).numpy()
    names, n = list(protocol.grid), len(values["FF"])
    at = {name: value.double().numpy() for name, value in values.items()}
    spans = {name: protocol.grid[name][-1] - protocol.grid[name][0] for name in names}
    clean, columns = readout_signals(protocol, at), []
    for name in names:
        up, down = (np.clip(at[name] + way * 0.01 * spans[name], *protocol.grid[name][[0, -1]]) for way in (1, -1))
        slope = readout_signals(protocol, at | {name: up}) - readout_signals(protocol, at | {name: down})
        columns.append(slope / ((up - down) / spans[name])[:, None])
    for v in range(n):
        jacobian = np.stack([*(column[v] for column in columns), clean[v], 1j * clean[v]])
        bound = np.diag(np.linalg.inv((jacobian @ jacobian.conj().T).real))[: len(names)]
        counts = [True, at["FF"][v] < 0.9, at["FF"][v] > 0.1, True, True]
        np.testing.assert_allclose(found[counts, v], bound[counts], rtol=0.3)  # of slopes of interpolated signals


def test_a_model_is_shown_what_its_training_showed(protocol, tensors, scanner, monkeypatch):
    """A scan's maps by the training's layout of channels, and by `reconstruct` from its coefficients."""
    kept = []

    def noted(*given):
        kept.append(SimulatedScanner.scan(scanner, *given))
        return kept[-1]

    source = Source(scanner, protocol, [tensors], torch.Generator().manual_seed(4))
    monkeypatch.setattr(source, "_scanner", SimpleNamespace(signals=scanner.signals, scan=noted))
    example = source()
    inside = (example.precision[0] > 0).numpy()
    basis, n_maps = scanner.basis.numpy(), len(protocol.parameters)
    parts = example.coefficients[:, example.precision[0] > 0].numpy()
    encoding = Encoding.measured(basis, parts, lengths=True)
    preset = replace(RECIPES["small"].preset, receptive_field=3, n_parameters=25_000, n_nonlinearities=4)
    architecture = preset.proposed(2 * basis.shape[1] + n_maps, 2 * n_maps)
    training = Training(
        preset=preset,
        seconds=0,
        network=initial_network(architecture, torch.Generator().manual_seed(1)).eval(),
        source=source,
        held_out=[example],
        mean=torch.from_numpy(encoding.mean),
        deviation=torch.from_numpy(encoding.deviation),
        scale=matching_errors([example]),
        random=np.random.default_rng(0),
    )
    with torch.no_grad():
        training.network.output.weight.mul_(0.3)
        margin = training.network.margin
        padded = (torch.nn.functional.pad(part, [margin] * 4)[None] for part in (example.coefficients, example.matched))
        estimate = training.network(training._shown(*padded))[0]
        unit = example.matched + estimate[:n_maps] * training.scale
        deviation = (estimate[n_maps:].exp() * training.scale).numpy()
    scaling = MapScaling.of(protocol)
    model = TrainedModel(
        network=_unscaled(training, n_maps),
        architecture=architecture,
        scaling=scaling,
        encoding=encoding,
        sequence_hash=protocol.sequence.hash,
        protocol_hash=protocol.hash,
        protocol_toml=protocol.toml,
        corrects=True,
        record={"input": "coefficients"},
    )
    series = FrameSeries(
        name="scan",
        images=kept[0].numpy()[None],
        mask=inside[None],
        affine=np.eye(4),
        sequence_hash=protocol.sequence.hash,
        basis=basis,
    )
    dictionary = build_dictionary(protocol)
    found = reconstruct(series, model, protocol, device=CPU, match=lambda one: match_series(one, dictionary)[0])[0]
    for i, parameter in enumerate(protocol.parameters):
        expected, span = scaling.from_unit(unit.numpy())[i], scaling.high[i] - scaling.low[i]
        assert np.std(unit.numpy()[i][inside] - example.matched.numpy()[i][inside]) > 1e-3, "no correction says nothing"
        np.testing.assert_allclose(found.si[parameter.name][0][inside], expected[inside], atol=2e-4 * span)
        np.testing.assert_allclose(found.sd[parameter.name][0][inside], span * deviation[i][inside], rtol=2e-3)


def test_the_loss_is_relative_and_its_deviations_are_those_of_the_errors():
    generator = torch.Generator().manual_seed(0)
    errors, precision = torch.randn(2, 5, 8, 8, generator=generator), torch.ones(2, 5, 8, 8)
    nothing = torch.zeros(2, 10, 8, 8)
    at_zero, of_tenth = loss_of(nothing, errors, precision), loss_of(nothing, 0.1 * errors, precision)
    assert float(of_tenth - at_zero) < 5 * np.log(0.01) + 0.1  # every map's error counts by its ratio
    scale = nothing.clone()
    scale[:, 5:] = errors.square().mean().sqrt().log()
    for shift in (-0.3, 0.3):
        other = scale.clone()
        other[:, 5:] += shift
        assert loss_of(other, errors, precision) > loss_of(scale, errors, precision)
    outside = precision.clone()
    outside[..., 4:] = 0
    far = errors.clone()
    far[..., 4:] = 1e6
    torch.testing.assert_close(
        loss_of(nothing, far, outside), loss_of(nothing, torch.where(outside > 0, errors, 0), outside)
    )
