"""FrameSeries in both forms, and the mask that either gives."""

import dataclasses

import numpy as np
import pytest
from helpers import complex_normal

from mrfpipe.imaging.mask import contrast_sum, tissue_mask
from mrfpipe.imaging.series import FrameSeries

N_FRAMES, RANK = 30, 3


@pytest.fixture
def series() -> FrameSeries:
    rng = np.random.default_rng(0)
    return FrameSeries(
        name="s",
        images=complex_normal(rng, 2, RANK, 5, 7),
        mask=np.ones((2, 5, 7), bool),
        affine=np.eye(4),
        sequence_hash="h",
        basis=np.linalg.qr(complex_normal(rng, N_FRAMES, RANK))[0],
    )


def test_either_form_tells_its_frames(series):
    assert (series.kind, series.n_frames, series.n_slices) == ("coefficients", N_FRAMES, 2)
    frames = np.einsum("fr,sryx->sfyx", series.basis, series.images)
    plain = dataclasses.replace(series, images=frames, basis=None)
    assert (plain.kind, plain.n_frames, plain.n_slices) == ("frames", N_FRAMES, 2)
    assert not series.basis.flags.writeable


def test_a_basis_that_does_not_fit_is_refused(series):
    with pytest.raises(ValueError, match=r"images has shape \(2, 3, 5, 7\), expected \(slices, rank=2, y, x\)"):
        dataclasses.replace(series, basis=series.basis[:, :2])
    with pytest.raises(ValueError, match="not orthonormal"):
        dataclasses.replace(series, basis=2 * series.basis)
    with pytest.raises(ValueError, match="not orthonormal"):
        dataclasses.replace(series, basis=np.full_like(series.basis, np.nan))


def test_brightness_of_coefficients_is_that_of_the_frames_they_make(series):
    coefficients, basis = series.images[1], series.basis
    frames = np.tensordot(basis, coefficients, 1)
    # float32 sums in another order; no voxel is nearer than 2e-3 to the threshold, where they differ by 1e-7.
    np.testing.assert_allclose(contrast_sum(coefficients, basis), contrast_sum(frames), rtol=1e-4)
    np.testing.assert_array_equal(tissue_mask(coefficients, basis), tissue_mask(frames))
