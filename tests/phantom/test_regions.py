"""All regions: what a radiologist would check, what disease does to them, and what a truth must fulfil."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from mrfpipe.phantom.anatomy import ANATOMIES, REGIONS
from mrfpipe.phantom.disease import SUSCEPTIBILITY, Traits
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.protocol import load_protocol

TRUNKS = ("shoulder", "abdomen", "pelvis")
MATRIX = 112


def draw(name, seed=0, matrix=MATRIX, n_slices=1, slice_spacing=0.012, traits=None):
    return ANATOMIES[name](
        matrix=matrix, fov=0.35, n_slices=n_slices, slice_spacing=slice_spacing, seed=seed, traits=traits
    )


def ill(pattern, stage=1.0, **more):
    return Traits(pattern=pattern, stage=stage, **more)


@pytest.fixture(scope="module")
def people():
    return {name: [draw(name, seed) for seed in range(3)] for name in REGIONS}


def centroid(phantom, name):
    y, x = np.nonzero(phantom.rois[0] == phantom.roi_names.index(name) + 1)
    assert y.size, name
    return y.mean(), x.mean()


def group_means(name, traits, field="FF", seeds=(0, 1)):
    """Mean of a map over the regions of interest of every muscle group."""
    values = {}
    region = REGIONS[name]
    groups = [m.group for m in region.template.muscles] * (2 if region.paired else 1)
    for seed in seeds:
        phantom = draw(name, seed, matrix=144, traits=traits)
        for number, group in enumerate(groups, 1):
            values.setdefault(group, []).append(phantom.maps.si[field][phantom.rois == number])
    return {group: float(np.concatenate(parts).mean()) for group, parts in values.items() if sum(map(len, parts))}


@pytest.mark.parametrize("name", REGIONS)
def test_values_are_within_the_dictionary(people, name):
    grid = load_protocol("t1ff").grid
    for phantom in people[name]:
        mask = phantom.maps.mask
        for p in PARAMETERS:
            inside = phantom.maps.si[p.name][mask]
            assert grid[p.name][0] <= inside.min() < inside.max() <= grid[p.name][-1], p.name
        assert 0.7 <= phantom.maps.m0[mask].min() <= phantom.maps.m0[mask].max() <= 1


@pytest.mark.parametrize("name", REGIONS)
def test_the_body_is_within_the_field_of_view(people, name):
    for phantom in people[name]:
        mask = phantom.maps.mask[0]
        assert not (mask[[0, -1]].any() or mask[:, [0, -1]].any())


@pytest.mark.parametrize("name", REGIONS)
def test_regions_of_interest_are_muscle(people, name):
    for phantom in people[name]:
        inside = phantom.rois > 0
        assert phantom.maps.mask[inside].all()
        # Well below the fat around: the most affected muscle still has water.
        assert phantom.maps.si["FF"][inside].max() < 0.975
        assert 1.0 < np.median(phantom.maps.si["T1H2O"][inside]) < 1.5
        assert phantom.rois.max() <= len(phantom.roi_names) == len(set(phantom.roi_names))
    # At this matrix the thinnest muscles vanish; most are there.
    drawn = np.unique(people[name][0].rois).size - 1
    assert drawn >= 0.6 * len(people[name][0].roi_names)


def test_leg_muscles_lie_where_they_belong():
    phantom = draw("leg", 1, matrix=256)
    for side, medial in (("right", 1), ("left", -1)):
        tibialis, soleus = centroid(phantom, f"{side} tibialis anterior"), centroid(phantom, f"{side} soleus")
        inner = centroid(phantom, f"{side} gastrocnemius, medial head")
        outer = centroid(phantom, f"{side} gastrocnemius, lateral head")
        peronei = centroid(phantom, f"{side} peroneus longus and brevis")
        deep = centroid(phantom, f"{side} tibialis posterior")
        assert tibialis[0] < deep[0] < soleus[0] < min(inner[0], outer[0])
        assert medial * peronei[1] < medial * deep[1]
        assert medial * outer[1] < medial * inner[1]
    holes = ndimage.label(~phantom.maps.mask[0])[1]
    # Air, and the cortex of a tibia and a fibula on either side.
    assert holes == 5


@pytest.mark.parametrize(
    ("name", "anterior", "posterior"),
    [
        ("shoulder", "pectoralis major", "trapezius"),
        ("abdomen", "rectus abdominis", "erector spinae"),
        ("pelvis", "iliopsoas", "gluteus maximus"),
    ],
)
def test_a_trunk_has_its_front_in_front_and_its_right_on_the_left_of_the_image(name, anterior, posterior):
    phantom = draw(name, 1, matrix=200)
    for muscle in (anterior, posterior):
        assert centroid(phantom, f"right {muscle}")[1] < 100 < centroid(phantom, f"left {muscle}")[1]
    assert centroid(phantom, f"left {anterior}")[0] < centroid(phantom, f"left {posterior}")[0]


def test_regions_differ_in_shape(people):
    def width_over_depth(mask):
        return np.any(mask, 0).sum() / np.any(mask, 1).sum()

    shapes = {name: [width_over_depth(p.maps.mask[0]) for p in people[name]] for name in REGIONS}
    assert min(shapes["shoulder"]) > 1.9 > 1.6 > max(shapes["pelvis"]) > min(shapes["abdomen"]) > 1.1
    parts = {name: ndimage.label(people[name][0].maps.mask[0])[1] for name in ("thigh", "leg")}
    assert all(n >= 2 for n in parts.values())
    thighs, legs = (np.mean([p.maps.mask.sum() for p in people[name]]) for name in ("thigh", "leg"))
    assert legs < 0.9 * thighs


@pytest.mark.parametrize("name", TRUNKS)
def test_gas_is_dark_and_bends_the_field(name):
    phantom = draw(name, 2)
    mask = phantom.maps.mask[0]
    body = ndimage.binary_fill_holes(mask)
    holes = ndimage.binary_opening(body & ~mask, np.ones((2, 2)))
    assert holes.any()
    away = ndimage.distance_transform_edt(~holes)
    df = phantom.maps.si["df"][0]
    near, far = df[mask & (away < 3)], df[mask & (away > 8) & (away < 20)]
    assert abs(near.mean() - far.mean()) > 5


@pytest.mark.parametrize("name", REGIONS)
def test_slices_are_one_body(name):
    near, far = draw(name, 2, n_slices=2, slice_spacing=0.002), draw(name, 2, n_slices=2, slice_spacing=0.08)

    def likeness(phantom):
        both = phantom.maps.mask.all(axis=0)
        return np.corrcoef(*phantom.maps.si["FF"][:, both])[0, 1]

    assert likeness(near) > 0.95 > likeness(far)


@pytest.mark.parametrize("name", REGIONS)
def test_left_is_not_the_mirror_image_of_right(name):
    phantom = draw(name, 4, traits=ill("BMD", 0.6))
    mask, ff = phantom.maps.mask[0, :, 1:], phantom.maps.si["FF"][0, :, 1:]
    both = mask & mask[:, ::-1]
    assert np.abs(ff - ff[:, ::-1])[both].mean() > 0.02


@pytest.mark.parametrize("name", REGIONS)
def test_end_stage_is_fat_and_onset_is_not(name):
    struck = [group for group, share in SUSCEPTIBILITY["DMD"].items() if share >= 0.9]
    late, early = group_means(name, ill("DMD", 1.0)), group_means(name, ill("DMD", 0.1))
    # Stage times share, give or take 0.1 for every muscle: 0.9 is a fat fraction of 0.75, 0.1 one of 0.1.
    for group in set(late) & set(struck):
        assert late[group] > 0.55 > 0.25 > early[group], group


def test_what_a_disease_spares_stays_muscle():
    thigh, leg = group_means("thigh", ill("BMD")), group_means("leg", ill("BMD"))
    assert thigh["hamstrings"] > 0.6 > 0.25 > max(thigh["sartorius"], thigh["gracilis"])
    assert leg["medial gastrocnemius"] > 0.5 > 0.2 > leg["deep posterior"]
    inclusion = group_means("thigh", ill("IBM"))
    assert inclusion["quadriceps"] > inclusion["adductors"] + 0.4
    assert group_means("shoulder", ill("FSHD"))["girdle"] > group_means("shoulder", ill("FSHD"))["deltoid"] + 0.4


def test_inflammation_raises_t1_of_water():
    calm, inflamed = (
        group_means("leg", ill("IBM", 0.5, inflammation=chance), "T1H2O", seeds=(0, 1, 2)) for chance in (-1.0, 1.0)
    )
    assert np.mean(list(inflamed.values())) > np.mean(list(calm.values())) + 0.05


def test_streaks_are_finer_than_patches():
    def grain(streaks):
        phantom = draw("thigh", 3, matrix=256, traits=ill("quadriceps", 0.55, streaks=streaks))
        ff, muscle = phantom.maps.si["FF"][0], phantom.rois[0] == phantom.roi_names.index("right vastus lateralis") + 1
        steps = np.diff(ff, axis=1)[muscle[:, 1:] & muscle[:, :-1]]
        return steps.std() / ff[muscle].std()

    assert grain(1.0) > 1.3 * grain(0.0)


def test_growth_and_fatness_change_the_build():
    plain = ill("healthy")
    area = {
        key: draw("leg", 5, traits=replace(plain, **change)).maps.mask.sum()
        for key, change in {"usual": {}, "small": {"growth": 0.7}, "fat": {"fatness": 1.5}}.items()
    }
    assert area["small"] < 0.6 * area["usual"] < 0.6 * area["fat"]
