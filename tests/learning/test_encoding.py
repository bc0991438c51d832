from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import complex_normal

from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.evaluation.metrics import r2
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.model import load_model, save_model
from mrfpipe.learning.training import train

CPU = torch.device("cpu")
ROUNDED = 2e-3
"""Encoded values are of order 1. complex64 rounds directions to 1e-7, small signals' ones to more, and the least
deviation divides them: most are off by 1e-5. A lost conjugate, phase or frame shifts them by tenths."""


@pytest.fixture(scope="module")
def basis(protocol):
    return build_dictionary(protocol, rank=4).basis


def test_encoded_training_scans_are_standardised(basis, make_scan):
    scans = [make_scan(seed)[0] for seed in (1, 2)]
    encoding = Encoding.of(basis, scans)
    encoded = [encoding.encode(scan) for scan in scans]
    inside = np.concatenate([scan.images[s][:, scan.mask[s]] for scan in encoded for s in range(2)], axis=1)
    # complex64 means of two thousand values of order 1.
    np.testing.assert_allclose(inside.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(np.mean(np.abs(inside) ** 2, axis=1), 2, rtol=1e-3)
    for scan in encoded:
        assert scan.images.shape == (2, 4, *scan.mask.shape[1:])
        assert np.all(scan.images[:, 0][~scan.mask] == 0)
        # The first coefficient, of at most 1, is real but for the rounding of complex64.
        shifted = scan.images[:, 0] * encoding.deviation[0] + encoding.mean[0]
        np.testing.assert_allclose(shifted.imag[scan.mask], 0, atol=1e-5)


def test_encoding_forgets_scale_and_phase_and_nothing_else(basis, make_scan):
    """The slow twin: voxel by voxel, projected, turned, scaled."""
    scan, _ = make_scan(1)
    encoding = Encoding.of(basis, [scan])
    rng = np.random.default_rng(0)
    factor = complex_normal(rng, 2, 1, *scan.mask.shape[1:])
    changed = replace(scan, images=(scan.images * factor).astype(np.complex64))
    np.testing.assert_allclose(encoding.encode(changed).images, encoding.encode(scan).images, atol=ROUNDED)
    s, y, x = np.argwhere(scan.mask)[77]
    c = [np.vdot(basis[:, r], scan.images[s, :, y, x]) for r in range(4)]
    c = np.array(c) * np.exp(-1j * np.angle(c[0])) / np.linalg.norm(c)
    expected = (c - encoding.mean) / encoding.deviation
    np.testing.assert_allclose(encoding.encode(scan).images[s, :, y, x], expected, atol=ROUNDED)


def test_bad_frames_and_bad_encodings_are_refused(basis, make_scan):
    scan, _ = make_scan(1)
    encoding = Encoding.of(basis, [scan])
    spoiled = scan.images.copy()
    spoiled[1, 2, 3, 4] = np.nan
    with pytest.raises(InputError, match="the frames of slice 2 are not finite"):
        encoding.encode(replace(scan, images=spoiled))
    with pytest.raises(InputError, match="mask holds no voxel"):
        encoding.encode(replace(scan, mask=np.zeros_like(scan.mask)))
    with pytest.raises(ValueError, match="mean has shape"):
        replace(encoding, mean=encoding.mean[1:])
    with pytest.raises(ValueError, match="deviation must be positive"):
        replace(encoding, deviation=np.zeros_like(encoding.deviation))


@pytest.fixture(scope="module")
def encoded_model(protocol, tiny_preset, make_scan):
    series, labels = zip(*(make_scan(seed) for seed in (1, 2, 3)), strict=True)
    preset = replace(tiny_preset, rank=8, n_epochs=40, patch_size=4, batch_size=32)
    return train(series, labels, preset=preset, protocol=protocol, device=CPU)


def test_a_network_that_reads_coefficients_is_trained_saved_and_used(encoded_model, protocol, make_scan, tmp_path):
    assert encoded_model.architecture.n_inputs == 16
    save_model(encoded_model, tmp_path)
    loaded = load_model(tmp_path, CPU)
    scan, truth = make_scan(11)
    maps, again = (reconstruct(scan, model, protocol, device=CPU)[0] for model in (encoded_model, loaded))
    np.testing.assert_array_equal(maps.si["FF"], again.si["FF"])
    for name, least in (("FF", 0.5), ("df", 0.6), ("B1", 0.3)):
        assert r2(maps[name][maps.mask], truth[name][maps.mask]) > least, name


@pytest.mark.parametrize("damage", ["missing", "nan", "shape", "rank"])
def test_a_damaged_encoding_is_refused(encoded_model, tmp_path, damage):
    from safetensors.torch import load_file, save_file

    save_model(encoded_model, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    if damage == "missing":
        del tensors["encoding.mean"]
    elif damage == "nan":
        tensors["encoding.deviation"][1] = torch.nan
    elif damage == "shape":
        tensors["encoding.mean"] = tensors["encoding.mean"][1:].clone()
    else:
        tensors |= {
            k: v.repeat_interleave(2, dim=-2 if k.endswith("basis") else 0)
            for k, v in tensors.items()
            if k.startswith("enc")
        }
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors: the encoding"):
        load_model(tmp_path, CPU)


def as_coefficients(scan, basis):
    """Give a scan the form that a subspace reconstruction has."""
    images = np.einsum("fr,sfyx->sryx", basis.conj(), scan.images).astype(np.complex64)
    return replace(scan, images=images, basis=basis)


def test_coefficients_are_encoded_as_the_frames_they_make(protocol, basis, make_scan):
    """Of the same basis, and of one of higher rank that is turned."""
    scan, _ = make_scan(1)
    encoding = Encoding.of(basis, [scan])
    rng = np.random.default_rng(4)
    turn = np.linalg.qr(complex_normal(rng, 6, 6))[0].astype(np.complex64)
    for other in (basis, build_dictionary(protocol, rank=6).basis @ turn):
        coefficients = as_coefficients(scan, other)
        encoded = encoding.encode(coefficients)
        np.testing.assert_allclose(encoded.images, encoding.encode(scan).images, atol=ROUNDED)
        assert encoded.basis is None
        # complex64 means of a thousand values of at most 1.
        np.testing.assert_allclose(Encoding.of(basis, [coefficients]).mean, encoding.mean, atol=1e-4)


def test_a_network_of_coefficients_reads_them_and_nothing_else(protocol, tiny_preset, make_scan):
    basis = build_dictionary(protocol, rank=8).basis
    scans, labels = zip(*(make_scan(seed) for seed in (1, 2)), strict=True)
    series = [as_coefficients(scan, basis) for scan in scans]
    preset = replace(tiny_preset, rank=6, n_epochs=1)
    model = train(series, labels, preset=preset, protocol=protocol, device=CPU)
    assert model.architecture.n_inputs == 12
    maps = reconstruct(series[0], model, protocol, device=CPU)[0]
    assert maps.mask.any()
    assert np.all(maps.match[maps.mask] <= 1)
    of_frames = train(scans, labels, preset=preset, protocol=protocol, device=CPU)
    with pytest.raises(MismatchError, match="scan1 holds frames, the model was trained on coefficients; reconstruct"):
        reconstruct(scans[0], model, protocol, device=CPU)
    with pytest.raises(MismatchError, match="scan1 holds coefficients, the model was trained on frames; reconstruct"):
        reconstruct(series[0], of_frames, protocol, device=CPU)
    with pytest.raises(MismatchError, match="scan1 has 5 coefficients, the model reads 6"):
        reconstruct(as_coefficients(scans[0], basis[:, :5]), model, protocol, device=CPU)
    with pytest.raises(MismatchError, match="scan2 holds coefficients and other scans do not"):
        train([scans[0], series[1]], labels, preset=preset, protocol=protocol, device=CPU)


def test_without_a_rank_all_coefficients_are_read(protocol, basis, tiny_preset, make_scan):
    scan, labels = make_scan(1)
    preset = replace(tiny_preset, n_epochs=1)
    model = train([as_coefficients(scan, basis)], [labels], preset=preset, protocol=protocol, device=CPU)
    assert model.architecture.n_inputs == 8


def test_quality_of_coefficients_is_over_the_subspace(protocol, make_scan, make_model):
    """The match of coefficients is that of the frames they make."""
    scan, _ = make_scan(1, n_slices=1)
    basis = build_dictionary(protocol, rank=16).basis  # all sixteen frames: nothing is lost
    model = make_model()
    coefficients = as_coefficients(scan, basis)
    # The network itself sees other numbers; make it say the same of all.
    with torch.no_grad():
        model.network.output.weight.zero_()
    of_frames, of_coefficients = (
        reconstruct(series, replace(model, record={"input": series.kind}), protocol, device=CPU)[0]
        for series in (scan, coefficients)
    )
    # complex64 rounds frames and coefficients of order 1 to 1e-7; frames that the subspace lacks would take percents.
    np.testing.assert_allclose(of_coefficients.match, of_frames.match, atol=1e-4)
    np.testing.assert_allclose(of_coefficients.m0, of_frames.m0, rtol=1e-3)
