"""ONNX: the graph, run by other software, gives the maps that `reconstruct` gives."""

import builtins
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import ResourceError
from mrfpipe.imaging.joint import JointMaps
from mrfpipe.learning.competitors import Competitor
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.export import export_onnx
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.network import initial_network
from mrfpipe.phantom.truth import PARAMETERS

CPU = torch.device("cpu")
TOLERANCE = 5e-5
"""Of each map's range: float32 sums in another order, and batch normalisations that are folded in float32."""
RANK = 6
FITTED = ("fitted", "deviations")
"""Inputs of the graph of a network that corrects."""


@pytest.fixture
def exported(tmp_path):
    """Return a function that writes a model and runs the graph on a series; maps `(maps, slices, y, x)` in SI units."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")

    def run(model, series, fit=None):
        export_onnx(model, tmp_path / "model.onnx")
        session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
        images = np.concatenate([series.images.real, series.images.imag], axis=1)
        mask = series.mask[:, None].astype(np.float32)
        scale = np.array([parameter.scale for parameter in PARAMETERS])[:, None, None, None]
        more = {}
        if fit is not None:
            for name, values in zip(FITTED, (fit.parameters, fit.deviations), strict=True):
                more[name] = np.zeros((series.n_slices, len(PARAMETERS), *series.mask.shape[1:]), np.float32)
                for image, inside in zip(more[name], series.mask, strict=True):
                    image[:, inside] = values.T * scale[:, 0, 0]
        (maps,) = session.run(["maps"], {"images": images, "mask": mask, **more})
        return np.moveaxis(maps, 1, 0) / scale, session.get_modelmeta().custom_metadata_map

    return run


def assert_same(found, model, series, protocol, fit=None):
    expected = reconstruct(series, model, protocol, device=CPU, fit=fit)[0]
    inside = expected.mask  # of the series less voxels without signal
    for values, parameter, low, high in zip(found, PARAMETERS, model.scaling.low, model.scaling.high, strict=True):
        reference = expected.si[parameter.name]
        assert reference[inside].std() > 0.01 * (high - low), "all the same says nothing"
        np.testing.assert_allclose(
            values[inside], reference[inside], atol=TOLERANCE * (high - low), rtol=0, err_msg=parameter.name
        )


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("cohen", "oksuz", "fang-features", "fang")]


@pytest.mark.parametrize("name", ["proposed", "hoppe", *SLOW])
def test_every_network_gives_its_maps(make_model, make_scan, protocol, exported, name):
    """Slices of 37 x 29, three of them, though the graph was drawn for two of another size."""
    scan, _ = make_scan(2, n_slices=3)
    model = make_model()
    if name != "proposed":
        network = Competitor(name=name, n_inputs=32, n_outputs=len(PARAMETERS))
        initial = network.initial(torch.Generator().manual_seed(2)).eval()
        model = replace(model, network=initial, architecture=network)
    spread(model)
    found, about = exported(model, scan)
    assert_same(found, model, scan, protocol)
    assert about["sequence_hash"] == protocol.sequence.hash
    assert [entry["unit"] for entry in json.loads(about["maps"])] == [parameter.unit for parameter in PARAMETERS]


def spread(model):
    """Let an untrained network use the middle of the ranges, so that little is clipped."""
    with torch.no_grad():
        model.network.output.weight.mul_(5.0 if model.architecture.receptive_field == 1 else 0.5)
        model.network.output.bias.fill_(0.5)


@pytest.mark.parametrize("reads", ["frames", "coefficients"])
def test_the_encoding_is_in_the_graph(make_model, make_scan, protocol, exported, reads):
    """Also a voxel without signal inside the mask, which is encoded as it is everywhere: without direction."""
    scan, _ = make_scan(2)
    basis = build_dictionary(protocol, rank=RANK).basis
    model = make_model()
    architecture = replace(model.architecture, n_inputs=2 * RANK)
    network = initial_network(architecture, torch.Generator().manual_seed(3))
    encoding = Encoding.of(basis, [scan])
    model = replace(model, network=network.eval(), architecture=architecture, encoding=encoding)
    spread(model)
    images = scan.images.copy()
    images[0, :, 17, 15] = 0
    scan = replace(scan, images=images)
    if reads == "coefficients":
        model = replace(model, record={"input": "coefficients"})
        coefficients = np.einsum("fr,sfyx->sryx", basis.conj(), scan.images)
        scan = replace(scan, images=coefficients.astype(np.complex64), basis=basis)
    found, about = exported(model, scan)
    assert_same(found, model, scan, protocol)
    assert about["encoding"] == "in the graph"
    assert about["reads"] == reads


def test_a_network_that_corrects_maps_is_given_them_and_their_deviations(make_model, make_scan, protocol, exported):
    scan, _ = make_scan(2)
    dictionary, made, n_maps = build_dictionary(protocol, rank=RANK), make_model(), len(PARAMETERS)
    coefficients = np.einsum("fr,sfyx->sryx", dictionary.basis.conj(), scan.images).astype(np.complex64)
    scan = replace(scan, images=coefficients, basis=dictionary.basis, noise=1.0)
    architecture = replace(made.architecture, n_inputs=2 * (RANK + n_maps), n_outputs=2 * n_maps)
    network = initial_network(architecture, torch.Generator().manual_seed(3)).eval()
    with torch.no_grad():
        network.output.weight.mul_(0.02)
    model = replace(
        made,
        network=network,
        architecture=architecture,
        encoding=Encoding.of(dictionary.basis, [scan]),
        corrects=True,
        record={"input": "coefficients"},
    )
    low, high = dictionary.ends
    rng, shape = np.random.default_rng(1), (int(scan.mask[0].sum()), n_maps)
    spans = high - low
    fit = JointMaps(
        parameters=low + rng.uniform(0.2, 0.8, shape) * spans, deviations=rng.uniform(0.001, 0.1, shape) * spans
    )
    found, _ = exported(model, scan, fit)
    assert_same(found, model, scan, protocol, fit=lambda _: fit)


def test_a_missing_package_is_named_with_its_extra(make_model, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("onnx"):
            raise ImportError(name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ResourceError, match=r"needs onnx, which is not installed; pip install 'mrfpipe\[onnx\]'"):
        export_onnx(make_model(), tmp_path / "model.onnx")
