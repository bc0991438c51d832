"""Simulated coefficients against the scanner's scan of the same body, reconstructed; and what is learned from them."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import small_protocol

from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.density import ramp_weights
from mrfpipe.imaging.normal import apply_normal
from mrfpipe.imaging.nufft import nufft, nufft_adjoint
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.imaging.toeplitz import spread_kernels
from mrfpipe.learning.correction import Example, Training, _finished, fit_errors, loss_of
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.network import initial_network
from mrfpipe.learning.presets import CORRECTING
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.matching.joint import fitted
from mrfpipe.phantom import simulated
from mrfpipe.phantom.anatomy import thigh
from mrfpipe.phantom.draw import Draw
from mrfpipe.phantom.patchwork import patchwork
from mrfpipe.phantom.scanner import coil_maps, scan
from mrfpipe.phantom.simulated import SimulatedScanner
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.phantom.varied import _blurred, random_coils, varied
from mrfpipe.physics.simulate import readout_signals
from mrfpipe.protocol import load_protocol
from mrfpipe.readout_basis import readout_basis
from mrfpipe.run.examples import Source, generator, kept_examples, people
from mrfpipe.run.held_out import coefficients_of

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
        patch.setattr(simulated, "NOISES", 6)
        return SimulatedScanner.of(build_dictionary(protocol), CPU, "sigpy", seed=0)


def test_signals_between_grid_points_are_those_simulated(protocol, scanner, tensors):
    inside = tensors["m0"] > 0
    values = {name: image[inside] for name, image in tensors.items() if name != "m0"}
    found = scanner._signals(tensors, inside)[0] @ scanner.readouts.basis.T
    exact = readout_signals(protocol, {name: value.double().numpy() for name, value in values.items()})
    scale = np.sum(exact * found.conj(), axis=1) / np.sum(np.abs(found) ** 2, axis=1)
    error = np.linalg.norm(exact - scale[:, None] * found, axis=1) / np.linalg.norm(exact, axis=1)
    # The grid is coarse: cubics through points 20 Hz and 200 ms apart, and T1 of fat at two values.
    assert error.max() < 1e-2


def test_coefficients_are_those_of_a_scan(protocol, body, tensors, scanner):
    """Up to the intensity of coils, which whitening changes: noise is told apart by its size alone."""
    basis = scanner.basis
    raw = scan(body, protocol, n_coils=4, snr=1e6, seed=5)
    dictionary = build_dictionary(protocol)
    bases = {"basis": basis, "readout_basis": readout_basis(dictionary)}
    scanned = next(iter(Reconstruction(raw, protocol.sequence, Imaging(recon="joint"), **bases)))
    theirs = scanned.images[0]
    np.testing.assert_array_equal(coefficients_of(raw, dictionary, CPU)[0].images[0], theirs)
    maps = {name: image for name, image in tensors.items() if name != "m0"}
    coils = torch.from_numpy(coil_maps(4, MATRIX))
    simulated = scanner.scan(maps, tensors["m0"] + 0j, coils, 1e6, torch.Generator().manual_seed(1))
    ours, mask = simulated.images[0], body.maps.mask[0]
    # sigpy's NUFFT errs by 3e-3, and whitened coils, of which the scan has other ones, see other aliasing.
    assert _apart(theirs[:, mask], ours[:, mask]) < 0.03
    scale = np.sum(theirs * ours.conj(), axis=0)[mask] / np.sum(np.abs(ours) ** 2, axis=0)[mask]
    assert np.abs(np.angle(scale)).max() < 0.2
    # The basis is nearly real, and so are most coefficients.
    assert _apart(theirs[:, mask], ours[:, mask].conj()) > 0.1
    # So are the right-hand sides, in all basis vectors of a joint reconstruction.
    rights = [one.equations.right.numpy()[:, mask[one.equations.box]] for one in (scanned, simulated)]
    assert len(rights[0]) > len(theirs)
    assert _apart(*rights) < 0.03


def _apart(first, second):
    """Tell how far coefficients `(rank, voxels)` are apart, over the first, each voxel brought to one scale."""
    scale = np.sum(first * second.conj(), axis=0) / np.sum(np.abs(second) ** 2, axis=0)
    return np.linalg.norm(first - scale * second) / np.linalg.norm(first)


def test_noise_is_that_of_a_scan(protocol, body, tensors, scanner):
    """Two scans that differ by their noise differ as much, over the signal, as two that the scanner makes.

    Up to a scale of every voxel, as whitening changes the intensity of coils with their noise.
    """
    basis, mask, snr = scanner.basis, body.maps.mask[0], 400.0
    maps, coils = {n: i for n, i in tensors.items() if n != "m0"}, torch.from_numpy(coil_maps(4, MATRIX))
    raws = [scan(body, protocol, n_coils=4, snr=snr, seed=seed) for seed in (5, 6)]
    bases = {"basis": basis, "readout_basis": readout_basis(build_dictionary(protocol))}
    theirs = [next(iter(Reconstruction(r, protocol.sequence, Imaging(recon="joint"), **bases))) for r in raws]
    ours = [
        scanner.scan(maps, tensors["m0"] + 0j, coils, snr, torch.Generator().manual_seed(seed)).images[0]
        for seed in (1, 2)
    ]
    assert scanner.noise == pytest.approx(theirs[0].equations.noise, rel=1e-4)  # the least that a fit assumes
    shares = [_apart(*(image[:, mask] for image in pair)) for pair in ([series.images[0] for series in theirs], ours)]
    # Some hundred voxels, denoised by blocks, and whitened coils.
    assert shares[1] == pytest.approx(shares[0], rel=0.2)


def test_noise_is_as_large_as_it_is_said(protocol, tensors, scanner):
    """Twice the noise: twice the difference between two scans of one body."""
    maps, coils = {n: i for n, i in tensors.items() if n != "m0"}, torch.from_numpy(coil_maps(4, MATRIX))
    differences = []
    for snr in (400.0, 200.0):
        pair = [
            scanner.scan(maps, tensors["m0"] + 0j, coils, snr, torch.Generator().manual_seed(seed)).images / snr
            for seed in (1, 2)
        ]
        differences.append(float(np.linalg.norm(pair[0] - pair[1])))
    assert differences[1] / differences[0] == pytest.approx(2, rel=0.15)  # drawn, and denoised


def test_tissue_has_texture_finer_than_a_voxel_and_fields_have_none(protocol):
    """By how four neighbours differ crosswise, over how two differ: 1.4 for white noise, less the smoother a map is."""
    inside = torch.zeros((64, 64))
    inside[12:52, 12:52] = 1
    values = {"FF": 0.5, "T1H2O": 1.2, "T1fat": 0.3, "df": 0.0, "B1": 0.7, "m0": 1.0}
    fine = {"FF": [], "T1H2O": [], "B1": []}
    for seed in range(32):
        body = {name: value * inside for name, value in values.items()}
        maps, m0 = varied(body, protocol, torch.Generator().manual_seed(seed))
        there = m0 != 0
        whole = there[1:, 1:] & there[1:, :-1] & there[:-1, 1:] & there[:-1, :-1]
        for name, kept in fine.items():
            beside = maps[name][:, 1:] - maps[name][:, :-1]
            crosswise = (beside[1:] - beside[:-1])[whole].abs().median()
            kept.append(float(crosswise / beside[1:][whole].abs().median().clamp(min=1e-9)))
    # With scales of 0.7 voxels and more 0.8 to 0.9, with finer ones 1.2 to 1.3.
    assert min(np.median(fine["FF"]), np.median(fine["T1H2O"])) > 1.05
    assert np.median(fine["B1"]) < 1.05


def test_edges_are_blurred_within_the_body_alone():
    """A step becomes the error function, the level of a body stays, and nothing enters from outside."""
    matrix, scale = 64, 1.1
    draw = SimpleNamespace(even=lambda _low, _high: scale, blurred=Draw(matrix, torch.Generator()).blurred)
    mask = torch.zeros((matrix, matrix), dtype=torch.bool)
    mask[8:56, 6:58] = True
    step = torch.where(torch.arange(matrix) < 30, 0.2, 0.8).expand(matrix, matrix)
    blurred, level = _blurred(draw, torch.stack([step, torch.full_like(step, 0.7)]) * mask, mask)
    torch.testing.assert_close(level, 0.7 * mask)
    x = torch.arange(matrix) - 29.5
    expected = 0.5 + 0.3 * torch.erf(x / (scale * 2**0.5))
    # Half a step off its middle, as voxels are sampled; far from the ends, where the body weighs both sides alike.
    torch.testing.assert_close(blurred[32, 12:52], expected[12:52], atol=0.01, rtol=0)
    assert float(blurred[~mask].abs().max()) == 0


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
    first, second = (varied(tensors, protocol, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    again = varied(tensors, protocol, torch.Generator().manual_seed(0))
    for maps, m0 in (first, second):
        inside = m0 != 0
        assert 0.05 < float(inside.float().mean()) < 0.9
        for name, axis in protocol.grid.items():
            values = maps[name][inside]
            assert axis[0] - 1e-6 <= float(values.min()) < float(values.max()) <= axis[-1] + 1e-6
    for name, image in first[0].items():
        torch.testing.assert_close(image, again[0][name])
        assert not torch.equal(image, second[0][name])
    coils = random_coils(5, MATRIX, torch.Generator().manual_seed(0))
    assert coils.shape == (5, MATRIX, MATRIX)
    assert float(torch.linalg.vector_norm(coils, dim=0).min()) > 0


@pytest.fixture(scope="module")
def body_arrays(tensors):
    return {name: image.numpy() for name, image in tensors.items()}


def test_an_example_is_fitted_and_its_precision_is_the_bound(protocol, tensors, body_arrays, scanner):
    """Bounds against those of simulated signals, slopes by wider differences, a voxel at a time."""
    example = Source(scanner, build_dictionary(protocol), CPU, 4)(0, body_arrays)
    ff = (example.fitted[0] - example.maps[0])[example.inside]
    assert float(ff.square().mean().sqrt()) < 0.2  # fitted, and of this very body
    some = torch.zeros_like(tensors["m0"])
    some[tuple(torch.nonzero(tensors["m0"])[::150].T)] = 1
    values = {name: image[some > 0] for name, image in tensors.items() if name != "m0"}
    found = scanner.bounds(tensors, some + 0j)
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
        bound = np.diag(np.linalg.inv(2 * (jacobian @ jacobian.conj().T).real))[: len(names)]
        counts = [True, at["FF"][v] < 0.9, at["FF"][v] > 0.1, True, True]
        np.testing.assert_allclose(found[counts, v], bound[counts], rtol=0.3)  # of slopes of interpolated signals


def test_a_model_is_shown_what_its_training_showed(protocol, body_arrays, scanner, monkeypatch):
    """A scan's maps by the training's layout of channels, and by `reconstruct` from its coefficients."""
    kept = []

    def noted(*given):
        kept.append(SimulatedScanner.scan(scanner, *given))
        return kept[-1]

    dictionary = build_dictionary(protocol)
    source = Source(scanner, dictionary, CPU, 4)
    monkeypatch.setattr(source, "_scanner", SimpleNamespace(bounds=scanner.bounds, scan=noted, noise=scanner.noise))
    example = source(0, body_arrays)
    inside = example.inside.numpy()
    basis, n_maps = scanner.basis, len(protocol.parameters)
    encoding = Encoding.measured(basis, example.coefficients[:, example.inside].numpy())
    preset = replace(CORRECTING["small"], receptive_field=3, n_parameters=25_000, n_nonlinearities=4)
    architecture = preset.proposed(2 * (basis.shape[1] + n_maps), 2 * n_maps)
    names = [p.name for p in protocol.parameters]
    training = Training(
        preset=preset,
        network=initial_network(architecture, torch.Generator().manual_seed(1)).eval(),
        examples=[example],
        held_out=[example],
        encoding=encoding,
        scale=fit_errors([example]),
        scaling=MapScaling.of(protocol),
        seed=0,
    )
    spread = dict(zip(names, (1.0, 2.0, 0.5, 1.5, 0.8), strict=True))
    with torch.no_grad():
        training.network.output.weight.mul_(0.6)
        margin = training.network.margin
        estimate = training.network(torch.nn.functional.pad(training.shown(example), [margin] * 4)[None])[0]
        unit = example.fitted + estimate[:n_maps] * training.scale
        off = torch.tensor(list(spread.values()))[:, None, None]
        deviation = (torch.exp(estimate[n_maps:] + example.log_sd) * off).numpy()
    scaling = MapScaling.of(protocol)
    model = TrainedModel(
        network=_finished(training, spread),
        architecture=architecture,
        scaling=scaling,
        encoding=encoding,
        sequence_hash=protocol.sequence.hash,
        protocol_hash=protocol.hash,
        protocol_toml=protocol.toml,
        corrects=True,
        record={"input": "coefficients"},
    )
    scanned = replace(kept[0], mask=inside[None])
    fit = partial(fitted, dictionary=dictionary, device=CPU)
    found = reconstruct(scanned, model, protocol, device=CPU, fit=fit)[0]
    for i, parameter in enumerate(protocol.parameters):
        expected, span = scaling.from_unit(unit.numpy())[i], scaling.high[i] - scaling.low[i]
        assert np.std(unit.numpy()[i][inside] - example.fitted.numpy()[i][inside]) > 1e-3, "no correction says nothing"
        np.testing.assert_allclose(found.si[parameter.name][0][inside], expected[inside], atol=2e-4 * span)
        np.testing.assert_allclose(found.sd[parameter.name][0][inside], span * deviation[i][inside], rtol=2e-3)


def test_the_loss_is_relative_and_its_deviations_are_those_of_the_errors():
    generator = torch.Generator().manual_seed(0)
    errors, precision = torch.randn(2, 5, 8, 8, generator=generator), torch.ones(2, 5, 8, 8)
    nothing, log_sd = torch.zeros(2, 10, 8, 8), torch.zeros(2, 5, 8, 8)

    def loss(estimate, errors, precision=precision, log_sd=log_sd):
        return loss_of(estimate, torch.cat([errors, precision, log_sd], dim=1))

    # Every map's error counts by its ratio.
    assert float(loss(nothing, 0.1 * errors) - loss(nothing, errors)) < 5 * np.log(0.01) + 0.1
    scale = nothing.clone()
    scale[:, 5:] = errors.square().mean().sqrt().log()
    for shift in (-0.3, 0.3):
        other = scale.clone()
        other[:, 5:] += shift
        assert loss(other, errors) > loss(scale, errors)
        # What is learned comes on top of the deviation of the fit.
        torch.testing.assert_close(loss(other, errors), loss(scale, errors, log_sd=log_sd + shift))
    outside = precision.clone()
    outside[..., 4:] = 0
    far = errors.clone()
    far[..., 4:] = 1e6
    torch.testing.assert_close(loss(nothing, far, outside), loss(nothing, torch.where(outside > 0, errors, 0), outside))


def test_patches_reach_over_the_border_as_windows_of_an_estimate_do(protocol):
    """A patch at the corner of an image of ones has ones inside and zeros beyond, in what is read and what is asked."""
    one = torch.ones((2, 8, 8))
    example = Example(coefficients=one + 0j, fitted=0.25 * one, log_sd=-4 * one, maps=0.75 * one, precision=one)
    preset = replace(CORRECTING["small"], receptive_field=3, n_parameters=25_000, n_nonlinearities=4, patch_size=4)
    training = Training(
        preset=replace(preset, batch_size=40),
        network=initial_network(preset.proposed(8, 4), torch.Generator().manual_seed(1)),
        examples=[example],
        held_out=[example],
        encoding=Encoding(
            basis=np.eye(3, 2, dtype=np.complex64), mean=np.zeros(2, np.complex64), deviation=np.ones(2, np.float32)
        ),
        scale=torch.full((2, 1, 1), 0.5),
        scaling=MapScaling(parameters=PARAMETERS[:2], low=(0.0, 0.0), high=(1.0, 1.0)),
        seed=0,
    )
    read, aims = training.batch(np.random.default_rng(0))
    errors, precision, log_sd = aims.chunk(3, dim=1)
    margin = training.network.margin
    assert read.shape[-1] == errors.shape[-1] + 2 * margin
    inside = precision > 0
    assert 0 < int((~inside).sum()) < inside.numel() / 2
    torch.testing.assert_close(errors[inside], torch.ones_like(errors[inside]))  # (0.75 - 0.25) / 0.5
    torch.testing.assert_close(log_sd[inside], torch.full_like(log_sd[inside], -4 - np.log(0.5)))
    torch.testing.assert_close(read[:, 4, margin:-margin, margin:-margin], -0.5 * inside[:, 0].float())
    torch.testing.assert_close(read[:, 6, margin:-margin, margin:-margin], 0.2 * inside[:, 0].float())
    torch.testing.assert_close(read[:, 0, margin:-margin, margin:-margin], inside[:, 0].float())


def test_errors_are_compared_with_the_deviations_where_a_map_counts():
    """By a network that corrects nothing: the spread is that of the fit. T1 of water counts in half of the voxels."""
    rng, n_maps, shape = np.random.default_rng(5), 2, (2, 12, 10)
    fitted, maps, log_sd = (torch.from_numpy(rng.random(shape, np.float32)) for _ in range(3))
    example = Example(
        coefficients=torch.ones(2, 12, 10) + 0j,
        fitted=fitted,
        log_sd=log_sd - 4,
        maps=maps,
        precision=torch.ones(shape),
    )
    preset = replace(CORRECTING["small"], receptive_field=3, n_parameters=25_000, n_nonlinearities=4, patch_size=4)
    network = initial_network(preset.proposed(8, 4), torch.Generator().manual_seed(1))
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias.zero_()
    training = Training(
        preset=preset,
        network=network,
        examples=[example],
        held_out=[example, example],
        encoding=Encoding(
            basis=np.eye(3, 2, dtype=np.complex64), mean=np.zeros(2, np.complex64), deviation=np.ones(2, np.float32)
        ),
        scale=torch.full((2, 1, 1), 0.5),
        scaling=MapScaling(parameters=PARAMETERS[:n_maps], low=(0.0, 0.0), high=(1.4, 1.0)),
        seed=0,
    )
    found = training.errors()
    z = (torch.abs(maps - fitted) * torch.exp(4 - log_sd)).numpy()
    lean = 1.4 * maps[0].numpy() <= 0.7
    assert 0.3 < lean.mean() < 0.7
    expected = [np.median(one) / 0.67449 for one in (z[0], z[1][lean])]
    assert list(found["spread"].values()) == pytest.approx(expected, rel=0.03)  # torch takes the lower of two medians
    assert abs(np.median(z[1]) / 0.67449 - expected[1]) > 0.1
    assert list(found["ratio"].values()) == pytest.approx([1, 1])


def test_every_protocol_has_a_body_and_no_t2_is_longer_than_its_t1():
    protocol = load_protocol("fisp")
    bodies = [patchwork(protocol, generator(CPU, 0, number)) for number in range(2)]
    for body in bodies:
        inside = body["m0"] > 0
        assert 0.15 < float(inside.float().mean()) < 0.75
        for p in protocol.parameters:
            axis, values = protocol.grid[p.name], body[p.name][inside]
            assert axis[0] <= float(values.min()) < float(values.max()) <= axis[-1]
        assert bool((body["T2"] <= body["T1"])[inside].all())
    assert not torch.equal(bodies[0]["T1"], bodies[1]["T1"])
    assert torch.equal(patchwork(protocol, generator(CPU, 0, 1))["T1"], bodies[1]["T1"])


def test_splits_have_no_person_in_common():
    training, testing = people(5, "training", 3), people(5, "testing", 3)
    assert len({person.seed for person in (*training, *testing)}) == 10
    assert people(3, "training", 3) == training[:3]


def test_scans_of_another_source_and_damaged_ones_are_not_gone_on_with(protocol, tmp_path):
    (subject,) = people(1, "training", 0)
    one = torch.ones((2, 4, 4))
    example = Example(coefficients=one + 2j, fitted=one, log_sd=-one, maps=2 * one, precision=3 * one)
    source = SimpleNamespace(settings={"seed": 0}, protocol=protocol)
    (tmp_path / "source.json").write_text('{"seed": 0}')
    example.save(tmp_path / f"{subject.name}.safetensors")
    (kept,) = kept_examples(source, [subject], tmp_path, 1, lambda _done, _total: None)
    for name in ("coefficients", "fitted", "log_sd", "maps", "precision"):
        assert torch.equal(getattr(kept, name), getattr(example, name))
    source.settings = {"seed": 1}
    with pytest.raises(MismatchError, match="scans of another protocol, signal model, seed or version of mrfpipe"):
        kept_examples(source, [subject], tmp_path, 1, lambda _done, _total: None)
    (tmp_path / f"{subject.name}.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="is damaged"):
        Example.load(tmp_path / f"{subject.name}.safetensors")
