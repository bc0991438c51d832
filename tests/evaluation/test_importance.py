"""Permutation importance with a reconstruction whose use of every frame is known."""

import numpy as np
import pytest
from helpers import parameter_maps

from mrfpipe.errors import MismatchError
from mrfpipe.evaluation.importance import permutation_importance, permute_frame
from mrfpipe.evaluation.metrics import evaluate
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.maps import ParameterMaps
from mrfpipe.phantom.truth import PARAMETERS

WEIGHTS = np.array([[0, 0, 2], [0.5, 0, 0], [0, 1, 0], [0, 0, 0], [0.1, 0.2, 0.3]])
"""How much of each of three frames goes into each of the five maps."""


def reconstruct(series: FrameSeries) -> ParameterMaps:
    """Weighted sums of the frames' real parts."""
    maps = np.einsum("mf,sfyx->msyx", WEIGHTS, series.images.real.astype(float)).astype(np.float32)
    ones = np.ones(series.mask.shape)
    images = {p.name: m for p, m in zip(PARAMETERS, maps, strict=True)}
    return parameter_maps(mask=series.mask, affine=series.affine, **images, m0=ones, phase=0 * ones, match=ones)


@pytest.fixture
def series():
    rng = np.random.default_rng(0)
    images = rng.uniform(0.2, 0.45, (2, 3, 11, 14)) + 1j * rng.uniform(0, 1, (2, 3, 11, 14))
    mask = rng.random((2, 11, 14)) > 0.25
    return FrameSeries(name="scan", images=images.astype(np.complex64), mask=mask, affine=np.eye(4), sequence_hash="0")


def slow_importance(series: FrameSeries, reference: ParameterMaps, seed: int) -> np.ndarray:
    """One frame at a time, one reconstruction each, NRMSE from the tables' own function."""
    plain = evaluate(reconstruct(series), reference)
    rows = []
    for frame in range(3):
        images = permute_frame(series, frame, np.random.default_rng([seed, frame]))
        other = FrameSeries(name="p", images=images, mask=series.mask, affine=series.affine, sequence_hash="0")
        errors = evaluate(reconstruct(other), reference)
        rows.append([abs(errors[p.name].nrmse - plain[p.name].nrmse) for p in PARAMETERS])
    return np.array(rows)


@pytest.mark.parametrize("n_together", [1, 2, 3, 8])
def test_importance_is_that_of_one_frame_at_a_time(series, make, n_together):
    reference = make(3, series.mask)
    found = permutation_importance(series, reference, reconstruct, seed=4, n_together=n_together)
    # NRMSE of float32 maps in s and in ms: their ratio cancels but for rounding.
    expected = slow_importance(series, reference, seed=4)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_frames_that_a_map_does_not_use_have_none(series):
    found = permutation_importance(series, reconstruct(series), reconstruct)
    used = WEIGHTS.T > 0
    assert np.all(found[~used & (WEIGHTS.sum(1) > 0)] == 0)
    # T1fat counts where FF is above 0.3 and T1H2O where it is at most 0.7; df is all zero and has no range.
    assert np.all(found[used] > 0.05)
    assert np.isnan(found[:, 3]).all()
    weights, last = WEIGHTS[4], found[:, 4]
    # Against itself the NRMSE of a permuted frame goes as its weight.
    np.testing.assert_allclose(last / last[0], weights / weights[0], rtol=0.2)


def test_only_that_frame_is_permuted_and_only_inside_the_mask(series):
    images = permute_frame(series, 1, np.random.default_rng(0))
    np.testing.assert_array_equal(images[:, [0, 2]], series.images[:, [0, 2]])
    np.testing.assert_array_equal(images[:, 1][~series.mask], series.images[:, 1][~series.mask])
    before, after = series.images[:, 1][series.mask], images[:, 1][series.mask]
    assert np.mean(before == after) < 0.1
    np.testing.assert_array_equal(np.sort(before), np.sort(after))
    # Values wander between the slices.
    assert not np.isin(images[0, 1][series.mask[0]], series.images[0, 1]).all()


def test_seed_decides(series, make):
    reference = make(3, series.mask)
    first, again, other = (permutation_importance(series, reference, reconstruct, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[:, 0], other[:, 0])


def test_progress_and_shapes(series, make):
    told = []
    permutation_importance(
        series, make(3, series.mask), reconstruct, n_together=2, progress=lambda *done: told.append(done)
    )
    assert told == [(2, 3), (3, 3)]
    with pytest.raises(MismatchError, match=r"scan has shape \(2, 11, 14\) and the reference \(2, 14, 11\)"):
        permutation_importance(series, make(0, np.ones((2, 14, 11), bool)), reconstruct)
