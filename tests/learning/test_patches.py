"""Patches: that they cover the foreground once, and that frames and maps lie on each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mrfpipe.errors import InputError, MismatchError
from mrfpipe.learning.patches import TrainingData
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.phantom.truth import PARAMETERS


@pytest.fixture
def scans(make_scan):
    return [make_scan(1), make_scan(2, n_slices=1)]


@pytest.fixture
def data(protocol, scans):
    series, labels = zip(*scans, strict=True)
    return TrainingData(series, labels, map_scaling=MapScaling.of(protocol), patch_size=8, receptive_field=5)


@pytest.mark.parametrize("random", [None, np.random.default_rng(4)])
def test_patches_put_together_are_the_maps_and_the_frames(data, scans, random):
    """Every voxel of the foreground is in just one patch, at its place, with its own frames inside the margin."""
    size, margin = 8, 2
    for number, (scan, labels) in enumerate(scans):
        count = np.zeros(scan.mask.shape, int)
        maps = np.zeros((5, *scan.mask.shape), np.float32)
        frames = np.zeros((scan.mask.shape[0], 32, *scan.mask.shape[1:]), np.float32)
        for position in data.positions(random):
            if position.scan != number:
                continue
            patch_frames, patch_maps, foreground = data.patch(position)
            assert patch_frames.shape == (32, size + 2 * margin, size + 2 * margin)
            assert foreground.any()
            for i, j in np.argwhere(foreground[0]):
                voxel = (position.slice, position.y + i, position.x + j)
                count[voxel] += 1
                maps[:, *voxel] = patch_maps[:, i, j]
                frames[voxel[0], :, voxel[1], voxel[2]] = patch_frames[:, i + margin, j + margin]
        np.testing.assert_array_equal(count, scan.mask)
        scaling = data.signal_scalings[number]
        expected = np.stack([scaling.window(images, 0, 0, *scan.mask.shape[1:]) for images in scan.images])
        np.testing.assert_array_equal(
            np.moveaxis(frames, 1, 0)[:, scan.mask], np.moveaxis(expected, 1, 0)[:, scan.mask]
        )
        # float32 of 0..1 and back rounds by 1e-7 of a range, which is at most 240 Hz.
        for value, parameter in zip(data.map_scaling.from_unit(maps), PARAMETERS, strict=True):
            np.testing.assert_allclose(value[scan.mask], labels.si[parameter.name][scan.mask], rtol=1e-4, atol=1e-4)


def test_margins_hold_the_neighbours_of_the_patch(data, scans):
    position = next(p for p in data.positions() if (p.y, p.x) == (16, 8))
    frames, _, _ = data.patch(position)
    expected = data.signal_scalings[0].window(scans[0][0].images[0], 14, 6, 12, 12)
    np.testing.assert_array_equal(frames, expected)


def test_foreground_is_where_both_masks_agree(protocol, scans):
    (scan, labels), _ = scans
    half = labels.mask.copy()
    half[:, :, 15:] = False
    data = TrainingData(
        [scan], [replace(labels, mask=half)], map_scaling=MapScaling.of(protocol), patch_size=8, receptive_field=1
    )
    _, maps, foreground = data.patch(next(p for p in data.positions() if (p.y, p.x) == (16, 8)))
    assert foreground[0, :, :7].all()
    assert not foreground[0, :, 7:].any()
    assert not maps[:, :, 7:].any()
    assert all(p.x < 15 for p in data.positions())


def test_seed_and_epoch_decide_the_patches(data):
    first, again, other = (data.positions(np.random.default_rng([7, epoch])) for epoch in (0, 0, 1))
    assert first == again
    assert first != other
    assert {p.y % 8 for p in first} != {0}


def test_batches_come_in_order_and_are_of_even_size(data):
    positions = data.positions(np.random.default_rng(0))
    batches = list(data.batches(positions, 7))
    sizes = [batch.frames.shape[0] for batch in batches]
    assert len(sizes) == -(-len(positions) // 7)
    assert max(sizes) <= 7
    assert max(sizes) - min(sizes) <= 1
    joined = torch.cat([batch.frames for batch in batches])
    assert torch.equal(joined, data.batch(positions).frames)


def test_batches_can_be_left_early(data):
    batches = data.batches(data.positions(), 2)
    next(batches)
    batches.close()


def test_scans_and_maps_must_fit(protocol, scans):
    scaling = {"map_scaling": MapScaling.of(protocol), "patch_size": 8, "receptive_field": 5}
    (scan, labels), (other, other_labels) = scans
    with pytest.raises(MismatchError, match="2 scans came with the maps of 1"):
        TrainingData([scan, other], [labels], **scaling)
    with pytest.raises(MismatchError, match="scan1 has shape"):
        TrainingData([scan], [other_labels], **scaling)
    with pytest.raises(InputError, match="no scan to train on"):
        TrainingData([], [], **scaling)
    with pytest.raises(InputError, match="share no voxel"):
        TrainingData([replace(scan, mask=~labels.mask)], [labels], **scaling)
