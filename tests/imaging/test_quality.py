"""How signals and fingerprints agree, against its definition."""

import numpy as np
import pytest
from helpers import complex_normal

from mrfpipe.imaging.quality import compare_signals


@pytest.mark.parametrize(("dtype", "rounding"), [(np.complex64, 1e-5), (np.complex128, 1e-12)])
def test_it_is_that_of_the_definition_voxel_by_voxel(dtype, rounding):
    """complex64 rounds to 1e-7, an overlap that nearly cancels by some times as much."""
    rng = np.random.default_rng(0)
    d, y = (complex_normal(rng, 5, 8).astype(dtype) for _ in range(2))
    norm = 2 * np.linalg.norm(y, axis=1)  # as if half lay outside the subspace
    m0, phase, match = compare_signals(y, d)
    of_all = compare_signals(y, d, norm)[2]
    for i in range(5):
        overlap = np.vdot(d[i].astype(complex), y[i].astype(complex))
        assert m0[i] == pytest.approx(abs(overlap) / np.linalg.norm(d[i]) ** 2, rel=max(rounding, 1e-6))
        assert phase[i] == pytest.approx(np.angle(overlap), abs=max(rounding, 1e-6))
        assert match[i] == pytest.approx(abs(overlap) / np.linalg.norm(d[i]) / np.linalg.norm(y[i]), rel=1e-5)
        assert of_all[i] == pytest.approx(match[i] / 2, rel=1e-5)


def test_double_precision_holds_signals_that_are_tiny():
    """Their energy is nothing in float32."""
    rng = np.random.default_rng(0)
    d, y = (complex_normal(rng, 3, 8).astype(complex) for _ in range(2))
    plain, tiny = compare_signals(y, d), compare_signals(1e-30 * y, d)
    np.testing.assert_allclose(tiny[0], 1e-30 * plain[0], rtol=1e-6)
    for part in (1, 2):
        np.testing.assert_allclose(tiny[part], plain[part], rtol=1e-6)


def test_no_rounding_takes_the_match_above_one():
    y = complex_normal(np.random.default_rng(0), 4000, 20)
    overlap = np.abs(np.sum((3 * y).conj() * y, axis=1))
    assert (overlap / np.linalg.norm(3 * y, axis=1) / np.linalg.norm(y, axis=1)).max() > 1, "without a bound it does"
    match = compare_signals(y, 3 * y)[2]
    assert match.max() == 1
    assert match.min() > 1 - 1e-6
