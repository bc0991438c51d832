"""Networks that correct fitted maps: what they read, what they add, and what they say of their errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import mrfpipe.run.mapper as mapper_module
from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.joint import JointMaps
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.model import load_model, save_model
from mrfpipe.learning.network import initial_network
from mrfpipe.matching.match import match_series
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.readout_basis import readout_basis
from mrfpipe.report.quality import warnings_of
from mrfpipe.run.mapper import NetworkMapper
from mrfpipe.run.scan import map_series

CPU, RANK = torch.device("cpu"), 6
DEVIATION = 0.05
"""Of the fitted maps, as a share of their ranges."""


@pytest.fixture(scope="module")
def dictionary(protocol):
    return build_dictionary(protocol, rank=RANK)


@pytest.fixture
def coefficients(make_scan, dictionary):
    scan, _ = make_scan(2, n_slices=2)
    images = np.einsum("fr,sfyx->sryx", dictionary.basis.conj(), scan.images)
    return replace(scan, images=images.astype(np.complex64), basis=dictionary.basis, noise=0.01)


@pytest.fixture
def model(make_model, coefficients, dictionary):
    """An untrained network whose last layer gives its bias: 0.01 of FF, -0.02 of T1H2O, twice the deviations."""
    made, n_maps = make_model(), len(PARAMETERS)
    architecture = replace(made.architecture, n_inputs=2 * (RANK + n_maps), n_outputs=2 * n_maps)
    network = initial_network(architecture, torch.Generator().manual_seed(3)).eval()
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias.copy_(torch.tensor([0.01, -0.02, 0, 0, 0, *[np.log(2)] * n_maps]))
    return replace(
        made,
        network=network,
        architecture=architecture,
        encoding=Encoding.of(dictionary.basis, [coefficients]),
        corrects=True,
        record={"input": "coefficients"},
    )


def matching(dictionary):
    """Match each voxel, in the place of a fit to samples, which coefficients alone do not have."""
    low, high = dictionary.ends

    def fit(one):
        maps = match_series(one, dictionary)[0]
        parameters = np.stack([maps.si[p.name][maps.mask] for p in PARAMETERS], axis=1).astype(np.float64)
        return JointMaps(parameters=parameters, deviations=np.broadcast_to(DEVIATION * (high - low), parameters.shape))

    return fit


@pytest.fixture
def without_samples(monkeypatch):
    """Let a mapper correct the maps of coefficients, as if there were samples to fit them to."""
    monkeypatch.setattr(mapper_module, "_fitted", lambda series, dictionary, **_: matching(dictionary)(series))


def test_corrections_are_added_to_matched_maps(model, coefficients, protocol, dictionary, tmp_path):
    save_model(model, tmp_path)
    matched = match_series(coefficients, dictionary)[0]
    for one in (model, load_model(tmp_path)):
        found = reconstruct(coefficients, one, protocol, device=CPU, fit=matching(dictionary))[0]
        for parameter, share in zip(PARAMETERS, (0.01, -0.02, 0, 0, 0), strict=True):
            axis, inside = protocol.grid[parameter.name], found.mask
            span = axis[-1] - axis[0]
            expected = np.clip(matched.si[parameter.name] + share * span, axis[0], axis[-1])
            np.testing.assert_allclose(found.si[parameter.name][inside], expected[inside], atol=1e-5 * span)
            np.testing.assert_allclose(found.sd[parameter.name][inside], 2 * DEVIATION * span, rtol=1e-5)
            assert np.all(np.isnan(found.sd[parameter.name][~inside]))


def test_fingerprints_are_the_same_interpolated_and_simulated(model, coefficients, protocol, dictionary):
    """Phase and sign included: by the complex scale between them and the signals."""
    simulated, interpolated = (
        reconstruct(coefficients, model, protocol, device=CPU, fit=matching(dictionary), dictionary=given)
        for given in (None, dictionary)
    )
    np.testing.assert_array_equal(interpolated[0].si["B1"], simulated[0].si["B1"])
    difference = np.linalg.norm(interpolated[1].simulated - simulated[1].simulated)
    assert 0 < difference < 3e-3 * np.linalg.norm(simulated[1].simulated)  # a coarse grid
    scale = [maps.m0 * np.exp(1j * maps.phase) for maps, _ in (interpolated, simulated)]
    inside = simulated[0].mask
    np.testing.assert_allclose(scale[0][inside], scale[1][inside], rtol=0.02)


@pytest.mark.parametrize("part", ["parameters", "deviations"])
def test_a_network_reads_the_fit_of_the_neighbourhood(model, coefficients, protocol, dictionary, part):
    """Where the FF of one voxel, or its deviation, is another, maps change within half the receptive field only."""
    with torch.no_grad():
        model.network.output.weight.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(1))
        model.network.output.bias.fill_(0.1)
    plain = matching(dictionary)

    def changed(one):
        maps, (mask,) = plain(one), one.mask
        values = getattr(maps, part).copy()
        values[np.count_nonzero(mask.ravel()[: 18 * mask.shape[1] + 14]), 0] *= 0.3
        return replace(maps, **{part: values})

    first, second = (reconstruct(coefficients, model, protocol, device=CPU, fit=m)[0] for m in (plain, changed))
    differs = np.argwhere((first.si["df"] != second.si["df"]) & first.mask)
    margin = model.architecture.margin
    assert len(differs) > 1
    # Both slices are changed at the same place.
    assert np.abs(differs[:, 1:] - (18, 14)).max() <= margin


def test_coefficients_without_samples_are_refused(model, coefficients):
    """Maps that are not fitted to samples have other errors than those that the network has learned to correct."""
    with pytest.raises(MismatchError, match="fitted to all samples, which scan2 does not hold"):
        map_series(coefficients, NetworkMapper(model=model, precision="float32"))


def test_a_raw_scan_is_reconstructed_as_the_training_data_were(model, protocol):
    """Jointly, with more basis vectors than the coefficients that the network reads."""
    whole, n = model.encoding, RANK - 2
    few = Encoding(basis=whole.basis[:, :n], mean=whole.mean[:n], deviation=whole.deviation[:n])
    mapper = NetworkMapper(model=replace(model, encoding=few), precision="float32")
    assert mapper.imaging(Imaging()).recon == "joint"
    expected = readout_basis(build_dictionary(protocol))
    assert expected.shape[1] == RANK
    np.testing.assert_array_equal(mapper.readout_basis("joint"), expected)


def test_a_field_map_is_refused_before_the_work(model):
    mapper = NetworkMapper(model=model, precision="float32")
    with pytest.raises(MismatchError, match="leave the field map out, or use mrfpipe match"):
        mapper.imaging(Imaging(field_map="map.nii"))


def test_what_fits_is_needed_and_an_encoding_too(model, coefficients, protocol, tmp_path):
    with pytest.raises(ValueError, match="needs what fits"):
        reconstruct(coefficients, model, protocol, device=CPU)
    save_model(replace(model, encoding=None), tmp_path)
    with pytest.raises(InputError, match="corrects maps but has no encoding"):
        load_model(tmp_path)


@pytest.mark.usefixtures("without_samples")
@pytest.mark.parametrize(("shift", "deviation", "said"), [(0.2, 0.003, True), (0.2, 0.1, False), (0.0, 0.003, False)])
def test_a_network_that_matching_contradicts_says_so(model, coefficients, shift, deviation, said):
    """T1 of water is 300 ms off: a doubt where the network is sure of it, in the result's note and the page's warnings.

    Matching errs by noise, which its own deviation covers: no map is in doubt where the network adds nothing.
    """
    bias = torch.zeros(2 * len(PARAMETERS))
    bias[1], bias[len(PARAMETERS) :] = shift, np.log(deviation / DEVIATION)
    with torch.no_grad():
        model.network.output.bias.copy_(bias)
    result = map_series(coefficients, NetworkMapper(model=model, precision="float32"))
    warned = [line for line in warnings_of(result.maps, result.provenance) if "network may not have seen" in line]
    assert bool(result.warning) == said
    assert warned == ([result.warning] if said else [])
    if said:
        assert "like of this scan: T1H2O differs from matching by more than 8 standard deviations" in result.warning


@pytest.mark.usefixtures("without_samples")
def test_a_field_beyond_the_protocol_is_unexplained(model, coefficients):
    """Some signals are those of no tissue of the protocol, as beside an implant: its fingerprints leave them."""
    images, places = coefficients.images.copy(), np.argwhere(coefficients.mask)[::20]
    for s, y, x in places:
        images[s, :, y, x] = np.linalg.norm(images[s, :, y, x]) * np.eye(RANK)[-1]
    strange = replace(coefficients, images=images)
    with torch.no_grad():
        model.network.output.bias[: len(PARAMETERS)] = 0
    results = [map_series(one, NetworkMapper(model=model, precision="float32")) for one in (coefficients, strange)]
    assert not results[0].warning
    assert "5% of the voxels leave more than 10 times the usual residual" in results[1].warning
