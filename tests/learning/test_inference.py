"""Inference: tiles leave no trace, maps are in their units, and frames are compared with what they should be."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.scaling import SignalScaling
from mrfpipe.learning.tiles import cover
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.physics.simulate import fingerprints
from mrfpipe.protocol import Inversion

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
    return np.stack([maps.si[parameter.name] for parameter in PARAMETERS])


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
        found = stacked(reconstruct(scan, model, protocol, device=CPU, tile_size=tile_size)[0])
        np.testing.assert_allclose(found / span, expected / span, atol=TILE_TOLERANCE, rtol=0)


def random_masks():
    random = np.random.default_rng(4)
    two = np.zeros((40, 61), bool)
    two[3:20, 5:17] = two[9:31, 40:58] = True
    one = np.zeros((40, 61), bool)
    one[39, 60] = True
    return [two, one, random.random((40, 61)) > 0.99, np.ones((40, 61), bool), np.zeros((40, 61), bool)]


@pytest.mark.parametrize("margin", [0, 3])
@pytest.mark.parametrize("size", [1, 7, 16, 64])
@pytest.mark.parametrize("mask", random_masks())
def test_tiles_cover_the_mask_once_and_nothing_without_it(mask, size, margin):
    count = np.zeros(mask.shape, int)
    for tile in cover(mask, size, margin):
        inside = mask[tile.y, tile.x]
        assert all(inside[edge].any() for edge in (0, -1)), "rows that hold nothing"
        assert all(inside[:, edge].any() for edge in (0, -1)), "columns that hold nothing"
        assert max(inside.shape) <= size
        count[tile.y, tile.x] += 1
    assert count.max() <= 1
    assert (count[mask] == 1).all()


@pytest.mark.parametrize(("gap", "n_tiles"), [(6, 1), (7, 2)])
def test_tiles_are_divided_where_that_leaves_out_more_than_their_margins_take(gap, n_tiles):
    """The second part begins lower, which its own tile shows and a common one does not."""
    mask = np.zeros((40, 61), bool)
    mask[5:25, 10:20] = mask[15:30, 20 + gap : 40] = True
    for turned in (mask, mask.T):
        tiles = cover(turned, 64, margin=3)
        assert len(tiles) == n_tiles
    apart = [((5, 25), (10, 20)), ((15, 30), (27, 40))]
    whole = [((5, 30), (10, 40))]
    found = [((t.y.start, t.y.stop), (t.x.start, t.x.stop)) for t in cover(mask, 64, margin=3)]
    assert found == (whole if n_tiles == 1 else apart)


class OneByOne:
    """Slices of a series that come one after the other, and can be gone through again."""

    def __init__(self, series):
        self.series = series

    def __len__(self):
        return self.series.n_slices

    def __iter__(self):
        for s in range(self.series.n_slices):
            some = slice(s, s + 1)
            yield replace(self.series, images=self.series.images[some], mask=self.series.mask[some])


@pytest.mark.parametrize("encoded", [False, True])
def test_slices_one_by_one_give_the_maps_of_all_together(make_model, make_scan, protocol, encoded):
    """To the last bit: either way the network works on one slice at a time. One slice holds no tissue."""
    scan, _ = make_scan(1, n_slices=3)
    mask = scan.mask.copy()
    mask[1] = False
    scan, model, told = replace(scan, mask=mask), make_model(), []
    if encoded:
        basis = build_dictionary(protocol, rank=protocol.sequence.n_frames).basis
        model = replace(model, encoding=Encoding.of(basis, [scan]))
    together = reconstruct(scan, model, protocol, device=CPU)[0]
    by_one = reconstruct(OneByOne(scan), model, protocol, device=CPU, progress=lambda *steps: told.append(steps))[0]
    np.testing.assert_array_equal(stacked(by_one), stacked(together))
    for name in ("m0", "phase", "match", "edge", "mask", "affine"):
        np.testing.assert_array_equal(getattr(by_one, name), getattr(together, name))
    assert told == [(1, 3), (2, 3), (3, 3)]
    if encoded:
        once = reconstruct(iter(OneByOne(scan)), model, protocol, device=CPU)[0]
        np.testing.assert_array_equal(stacked(once), stacked(together))
    else:
        with pytest.raises(ValueError, match="goes through the slices twice"):
            reconstruct(iter(OneByOne(scan)), model, protocol, device=CPU)


def test_a_slice_that_is_not_finite_is_named_by_its_number(make_model, make_scan, protocol):
    scan, _ = make_scan(1, n_slices=3)
    images = scan.images.copy()
    images[2, 5, 17, 15] = np.nan
    with pytest.raises(InputError, match="the frames of slice 3 are not finite"):
        reconstruct(OneByOne(replace(scan, images=images)), make_model(), protocol, device=CPU)


def test_a_scan_without_tissue_is_refused(make_model, make_scan, protocol):
    scan, _ = make_scan(1)
    with pytest.raises(InputError, match="mask holds no voxel"):
        reconstruct(replace(scan, mask=np.zeros_like(scan.mask)), make_model(), protocol, device=CPU)


def test_bfloat16_is_near_float32(make_model, make_scan, protocol):
    """bfloat16 rounds to 2^-9 = 0.2 %: weights and features of three layers, whose errors partly cancel.

    The last layer, in float32, leaves maps that are not in steps.
    """
    scan, _ = make_scan(1)
    exact, near = (
        stacked(reconstruct(scan, make_model(), protocol, device=CPU, precision=precision)[0])[:, scan.mask]
        for precision in ("float32", "bfloat16")
    )
    spread = exact.std(axis=1)
    error = np.sqrt(np.mean((near - exact) ** 2, axis=1))
    assert np.all(error < 0.02 * spread), error / spread
    assert np.all(error > 1e-5 * spread), "computed in float32"
    for values in near:
        free = values[(values > values.min()) & (values < values.max())]  # those that were not clipped
        assert len(np.unique(free)) > 0.9 * len(free)


def test_maps_are_in_si_units_with_m0_and_match_of_the_fingerprint(make_model, make_scan, protocol):
    """A scan that is exactly what the network says of it, up to density and phase, matches wholly."""
    scan, _ = make_scan(1, n_slices=1)
    values = {"FF": 0.25, "T1H2O": 1.25, "T1fat": 0.3, "df": 60.0, "B1": 0.65}
    model = constant_model(make_model(), [0.25, 0.5, 0.5, 0.75, 0.5])
    fingerprint = fingerprints(protocol, {name: np.array([value]) for name, value in values.items()})[0]
    y, x = np.mgrid[:37, :29]
    density = (1 + 0.1 * y + 0.01 * x).astype(np.float32)
    images = (fingerprint[:, None, None] * (density * np.exp(0.3j * x))).astype(np.complex64)[None]
    maps = reconstruct(replace(scan, images=images), model, protocol, device=CPU)[0]
    # float32 maps, and complex64 frames and fingerprints of sixteen values: each rounds to about 1e-7.
    for name, value in values.items():
        np.testing.assert_allclose(maps.si[name][scan.mask], value, rtol=1e-5)
    np.testing.assert_allclose(maps.match[scan.mask], 1, atol=1e-5)
    np.testing.assert_allclose(maps.m0[scan.mask], density[scan.mask[0]], rtol=1e-4)
    turn = np.exp(1j * (maps.phase[0] - 0.3 * x))[scan.mask[0]]
    np.testing.assert_allclose(turn, 1, atol=1e-4)
    assert not maps.edge.any()


@pytest.mark.parametrize(("field", "off"), [("T1H2O", 0.9), ("df", 0.2), ("FF", 0.9), ("B1", 0.1)])
def test_a_wrong_map_matches_worse(make_model, make_scan, protocol, field, off):
    scan, _ = make_scan(1, n_slices=1)
    unit = [0.25, 0.5, 0.5, 0.75, 0.5]
    values = dict(zip(("FF", "T1H2O", "T1fat", "df", "B1"), (0.25, 1.25, 0.3, 60.0, 0.65), strict=True))
    fingerprint = fingerprints(protocol, {name: np.array([value]) for name, value in values.items()})[0]
    images = np.broadcast_to(fingerprint[:, None, None], scan.images.shape).astype(np.complex64)
    unit[[parameter.name for parameter in PARAMETERS].index(field)] = off
    # Constant frames have no deviation to speak of; a single other voxel outside the comparison gives them one.
    images[0, :, 17, 15] *= 2j
    maps = reconstruct(replace(scan, images=images), constant_model(make_model(), unit), protocol, device=CPU)[0]
    assert np.nanmax(maps.match) < 0.999


def test_estimates_beyond_the_range_are_clipped_and_marked(make_model, make_scan, protocol):
    scan, _ = make_scan(1)
    model = constant_model(make_model(), [-0.1, 1.3, 0.5, 0.5, 1.0])
    maps = reconstruct(scan, model, protocol, device=CPU)[0]
    assert {float(v) for v in maps.si["T1H2O"][scan.mask]} == {2.0}
    assert not maps.si["FF"][scan.mask].any()
    assert set(maps.edge[scan.mask]) == {0b10011}
    assert not maps.edge[~scan.mask].any()


def test_voxels_without_signal_are_outside_the_mask(make_model, make_scan, protocol):
    scan, _ = make_scan(1)
    images = scan.images.copy()
    images[1, :, 17, 15] = 0
    maps = reconstruct(replace(scan, images=images), make_model(), protocol, device=CPU)[0]
    expected = scan.mask.copy()
    expected[1, 17, 15] = False
    np.testing.assert_array_equal(maps.mask, expected)
    for values in (*stacked(maps), maps.m0, maps.match):
        np.testing.assert_array_equal(np.isnan(values), ~expected)


def test_model_is_left_as_it_was(make_model, make_scan, protocol):
    model = make_model()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    first, again = (stacked(reconstruct(make_scan(1)[0], model, protocol, device=CPU)[0]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.network.state_dict().items())


def test_inputs_must_be_of_one_sequence(make_model, make_scan, protocol):
    scan, _ = make_scan(1)
    model = make_model()
    with pytest.raises(
        MismatchError, match="scan1 was measured with sequence 0123, the model was trained for sequence"
    ):
        reconstruct(replace(scan, sequence_hash="0123"), model, protocol, device=CPU)
    other = replace(protocol, sequence=protocol.sequence.with_blocks(Inversion, efficiency=0.9))
    with pytest.raises(MismatchError, match="Protocol tiny has sequence"):
        reconstruct(scan, model, other, device=CPU)
    with pytest.raises(MismatchError, match="scan1 has 15 frames, the model reads 16"):
        reconstruct(replace(scan, images=scan.images[:, :15]), model, protocol, device=CPU)


def test_a_model_that_gives_no_numbers_is_told(make_model, make_scan, protocol):
    model = constant_model(make_model(), [float("nan")] * 5)
    with pytest.raises(InputError, match="maps of scan1 are not finite"):
        reconstruct(make_scan(1)[0], model, protocol, device=CPU)
