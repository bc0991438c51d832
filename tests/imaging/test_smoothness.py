"""Smoothness against dense matrices and loops over pairs of neighbours, and what it learns of maps that are known."""

import numpy as np
import pytest
import torch

import mrfpipe.imaging.smoothness as smoothness
from mrfpipe.imaging.smoothness import Smoothness, learn


@pytest.fixture
def mask() -> np.ndarray:
    """A part of an image that is not alike after a flip or transposition, with a hole and a voxel alone."""
    inside = np.zeros((9, 12), bool)
    inside[1:7, 2:11] = True
    inside[:4, 2:5] = inside[5, 7] = False
    inside[8, 0] = True
    return inside


def pairs_of(mask: np.ndarray) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """All pairs of neighbours inside a mask, each by its upper or left voxel and the other."""
    inside = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    return [((y, x), other) for y, x in sorted(inside) for other in ((y + 1, x), (y, x + 1)) if other in inside]


def variances_of(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The variance at every voxel, by loops. Shape (y, x, parameters)."""
    image = np.zeros((*mask.shape, values.shape[1]))
    image[mask] = values
    pairs = pairs_of(mask)
    mean = np.mean([(image[a] - image[b]) ** 2 for a, b in pairs], axis=0)
    half, found = smoothness.AROUND // 2, np.empty_like(image)
    for y, x in np.ndindex(*mask.shape):
        near = [p for p in pairs if abs(p[0][0] - y) <= half and abs(p[0][1] - x) <= half]
        squares = np.sum([(image[a] - image[b]) ** 2 for a, b in near], axis=0)
        found[y, x] = (squares + smoothness.COMMON * mean) / (len(near) + smoothness.COMMON)
    return found


def dense(values: np.ndarray, mask: np.ndarray, parameter: int) -> np.ndarray:
    """The precision matrix of one parameter. Shape (voxels, voxels)."""
    number = np.cumsum(mask).reshape(mask.shape) - 1
    variances, matrix = variances_of(values, mask)[..., parameter], np.zeros((mask.sum(), mask.sum()))
    for a, b in pairs_of(mask):
        difference = np.zeros(mask.sum())
        difference[number[a]], difference[number[b]] = 1, -1
        matrix += np.outer(difference, difference) / np.sqrt(variances[a] * variances[b])
    return matrix


@pytest.fixture(autouse=True)
def small_squares(monkeypatch):
    """Smaller than the image, so that places differ."""
    monkeypatch.setattr(smoothness, "AROUND", 3)
    monkeypatch.setattr(smoothness, "COMMON", 2)


def test_it_is_the_dense_precision_matrix(mask):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(mask.sum(), 2)) * [1, 0.1]
    smooth = Smoothness.of(torch.from_numpy(values), mask)
    other = rng.normal(size=values.shape)
    applied, diagonal = smooth.apply(torch.from_numpy(other)).numpy(), smooth.diagonal().numpy()
    for p in range(2):
        expected = dense(values, mask, p)
        np.testing.assert_allclose(applied[:, p], expected @ other[:, p], atol=1e-9 * np.abs(expected).max())
        np.testing.assert_allclose(diagonal[:, p], np.diag(expected), rtol=1e-9)


def test_perturbations_have_this_matrix_for_their_covariance(mask):
    values = np.random.default_rng(1).normal(size=(mask.sum(), 1))
    smooth = Smoothness.of(torch.from_numpy(values), mask)
    drawn = np.stack([smooth.perturbation(np.random.default_rng(seed)).numpy()[:, 0] for seed in range(4000)])
    expected = dense(values, mask, 0)
    # An entry is known to 1 / sqrt(4000) of the variances; of some 500 none is off by more than 5 times as much.
    np.testing.assert_allclose(np.cov(drawn.T), expected, atol=0.08 * np.diag(expected).max())


def test_squares_of_several_values_add_up(mask):
    rng = np.random.default_rng(2)
    one, other = (torch.from_numpy(rng.normal(size=(mask.sum(), 1))) for _ in range(2))
    both = Smoothness.of(one, mask).learned(one, other).precision
    assert torch.allclose(Smoothness.of(one, mask).learned(one, one).precision, Smoothness.of(one, mask).precision / 2)
    assert torch.allclose(both, Smoothness.of(other, mask).learned(other, one).precision)
    assert not torch.allclose(both, Smoothness.of(one, mask).precision, rtol=0.1)


def test_a_round_solves_the_dense_system(mask, monkeypatch):
    """Parameters that depend on each other by the information of the voxels."""
    monkeypatch.setattr(smoothness, "N_ROUNDS", 1)
    monkeypatch.setattr(smoothness, "N_ITERATIONS", 300)
    rng, n = np.random.default_rng(3), int(mask.sum())
    start, gradient = rng.normal(size=(2, n, 2))
    factor = rng.normal(size=(n, 2, 2))
    information = factor @ factor.swapaxes(1, 2) + 0.1 * np.eye(2)
    maps, _ = learn(*(torch.from_numpy(each) for each in (start, information, gradient)), mask)
    matrix = np.zeros((n, 2, n, 2))
    for p in range(2):
        matrix[:, p, :, p] = dense(start, mask, p)
    for v in range(n):
        matrix[v, :, v, :] += information[v]
    right = np.einsum("vpq,vq->vp", information, start) + gradient
    expected = np.linalg.solve(matrix.reshape(2 * n, 2 * n), right.ravel()).reshape(n, 2)
    np.testing.assert_allclose(maps.numpy(), expected, atol=1e-6 * np.abs(expected).max())


def test_what_is_drawn_scatters_as_the_maps_are_uncertain(mask, monkeypatch):
    """Sum of squares: the trace of the inverse of the precision matrix, of 100 draws, known to some 3 %."""
    monkeypatch.setattr(smoothness, "N_ROUNDS", 1)
    monkeypatch.setattr(smoothness, "N_ITERATIONS", 60)
    rng, n, drawn = np.random.default_rng(5), int(mask.sum()), []
    start, factor = rng.normal(size=(n, 2)), rng.normal(size=(n, 2, 2))
    information = factor @ factor.swapaxes(1, 2) + 0.3 * np.eye(2)
    learned = Smoothness.learned

    def watched(smooth: Smoothness, *values: torch.Tensor) -> Smoothness:
        drawn.extend(values[1:])
        return learned(smooth, *values)

    monkeypatch.setattr(Smoothness, "learned", watched)
    given = (torch.from_numpy(start), torch.from_numpy(information), torch.zeros((n, 2), dtype=torch.float64))
    make = np.random.default_rng
    for seed in range(100):
        monkeypatch.setattr(np.random, "default_rng", lambda _, seed=seed: make(seed))
        learn(*given, mask)
    matrix = np.zeros((n, 2, n, 2))
    for p in range(2):
        matrix[:, p, :, p] = dense(start, mask, p)
    for v in range(n):
        matrix[v, :, v, :] += information[v]
    expected = np.trace(np.linalg.inv(matrix.reshape(2 * n, 2 * n)))
    assert len(drawn) == 100
    assert np.mean([float((sample**2).sum()) for sample in drawn]) == pytest.approx(expected, rel=0.1)


def test_it_learns_which_map_is_smooth(monkeypatch):
    """Two maps with the same noise: of a field, of which nearly all noise goes, and of patches, which stay."""
    monkeypatch.undo()
    y, x = np.mgrid[:48, :64]
    mask = np.hypot((y - 22) / 20, (x - 33) / 28) < 1
    rng = np.random.default_rng(4)
    truth = np.stack([0.5 + 0.2 * (x / 64 - (y / 48) ** 2), rng.uniform(0, 1, (8, 8))[y // 8, x // 10]], axis=-1)[mask]
    noise = 0.05
    start = torch.from_numpy(truth + noise * rng.normal(size=truth.shape))
    information = torch.eye(2, dtype=torch.float64).expand(len(truth), 2, 2) / noise**2
    maps, smooth = learn(start, information, torch.zeros_like(start), mask)
    left = np.sqrt(np.mean((maps.numpy() - truth) ** 2, axis=0)) / noise
    assert left[0] < 0.3
    assert left[1] < 0.9
    within = smooth.there[0, ..., 0].numpy()
    deviations = 1 / np.sqrt(np.median(smooth.precision[0].numpy()[within], axis=0))
    assert deviations[0] < 0.3 * deviations[1]


def test_maps_of_one_value_stay(mask):
    """As of a parameter that is known: no difference has no variance at all."""
    start = torch.full((int(mask.sum()), 1), 0.5, dtype=torch.float64)
    information = torch.ones((len(start), 1, 1), dtype=torch.float64)
    maps, smooth = learn(start, information, torch.zeros_like(start), mask)
    assert torch.isfinite(smooth.precision).all()
    assert torch.isfinite(maps).all()
    assert torch.allclose(maps, start, atol=0.01)
