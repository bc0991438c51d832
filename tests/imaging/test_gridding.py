import numpy as np
import sigpy
from helpers import complex_normal

from mrfpipe.imaging.gridding import grid_samples, hat, interpolate, kaiser_bessel

SIZE = 24


def test_one_sample_by_hand():
    """A quarter of the way from row 4 to 5, on column 0, of which the hat covers the neighbours with weight 0."""
    grid = grid_samples(np.array([[8j]], np.complex64), hat(np.array([[4.25, 0]], np.float32), SIZE))[0]
    expected = np.zeros((SIZE, SIZE), np.complex64)
    expected[4:6, 0] = 6j, 2j
    np.testing.assert_array_equal(grid, expected)


def test_behind_its_end_a_grid_begins_again():
    rng = np.random.default_rng(0)
    samples, points = complex_normal(rng, 2, 70), rng.uniform(-3, SIZE + 3, (70, 2)).astype(np.float32)
    taps, grids = kaiser_bessel(points, SIZE, 6, 9.9), complex_normal(rng, 2, SIZE, SIZE)
    larger = grid_samples(samples, kaiser_bessel(points + 6, SIZE + 12, 6, 9.9))
    folded = np.zeros((2, SIZE, SIZE), np.complex64)
    for y in range(SIZE + 12):
        for x in range(SIZE + 12):
            folded[:, (y - 6) % SIZE, (x - 6) % SIZE] += larger[:, y, x]
    # The points of the larger grid are other float32 numbers, and its kernel reaches 3e3 and falls by a third a point.
    np.testing.assert_allclose(grid_samples(samples, taps), folded, atol=1e-5 * np.abs(folded).max())
    left, right = np.vdot(grids, folded), np.vdot(interpolate(grids, taps), samples)
    assert abs(left - right) < 1e-5 * np.linalg.norm(grids) * np.linalg.norm(folded)


def test_a_point_that_is_no_number_is_nowhere():
    lost = np.full((1, 2), np.nan, np.float32)
    assert not grid_samples(np.ones((1, 1), np.complex64), kaiser_bessel(lost, SIZE, 6, 9.9)).any()


def test_kernel_and_points_are_sigpys():
    """On a point of the grid, as at the centre of k-space, its kernel covers one point more."""
    rng = np.random.default_rng(6)
    points, samples = rng.uniform(-3, SIZE + 3, (150, 2)).astype(np.float32), complex_normal(rng, 2, 150)
    points[:3], grids = 0, complex_normal(rng, 2, SIZE, SIZE)
    taps, kernel = kaiser_bessel(points, SIZE, 6, 9.9), {"kernel": "kaiser_bessel", "width": 6, "param": 9.9}
    # float32 sums of some ten products.
    theirs, ours = sigpy.gridding(samples, points, (2, SIZE, SIZE), **kernel), grid_samples(samples, taps)
    np.testing.assert_allclose(theirs, ours, atol=1e-5 * np.abs(ours).max())
    theirs, ours = sigpy.interpolate(grids, points, **kernel), interpolate(grids, taps)
    np.testing.assert_allclose(theirs, ours, atol=1e-5 * np.abs(ours).max())
