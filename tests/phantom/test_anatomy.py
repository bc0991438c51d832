"""The thigh: what a radiologist would check, and what a truth must fulfil."""

import numpy as np
import pytest
from helpers import image_of
from scipy import ndimage

from mrfpipe.phantom.anatomy import ANATOMIES, thigh
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.protocol import load_protocol

SEEDS = (0, 1, 2, 3, 4)


def draw(seed, matrix=176, n_slices=1, slice_spacing=0.012, fov=0.35):
    return thigh(matrix=matrix, fov=fov, n_slices=n_slices, slice_spacing=slice_spacing, seed=seed)


@pytest.fixture(scope="module")
def full():
    return draw(1, matrix=350, n_slices=2)


@pytest.fixture(scope="module")
def people():
    return [draw(seed) for seed in SEEDS]


def centroid(phantom, name):
    label = phantom.roi_names.index(name) + 1
    y, x = np.nonzero(phantom.rois[0] == label)
    assert y.size, name
    return y.mean(), x.mean()


def test_names_thirteen_muscles_a_leg(full):
    assert len(full.roi_names) == len(set(full.roi_names)) == 26
    assert "right rectus femoris" in full.roi_names
    for first in (1, 14):
        assert np.isin(np.arange(first, first + 13), full.rois).sum() >= 12


def test_muscles_lie_where_they_belong(full):
    for side, medial in (("right", 1), ("left", -1)):
        rectus, lateral = centroid(full, f"{side} rectus femoris"), centroid(full, f"{side} vastus lateralis")
        biceps = centroid(full, f"{side} biceps femoris, long head")
        semi = centroid(full, f"{side} semimembranosus")
        gracilis, sartorius = centroid(full, f"{side} gracilis"), centroid(full, f"{side} sartorius")
        assert rectus[0] < lateral[0] < biceps[0]
        assert sartorius[0] < gracilis[0]
        assert medial * lateral[1] < medial * rectus[1] < medial * sartorius[1]
        assert medial * biceps[1] < medial * semi[1] < medial * gracilis[1]
    assert centroid(full, "right gracilis")[1] < centroid(full, "left gracilis")[1]


def test_regions_stay_clear_of_fat(full):
    ff, rois = full.maps.si["FF"], full.rois
    assert np.all(full.maps.mask[rois > 0])
    assert ff[rois > 0].max() <= 0.96
    for s in range(len(rois)):
        grown = ndimage.grey_dilation(rois[s], size=(3, 3))
        touching = (grown != rois[s]) & (rois[s] > 0)
        assert not touching.any()


def test_bone_and_air_are_outside_the_mask(full):
    mask = full.maps.mask[0]
    air = ndimage.label(~mask)[0]
    outside = air == air[0, 0]
    bones, n_bones = ndimage.label(~mask & ~outside)
    assert n_bones == 2
    for number in (1, 2):
        bone = bones == number
        marrow = ndimage.binary_fill_holes(bone) & ~bone
        assert marrow.sum() > 60
        assert full.maps.si["FF"][0][marrow].min() > 0.85


def test_subcutaneous_fat_is_fat_and_skin_is_not(people):
    for phantom in people:
        mask, ff = ndimage.binary_fill_holes(phantom.maps.mask[0]), phantom.maps.si["FF"][0]
        depth = ndimage.distance_transform_edt(mask)
        below = (depth > 1.9) & (depth < 2.5)
        assert np.median(ff[below]) > 0.95
        assert np.median(ff[mask & (depth <= 1)]) < 0.75


def test_values_are_within_their_ranges(people):
    grid = load_protocol("t1ff").grid
    for phantom in people:
        maps = phantom.maps
        inside = {p.name: maps.si[p.name][maps.mask] for p in PARAMETERS}
        for field, value in inside.items():
            assert grid[field][0] <= value.min() < value.max() <= grid[field][-1], field
        assert 0.25 <= inside["T1fat"].min() < inside["T1fat"].max() <= 0.38
        assert np.abs(inside["df"]).max() <= 80
        assert inside["B1"].min() >= 0.4
        assert maps.m0[maps.mask].min() >= 0.7
        assert maps.m0[maps.mask].max() <= 1
        assert np.all(maps.match[maps.mask] == 1)
        assert not maps.edge.any()
        for name in (*inside, "m0", "match"):
            assert np.isnan(image_of(maps, name)[~maps.mask]).all(), name


def test_muscle_values_cover_what_disease_does():
    phantoms = [draw(seed, matrix=96) for seed in range(12)]
    ff = np.concatenate([p.maps.si["FF"][p.rois > 0] for p in phantoms])
    t1w = np.concatenate([p.maps.si["T1H2O"][p.rois > 0] for p in phantoms])
    assert ff.min() < 0.03
    assert ff.max() > 0.8
    assert t1w.min() < 1.15
    assert t1w.max() > 1.6


def test_values_lie_off_the_grid(full):
    on_grid = np.isclose(full.maps.si["FF"][full.maps.mask] % 0.05, 0, atol=1e-5)
    assert on_grid.mean() < 0.01


def test_fields_are_smooth(full):
    mask = full.maps.mask[0]
    for values, most in ((full.maps.si["df"][0], 12.0), (full.maps.si["B1"][0], 0.03)):
        step = np.abs(np.diff(values, axis=1))[mask[:, 1:] & mask[:, :-1]]
        assert 0 < step.max() < most


def test_nothing_touches_the_edge_of_the_field_of_view(people):
    for phantom in people:
        mask = phantom.maps.mask
        assert not mask[:, [0, -1]].any()
        assert not mask[:, :, [0, -1]].any()


def test_slices_change_slowly_and_do_change():
    near, far = draw(2, n_slices=2, slice_spacing=0.002), draw(2, n_slices=2, slice_spacing=0.08)

    def likeness(phantom):
        both = phantom.maps.mask.all(axis=0)
        return np.corrcoef(*phantom.maps.si["FF"][:, both])[0, 1]

    assert likeness(near) > 0.95
    assert likeness(far) < 0.9


def test_a_seed_is_one_person_and_another_seed_another():
    first, again, other = draw(5, matrix=96), draw(5, matrix=96), draw(6, matrix=96)
    np.testing.assert_array_equal(first.maps.si["FF"], again.maps.si["FF"])
    np.testing.assert_array_equal(first.rois, again.rois)
    assert (first.maps.mask != other.maps.mask).mean() > 0.01
    both = first.maps.mask & other.maps.mask
    for p in PARAMETERS:
        difference = (first.maps.si[p.name] - other.maps.si[p.name])[both]
        assert np.abs(difference).mean() > 1e-4 * np.abs(first.maps.si[p.name][both]).mean(), p.name


def test_left_is_not_the_mirror_image_of_right(full):
    mask = full.maps.mask[0]
    assert (mask[:, 1:] != mask[:, :0:-1]).mean() > 0.005


def test_a_person_does_not_depend_on_the_matrix():
    coarse, fine = draw(3, matrix=100), draw(3, matrix=300)
    there = fine.maps.mask[0, ::3, ::3]
    np.testing.assert_array_equal(coarse.maps.mask[0], there)
    for field in ("df", "B1", "T1fat"):
        values = coarse.maps.si[field][0][there], fine.maps.si[field][0, ::3, ::3][there]
        np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-5)


def test_a_small_field_of_view_holds_a_small_person():
    small, large = draw(4, matrix=96, fov=0.2), draw(4, matrix=96)
    np.testing.assert_array_equal(small.maps.mask, large.maps.mask)
    wide = draw(4, matrix=96, fov=0.45)
    assert 0.5 < wide.maps.mask.sum() / large.maps.mask.sum() < 0.7


@pytest.mark.parametrize("matrix", [96, 97])
def test_affine_puts_the_centre_voxel_at_the_isocentre(matrix):
    phantom = draw(0, matrix=matrix, n_slices=3, slice_spacing=0.01)
    affine = phantom.maps.affine
    centre = affine @ [matrix // 2, matrix // 2, 1, 1]
    np.testing.assert_allclose(centre, [0, 0, 0, 1], atol=1e-9)
    voxel = 350 / matrix
    np.testing.assert_allclose(affine[:3, :3], np.diag([-voxel, -voxel, 10.0]))


def test_refuses_impossible_bodies():
    for wrong in ({"matrix": 0}, {"n_slices": 0}, {"slice_spacing": 0.0}, {"fov": -1.0}):
        with pytest.raises(ValueError, match="No phantom"):
            draw(0, **wrong)


def test_every_anatomy_can_be_drawn():
    for anatomy in ANATOMIES.values():
        assert anatomy(matrix=64, fov=0.35, n_slices=1, slice_spacing=0.01, seed=0).maps.mask.any()
