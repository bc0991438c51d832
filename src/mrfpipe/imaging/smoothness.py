"""Smoothness: by how much neighbouring voxels differ in each map, as the scan itself tells.

The prior of a joint reconstruction: the difference of two neighbours is normally distributed around 0, with a variance
of its own for each parameter and place. The variances are those that make the measurement most likely, found by
expectation maximisation (Dempster et al., J R Stat Soc B 39:1, 1977). In turn

1. the maps that are most probable with the present variances are estimated, and a sample of their uncertainty is drawn
   by perturbing data and prior (Papandreou and Yuille, Adv Neural Inf Process Syst 23, 2010);
2. each variance becomes the mean of the squared differences around it, of the maps and of the sample.

A map whose differences are no larger than noise and aliasing explain becomes smooth, such as B1. Larger differences are
kept. No parameter has a setting of its own.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mrfpipe.arrays import Bool
from mrfpipe.imaging.normal import solve_by_blocks, times

N_ROUNDS = 3
"""Times that maps and variances are estimated in turn."""
N_ITERATIONS = 8
"""Iterations of conjugate gradients in a round. They start from the maps of the previous round."""
AROUND = 7
"""Side, in voxels, of the square over which squared differences are averaged to a variance."""
COMMON = 20
"""Weight of the mean over the whole map in the mean over a square, as a number of differences."""
LEAST = 1e-4
"""Least standard deviation of a difference."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Smoothness:
    """A normal distribution of the differences of neighbouring voxels of a mask."""

    voxels: Tensor
    """Number of each voxel of the mask in the image. Shape `(voxels)`."""
    there: Tensor
    """Whether a voxel and its neighbour below, and to its right, are both in the mask. Shape `(2, y, x, 1)`."""
    precision: Tensor
    """One over the variance of their difference, 0 if one is outside the mask. Shape `(2, y, x, parameters)`."""

    @classmethod
    def of(cls, values: Tensor, mask: Bool) -> "Smoothness":
        """Learn the smoothness from the differences within some maps. Shapes `(voxels, parameters)` and `(y, x)`."""
        inside = torch.from_numpy(mask)
        there = torch.zeros((2, *mask.shape, 1), dtype=torch.bool)
        there[0, :-1, :, 0], there[1, :, :-1, 0] = inside[:-1] & inside[1:], inside[:, :-1] & inside[:, 1:]
        unknown = there.new_zeros((2, *mask.shape, values.shape[1]), dtype=values.dtype)
        return cls(voxels=inside.flatten().nonzero()[:, 0], there=there, precision=unknown).learned(values)

    def learned(self, *values: Tensor) -> "Smoothness":
        """Return the smoothness with variances estimated from the squared differences, summed over some values.

        Shape `(voxels, parameters)` each.
        """
        squares = torch.stack([self._differences(each) ** 2 * self.there for each in values]).sum(dim=(0, 1))
        n_pairs = self.there.sum(dim=0).to(squares.dtype)
        mean = squares.sum(dim=(0, 1)) / n_pairs.sum().clamp(min=1)
        variance = (_around(squares) + COMMON * mean) / (_around(n_pairs) + COMMON)
        root = 1 / variance.clamp(min=LEAST**2).sqrt()
        precision = torch.zeros_like(self.precision)
        precision[0, :-1], precision[1, :, :-1] = root[:-1] * root[1:], root[:, :-1] * root[:, 1:]
        return Smoothness(voxels=self.voxels, there=self.there, precision=precision * self.there)

    def apply(self, values: Tensor) -> Tensor:
        """Multiply values of the voxels by the precision matrix of the maps. Shape `(voxels, parameters)`."""
        return self._collected(self.precision * self._differences(values))

    def diagonal(self) -> Tensor:
        """Return the diagonal of the precision matrix. Shape `(voxels, parameters)`."""
        return self._collected(self.precision, sign=1)

    def perturbation(self, rng: np.random.Generator) -> Tensor:
        """Draw values whose covariance is the precision matrix. Shape `(voxels, parameters)`."""
        return self._collected(self.precision.sqrt() * _white(rng, self.precision))

    def _differences(self, values: Tensor) -> Tensor:
        """Subtract from each voxel the one below and the one to its right. Shape `(2, y, x, parameters)`."""
        n_y, n_x = self.there.shape[1:3]
        image = values.new_zeros((n_y * n_x, values.shape[1]))
        image[self.voxels] = values
        image = image.reshape(n_y, n_x, -1)
        found = torch.zeros_like(self.precision)
        torch.sub(image[:-1], image[1:], out=found[0, :-1])
        torch.sub(image[:, :-1], image[:, 1:], out=found[1, :, :-1])
        return found

    def _collected(self, pairs: Tensor, sign: int = -1) -> Tensor:
        """Sum the values of pairs over the voxels of the mask; a pair's second voxel gets `sign` times its value."""
        total = pairs[0] + pairs[1]
        total[1:] += sign * pairs[0, :-1]
        total[:, 1:] += sign * pairs[1, :, :-1]
        return total.flatten(0, 1)[self.voxels]


def learn(start: Tensor, information: Tensor, gradient: Tensor, mask: Bool) -> tuple[Tensor, Smoothness]:
    """Learn the smoothness of maps from the likelihood of each voxel on its own.

    Parameters
    ----------
    start
        Parameters, as shares of their ranges. Shape `(voxels, parameters)`.
    information
        Fisher information of each voxel's measurement. Shape `(voxels, parameters, parameters)`.
    gradient
        Gradient of the logarithm of its likelihood at the start. Shape `(voxels, parameters)`.
    mask
        Where the voxels are. Shape `(y, x)`.

    Returns
    -------
        The most probable maps, if voxels were measured independently, and their smoothness.
    """
    rng, maps, smooth = np.random.default_rng(0), start, Smoothness.of(start, mask)
    root, right = torch.linalg.cholesky(information), times(information, start) + gradient
    for _ in range(N_ROUNDS):
        solve = partial(
            solve_by_blocks,
            partial(_posterior, information, smooth),
            information + torch.diag_embed(smooth.diagonal()),
            n_iterations=N_ITERATIONS,
        )
        maps = solve(right, maps)
        sample = solve(times(root, _white(rng, right)) + smooth.perturbation(rng), torch.zeros_like(right))
        smooth = smooth.learned(maps, sample)
    return maps, smooth


def _posterior(information: Tensor, smooth: Smoothness, values: Tensor) -> Tensor:
    """Multiply values by the posterior precision matrix of the maps. Shape `(voxels, parameters)`."""
    return times(information, values) + smooth.apply(values)


def _around(values: Tensor) -> Tensor:
    """Sum values over the square around each voxel. Shape `(y, x, any)`."""
    means = avg_pool2d(values.movedim(2, 0)[None], AROUND, stride=1, padding=AROUND // 2)[0]
    return means.movedim(0, 2) * AROUND**2


def _white(rng: np.random.Generator, like: Tensor) -> Tensor:
    """Draw numbers of unit variance."""
    return torch.from_numpy(rng.standard_normal(like.shape))
