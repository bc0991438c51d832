import numpy as np
import pytest

from mrfpipe.errors import MismatchError
from mrfpipe.evaluation.agreement import region_agreement
from mrfpipe.evaluation.metrics import bias, evaluate, nrmse, psnr, r2, rmse, ssim
from mrfpipe.phantom.truth import PARAMETERS

NAMES = ("FF", "T1H2O", "T1fat", "df", "B1")
EXACT = 1e-12
"""Relative tolerance between two ways to sum a few hundred float64 numbers."""


def array(*values: float) -> np.ndarray:
    return np.array(values)


def test_errors_by_hand():
    reference, estimate = array(1, 2, 3, 5), array(2, 2, 1, 6)
    assert rmse(estimate, reference) == pytest.approx(np.sqrt(6 / 4), rel=EXACT)
    assert bias(estimate, reference) == pytest.approx(0.0, abs=EXACT)
    assert nrmse(estimate, reference) == pytest.approx(np.sqrt(6 / 4) / 4, rel=EXACT)
    assert psnr(estimate, reference) == pytest.approx(20 * np.log10(5 / np.sqrt(6 / 4)), rel=EXACT)
    assert bias(array(3, 4), array(1, 1)) == 2.5


def test_metrics_agree_as_those_of_the_paper():
    """NRMSE 0.027 and PSNR 31.6 dB go together for FF, 0.027 and 25.1 dB for df: range and peak, not norm."""
    ff = np.linspace(0, 1, 101)
    assert nrmse(ff + 0.027, ff) == pytest.approx(0.027)
    assert psnr(ff + 0.027, ff) == pytest.approx(31.4, abs=0.05)
    df = np.linspace(-120, 120, 101)
    assert nrmse(df + 6.5, df) == pytest.approx(0.027, abs=1e-4)
    assert psnr(df + 6.5, df) == pytest.approx(25.3, abs=0.05)


def test_missing_voxels_have_no_error_but_their_reference_counts():
    reference, estimate = array(0, 2, 10), array(1, 3, np.nan)
    assert rmse(estimate, reference) == 1
    assert bias(estimate, reference) == 1
    assert nrmse(estimate, reference) == 0.1
    assert psnr(estimate, reference) == 20
    assert np.isnan(r2(array(1, np.nan, np.nan), reference))


def test_degenerate_inputs_are_nan_and_never_a_warning():
    empty, constant = array(), array(2, 2, 2)
    for metric in (rmse, bias, nrmse, psnr, r2):
        assert np.isnan(metric(empty, empty))
        assert np.isnan(metric(array(np.nan, np.nan), array(1, 2)))
    assert np.isnan(nrmse(array(1, 2, 3), constant))
    assert np.isnan(psnr(array(-1, -1), array(-2, -3)))
    assert np.isnan(r2(array(1, 2, 3), constant))
    assert np.isnan(r2(constant, array(1, 2, 3)))
    assert np.isnan(r2(array(1, 2, 3), array(0.1, 0.1 + 1e-17, 0.1 + 3e-17)))
    assert np.isnan(r2(array(1), array(1)))
    assert psnr(constant, constant) == np.inf


@pytest.mark.parametrize("metric", [rmse, bias, nrmse, psnr, r2])
def test_shapes_must_be_equal(metric):
    with pytest.raises(ValueError, match="shape"):
        metric(np.ones((3, 1)), np.ones(3))


def test_r2_is_that_of_a_line():
    reference = array(1, 2, 3, 4)
    assert r2(-3 * reference + 7, reference) == pytest.approx(1, rel=EXACT)
    estimate = array(1, 3, 2, 5)
    line = np.polynomial.Polynomial.fit(reference, estimate, 1)
    unexplained = np.sum((estimate - line(reference)) ** 2) / np.sum((estimate - estimate.mean()) ** 2)
    assert r2(estimate, reference) == pytest.approx(1 - unexplained, rel=1e-10)


def slow_ssim(estimate: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> float:
    """Mean of the similarity of 7 x 7 windows, by the formula; windows over the border see it mirrored."""
    peak, values = reference[mask].max(), []
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    for s in range(mask.shape[0]):
        x, y = (np.pad(np.where(mask[s], image[s], 0.0), 3, mode="symmetric") for image in (reference, estimate))
        for i, j in zip(*np.nonzero(mask[s]), strict=True):
            a, b = x[i : i + 7, j : j + 7].ravel(), y[i : i + 7, j : j + 7].ravel()
            (va, cov), (_, vb) = np.cov(a, b)
            values.append(
                (2 * a.mean() * b.mean() + c1)
                * (2 * cov + c2)
                / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (va + vb + c2))
            )
    return float(np.mean(values))


def test_ssim_is_that_of_a_slow_loop():
    rng = np.random.default_rng(0)
    reference = rng.uniform(0, 3, (2, 10, 13))
    estimate = reference + 0.3 * rng.standard_normal(reference.shape)
    mask = rng.random(reference.shape) > 0.2
    mask[1, 5:] = False
    assert ssim(estimate, reference, mask) == pytest.approx(slow_ssim(estimate, reference, mask), rel=1e-9)
    assert ssim(reference, reference, mask) == pytest.approx(1, rel=EXACT)


def test_ssim_does_not_see_what_is_outside_or_missing():
    rng = np.random.default_rng(1)
    reference, mask = rng.uniform(0, 3, (2, 10, 13)), np.ones((2, 10, 13), bool)
    estimate = reference + 0.3 * rng.standard_normal(reference.shape)
    mask[:, :3] = False
    expected = ssim(estimate, reference, mask)
    outside_nan, outside_odd = np.where(mask, estimate, np.nan), np.where(mask, reference, 99.0)
    assert ssim(outside_nan, outside_odd, mask) == expected
    missing = estimate.copy()
    missing[0, 5] = np.nan
    smaller = mask.copy()
    smaller[0, 5] = False
    assert ssim(missing, reference, mask) == pytest.approx(slow_ssim(estimate, reference, smaller), rel=1e-9)


def test_degenerate_ssim_is_nan():
    image, mask = np.ones((1, 9, 9)), np.ones((1, 9, 9), bool)
    assert np.isnan(ssim(image, -image, mask))
    assert np.isnan(ssim(image, image, ~mask))
    assert np.isnan(ssim(np.full_like(image, np.nan), image, mask))
    assert np.isnan(ssim(image[:, :6], image[:, :6], mask[:, :6]))


def test_evaluate_is_that_of_a_slow_loop(make):
    rng = np.random.default_rng(2)
    mask = rng.random((2, 11, 14)) > 0.1
    reference, maps = make(0, mask), make(1, mask & (rng.random(mask.shape) > 0.1))
    errors = evaluate(maps, reference)
    assert tuple(errors) == NAMES
    for p in PARAMETERS:
        differences, n_missing, truths = [], 0, []
        for voxel in zip(*np.nonzero(reference.mask), strict=True):
            fat = reference.si["FF"][voxel]
            if (p.name == "T1H2O" and fat > 0.7) or (p.name == "T1fat" and fat <= 0.3):
                continue
            truths.append(float(reference.si[p.name][voxel]) * p.scale)
            if maps.mask[voxel]:
                differences.append(float(maps.si[p.name][voxel]) * p.scale - truths[-1])
            else:
                n_missing += 1
        error = errors[p.name]
        expected = np.sqrt(np.mean(np.square(differences)))
        assert error.rmse == pytest.approx(expected, rel=1e-6)  # float32 maps
        assert error.bias == pytest.approx(np.mean(differences), rel=1e-4, abs=1e-6)
        assert error.nrmse == pytest.approx(expected / (max(truths) - min(truths)), rel=1e-6)
        assert error.psnr == pytest.approx(20 * np.log10(max(truths) / expected), rel=1e-6)
        assert (error.n_voxels, error.n_missing, error.n_regions) == (len(truths), n_missing, None)
        assert n_missing > 0


def test_units_are_those_of_files(make):
    reference = make(0)
    maps = make(0, T1H2O=reference.si["T1H2O"] + 0.05, df=reference.si["df"] + 3, T1fat=reference.si["T1fat"] - 0.01)
    errors = evaluate(maps, reference)
    assert errors["T1H2O"].bias == pytest.approx(50, rel=1e-4)
    assert errors["T1fat"].bias == pytest.approx(-10, rel=1e-4)
    assert errors["df"].bias == pytest.approx(3, rel=1e-4)
    assert errors["FF"].rmse == 0


def test_fat_fraction_decides_where_t1_counts(make):
    ff = np.full((2, 11, 14), 0.5)
    ff[0, 0] = 0.7
    ff[0, 1] = 0.71
    ff[0, 2] = 0.3
    ff[0, 3] = 0.31
    reference = make(0, FF=ff)
    errors = evaluate(make(1, FF=1 - ff), reference)
    n = reference.mask.sum()
    assert errors["T1H2O"].n_voxels == n - 14  # 0.7 still counts
    assert errors["T1fat"].n_voxels == n - 14  # 0.3 no longer does
    assert errors["FF"].n_voxels == errors["df"].n_voxels == n


def test_ssim_of_t1_is_over_the_whole_mask(make):
    reference = make(0)
    wrong_in_fat = np.where(reference.si["FF"] > 0.7, reference.si["T1H2O"] + 0.5, reference.si["T1H2O"])
    error = evaluate(make(0, T1H2O=wrong_in_fat), reference)["T1H2O"]
    assert error.rmse == 0
    assert error.ssim < 0.9


def test_regions_make_r2_that_of_their_means(make):
    reference, maps = make(0), make(1)
    rois = np.zeros(reference.mask.shape, np.int64)
    rois[:, 2:5], rois[:, 6:9, :4], rois[0, 9:, 9:] = 1, 2, 5
    errors = evaluate(maps, reference, rois)
    points = []
    for s in range(2):
        for label in (1, 2, 5):
            region = rois[s] == label
            inside = region & (reference.si["FF"][s] <= 0.7)
            if inside.any() and reference.si["FF"][s][region].mean() <= 0.7:
                points.append(
                    (maps.si["T1H2O"][s][inside].mean(dtype=float), reference.si["T1H2O"][s][inside].mean(dtype=float))
                )
    got, true = np.array(points).T
    assert errors["T1H2O"].n_regions == len(points) == 5
    assert errors["T1H2O"].r2_regions == pytest.approx(np.corrcoef(got, true)[0, 1] ** 2, rel=1e-5)
    voxels = evaluate(maps, reference)["T1H2O"]
    assert (errors["T1H2O"].rmse, errors["T1H2O"].r2_voxels) == (voxels.rmse, voxels.r2_voxels)
    assert np.isnan(voxels.r2_regions)
    one_region = np.where(rois == 5, 5, 0)
    assert np.isnan(evaluate(maps, reference, one_region)["FF"].r2_regions)
    assert evaluate(maps, reference, one_region)["FF"].n_regions == 1


def test_regions_of_fat_have_no_r2_of_water(make):
    """Five regions of muscle whose T1 is right, and five of fat with a few voxels of muscle whose T1 is anything."""
    ff, rois = np.full((2, 11, 14), 0.1), np.zeros((2, 11, 14), np.int64)
    for label in range(1, 11):
        rois[0, label] = label
        if label > 5:
            ff[0, label, 2:] = 0.95
    reference = make(0, FF=ff)
    maps = make(0, FF=ff, T1H2O=np.where(rois > 5, make(1).si["T1H2O"], reference.si["T1H2O"]))
    errors = evaluate(maps, reference, rois)
    assert errors["T1H2O"].n_regions == 5
    assert errors["T1H2O"].r2_regions == pytest.approx(1, rel=EXACT)
    assert errors["FF"].n_regions == 10
    for name, (points, agreement) in region_agreement(maps, reference, rois).items():
        assert errors[name].n_regions == points.estimate.size, name
        np.testing.assert_array_equal(errors[name].r2_regions, agreement.r2, err_msg=name)


def test_perfect_and_empty_maps(make):
    reference = make(0)
    for error in evaluate(reference, reference).values():
        assert (error.rmse, error.bias, error.nrmse, error.n_missing) == (0, 0, 0, 0)
        assert error.psnr == np.inf
        assert error.ssim == pytest.approx(1)
        assert error.r2_voxels == pytest.approx(1)
    empty = make(1, np.zeros(reference.mask.shape, bool))
    for error in evaluate(empty, reference).values():
        assert error.n_missing == error.n_voxels > 0
        assert np.isnan([error.rmse, error.bias, error.nrmse, error.psnr, error.ssim, error.r2_voxels]).all()
    for error in evaluate(reference, empty).values():
        assert error.n_voxels == 0


def test_scans_of_other_shapes_do_not_fit(make):
    reference = make(0)
    other = make(0, np.ones((2, 14, 11), bool))
    with pytest.raises(MismatchError, match=r"maps have shape \(2, 14, 11\) and the reference \(2, 11, 14\)"):
        evaluate(other, reference)
    with pytest.raises(MismatchError, match="regions"):
        evaluate(reference, reference, np.zeros((1, 11, 14), int))
