"""Agreement against scipy, a loop over regions, and numbers worked out by hand."""

import numpy as np
import pytest
from scipy import stats

from mrfpipe.errors import MismatchError
from mrfpipe.evaluation.agreement import agree, region_agreement
from mrfpipe.phantom.truth import PARAMETERS

EXACT = 1e-10
"""Relative tolerance between two ways to sum some hundred float64 numbers."""


def test_bland_altman_by_hand():
    """Differences 1, -1, 3: mean 1, deviation 2."""
    found = agree(np.array([2.0, 1, 6]), np.array([1.0, 2, 3]))
    assert (found.n, found.bias, found.deviation) == (3, 1, 2)
    assert (found.lower, found.upper) == pytest.approx((1 - 3.92, 1 + 3.92))


@pytest.mark.parametrize("slope", [0.8, -1.3])
def test_regression_is_that_of_scipy(slope):
    rng = np.random.default_rng(0)
    x = rng.normal(1200, 150, 200)
    y = slope * x + 40 + rng.normal(0, 30, 200)
    found, line = agree(y, x), stats.linregress(x, y)
    assert found.slope == pytest.approx(line.slope, rel=EXACT)
    assert found.intercept == pytest.approx(line.intercept, rel=1e-8)
    assert found.correlation == pytest.approx(stats.pearsonr(x, y).statistic, rel=EXACT)
    assert found.r2 == pytest.approx(line.rvalue**2, rel=EXACT)
    inside = np.mean((y - x > found.lower) & (y - x < found.upper))
    assert 0.9 < inside < 0.99


def test_missing_pairs_are_left_out():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 20))
    y[3] = np.nan
    assert agree(y, x) == agree(np.delete(y, 3), np.delete(x, 3))


def test_what_is_not_defined_is_nan_and_never_a_warning():
    none, one = agree(np.array([]), np.array([])), agree(np.array([3.0]), np.array([1.0]))
    assert none.n == 0
    assert np.isnan([none.bias, none.deviation, none.lower, none.correlation, none.slope, none.intercept]).all()
    assert (one.n, one.bias) == (1, 2)
    assert np.isnan([one.deviation, one.upper, one.r2]).all()
    constant = agree(np.array([1.0, 2, 3]), np.array([5.0, 5, 5]))
    assert constant.bias == -3
    assert np.isnan([constant.correlation, constant.slope, constant.intercept]).all()
    with pytest.raises(ValueError, match="shape"):
        agree(np.ones(3), np.ones(4))


def slow_points(maps, reference, parameter, rois):
    """Every region of every slice on its own, for all parameters but T1H2O and T1fat."""
    for s in range(rois.shape[0]):
        for label in sorted(set(rois[s].ravel()) - {0}):
            inside = (rois[s] == label) & reference.mask[s] & maps.mask[s]
            if inside.any():
                got, true = (m[parameter.name][s][inside].astype(float).mean() for m in (maps, reference))
                yield got, true


def test_points_are_those_of_a_loop(make):
    rng = np.random.default_rng(2)
    mask = rng.random((2, 11, 14)) > 0.3
    maps, reference = make(1, mask & (rng.random(mask.shape) > 0.2)), make(0, mask)
    rois = rng.integers(0, 5, mask.shape) * 3
    rois[1][rois[1] == 6] = 0
    found = region_agreement(maps, reference, rois)
    for parameter in PARAMETERS:
        points, agreement = found[parameter.name]
        assert agreement == agree(points.estimate, points.reference)
        if parameter.name in ("FF", "df", "B1"):
            expected = list(slow_points(maps, reference, parameter, rois))
            assert len(expected) == 7
            for i, name in enumerate(("estimate", "reference")):
                np.testing.assert_allclose(getattr(points, name), [e[i] for e in expected], rtol=EXACT)


def test_fat_voxels_and_fat_regions_have_no_t1_of_water(make):
    """Region 1 has one voxel that is fat, region 2 is fat but for one voxel, region 3 has none that counts."""
    ff, rois = np.full((2, 11, 14), 0.1), np.zeros((2, 11, 14), int)
    rois[0, 0, :4], rois[0, 1, :4], rois[1, 2, :2] = 1, 2, 3
    ff[0, 0, 0] = 0.9
    ff[0, 1, 1:4] = 0.95
    ff[1, 2, :2] = 0.8
    reference, maps = make(0, FF=ff), make(1)
    found = region_agreement(maps, reference, rois)
    water = found["T1H2O"][0]
    assert water.reference.size == 1
    assert water.reference[0] == pytest.approx(1e3 * reference.si["T1H2O"][0, 0, 1:4].mean(), rel=1e-6)
    assert found["FF"][0].reference.size == 3


def test_scans_of_other_shapes_do_not_fit(make):
    with pytest.raises(MismatchError, match=r"regions have shape \(1, 11, 14\) and the reference \(2, 11, 14\)"):
        region_agreement(make(0), make(1), np.zeros((1, 11, 14), int))
    with pytest.raises(MismatchError, match="maps have shape"):
        region_agreement(make(0, np.ones((2, 14, 11), bool)), make(1), np.zeros((2, 11, 14), int))
