"""Inference: tiles leave no trace, maps are in their units, and frames are compared with what they should be."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mrfpipe.errors import InputError, MismatchError
from mrfpipe.learning.inference import quality, reconstruct
from mrfpipe.learning.scaling import SignalScaling
from mrfpipe.maps import PARAMETERS
from mrfpipe.physics.simulate import fingerprints

CPU = torch.device("cpu")
TILE_TOLERANCE = 2e-5
"""float32 convolutions of other sizes may sum in another order; relative to the range of each map."""


def constant_model(model, unit_values):
    """Make the network say the same everywhere, in units of 0..1."""
    with torch.no_grad():
        model.network.output.weight.zero_()
        model.network.output.bias.copy_(torch.tensor(unit_values))
    return model


def stacked(maps):
    return np.stack([getattr(maps, parameter.field) for parameter in PARAMETERS])


@pytest.mark.parametrize("receptive_field", [1, 5, 7])
def test_tiles_give_the_maps_of_the_whole_slice(make_model, make_scan, protocol, receptive_field):
    scan, _ = make_scan(1)
    model = make_model(receptive_field)
    margin = receptive_field // 2
    scaling = SignalScaling.of(scan)
    frames = np.stack(
        [np.pad(scaling.window(f, 0, 0, 37, 29), ((0, 0), (margin,) * 2, (margin,) * 2)) for f in scan.images]
    )
    with torch.no_grad():
        expected = model.scaling.from_unit(np.moveaxis(model.network(torch.from_numpy(frames)).numpy(), 1, 0))
    expected[:, ~scan.mask] = np.nan
    span = np.subtract(model.scaling.high, model.scaling.low)[:, None, None, None]
    for tile_size in (5, 16, 64):
        found = stacked(reconstruct(scan, model, protocol, device=CPU, tile_size=tile_size))
        np.testing.assert_allclose(found / span, expected / span, atol=TILE_TOLERANCE, rtol=0)


def test_only_tiles_that_touch_the_mask_are_computed(make_model, make_scan, protocol):
    scan, _ = make_scan(1)
    mask = np.zeros_like(scan.mask)
    mask[0, 3, 4] = mask[1, 30, 20] = mask[1, 31, 21] = True
    steps = []
    maps = reconstruct(
        replace(scan, mask=mask),
        make_model(),
        protocol,
        device=CPU,
        tile_size=8,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(1, 2), (2, 2)]
    np.testing.assert_array_equal(maps.mask, mask)


def test_maps_are_in_si_units_with_m0_and_match_of_the_fingerprint(make_model, make_scan, protocol):
    """A scan that is exactly what the network says of it, up to density and phase, matches wholly."""
    scan, _ = make_scan(1, n_slices=1)
    values = {"ff": 0.25, "t1w": 1.25, "t1f": 0.3, "df": 60.0, "b1": 0.65}
    model = constant_model(make_model(), [0.25, 0.5, 0.5, 0.75, 0.5])
    fingerprint = fingerprints(protocol, **{name: np.array([value]) for name, value in values.items()})[0]
    y, x = np.mgrid[:37, :29]
    density = (1 + 0.1 * y + 0.01 * x).astype(np.float32)
    images = (fingerprint[:, None, None] * (density * np.exp(0.3j * x))).astype(np.complex64)[None]
    maps = reconstruct(replace(scan, images=images), model, protocol, device=CPU)
    for name, value in values.items():
        np.testing.assert_allclose(getattr(maps, name)[scan.mask], value, rtol=1e-5)
    np.testing.assert_allclose(maps.match[scan.mask], 1, atol=1e-5)
    np.testing.assert_allclose(maps.m0[scan.mask], density[scan.mask[0]], rtol=1e-4)
    turn = np.exp(1j * (maps.phase[0] - 0.3 * x))[scan.mask[0]]
    np.testing.assert_allclose(turn, 1, atol=1e-4)
    assert not maps.edge.any()


@pytest.mark.parametrize(("field", "off"), [("t1w", 0.9), ("df", 0.2), ("ff", 0.9), ("b1", 0.1)])
def test_a_wrong_map_matches_worse(make_model, make_scan, protocol, field, off):
    scan, _ = make_scan(1, n_slices=1)
    unit = [0.25, 0.5, 0.5, 0.75, 0.5]
    values = dict(zip(("ff", "t1w", "t1f", "df", "b1"), (0.25, 1.25, 0.3, 60.0, 0.65), strict=True))
    fingerprint = fingerprints(protocol, **{name: np.array([value]) for name, value in values.items()})[0]
    images = np.broadcast_to(fingerprint[:, None, None], scan.images.shape).astype(np.complex64)
    unit[[parameter.field for parameter in PARAMETERS].index(field)] = off
    # Constant frames have no deviation to speak of; a single other voxel outside the comparison gives them one.
    images[0, :, 17, 15] *= 2j
    maps = reconstruct(replace(scan, images=images), constant_model(make_model(), unit), protocol, device=CPU)
    assert np.nanmax(maps.match) < 0.999


def test_estimates_beyond_the_range_are_clipped_and_marked(make_model, make_scan, protocol):
    scan, _ = make_scan(1)
    model = constant_model(make_model(), [-0.1, 1.3, 0.5, 0.5, 1.0])
    maps = reconstruct(scan, model, protocol, device=CPU)
    assert {float(v) for v in maps.t1w[scan.mask]} == {2.0}
    assert not maps.ff[scan.mask].any()
    assert set(maps.edge[scan.mask]) == {0b10011}
    assert not maps.edge[~scan.mask].any()


def test_voxels_without_signal_are_outside_the_mask(make_model, make_scan, protocol):
    scan, _ = make_scan(1)
    images = scan.images.copy()
    images[1, :, 17, 15] = 0
    maps = reconstruct(replace(scan, images=images), make_model(), protocol, device=CPU)
    expected = scan.mask.copy()
    expected[1, 17, 15] = False
    np.testing.assert_array_equal(maps.mask, expected)
    for values in (*stacked(maps), maps.m0, maps.match):
        np.testing.assert_array_equal(np.isnan(values), ~expected)


def test_model_is_left_as_it_was(make_model, make_scan, protocol):
    model = make_model()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    first, again = (stacked(reconstruct(make_scan(1)[0], model, protocol, device=CPU)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.network.state_dict().items())


def test_inputs_must_be_of_one_sequence(make_model, make_scan, protocol):
    scan, _ = make_scan(1)
    model = make_model()
    with pytest.raises(
        MismatchError, match="scan1 was measured with sequence 0123, the model was trained for sequence"
    ):
        reconstruct(replace(scan, sequence_hash="0123"), model, protocol, device=CPU)
    other = replace(protocol, sequence=replace(protocol.sequence, inversion_time=0.1))
    with pytest.raises(MismatchError, match="Protocol tiny has sequence"):
        reconstruct(scan, model, other, device=CPU)
    with pytest.raises(MismatchError, match="scan1 has 15 frames, the model reads 16"):
        reconstruct(replace(scan, images=scan.images[:, :15]), model, protocol, device=CPU)


def test_a_model_that_gives_no_numbers_is_told(make_model, make_scan, protocol):
    model = constant_model(make_model(), [float("nan")] * 5)
    with pytest.raises(InputError, match="maps of scan1 are not finite"):
        reconstruct(make_scan(1)[0], model, protocol, device=CPU)


def test_quality_against_its_definition():
    random = np.random.default_rng(0)
    d, y = (random.standard_normal((3, 8)) + 1j * random.standard_normal((3, 8)) for _ in range(2))
    m0, phase, match = quality((1e-30 * y).astype(np.complex64), d.astype(np.complex64))
    for i in range(3):
        agreement = abs(np.vdot(d[i], y[i]))
        assert m0[i] == pytest.approx(1e-30 * agreement / np.linalg.norm(d[i]) ** 2, rel=1e-4)
        assert phase[i] == pytest.approx(np.angle(np.vdot(d[i], y[i])), abs=1e-5)
        assert match[i] == pytest.approx(agreement / np.linalg.norm(d[i]) / np.linalg.norm(y[i]), rel=1e-4)
