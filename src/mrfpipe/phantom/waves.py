"""Smooth random functions of space: sums of plane waves, which are defined at any point, whatever the matrix."""

from dataclasses import dataclass

import numpy as np

from mrfpipe.arrays import Double

ALONG_THE_LIMB = 4.0
"""Ratio of wavelengths across slices to those within a slice: tissue is elongated along a limb."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waves:
    """A random function of (x, y, z) with mean 0 and variance 1, of waves within a range of lengths."""

    vectors: Double
    """Wave vectors (x, y, z) in rad/m. Shape `(waves, 3)`."""
    phases: Double
    """Shape `(waves)`."""

    def __call__(self, x: Double, y: Double, z: float, blur: float = 0.0) -> Double:
        """Evaluate at points in m, after a Gaussian blur of standard deviation `blur` in m. Shape as `x`."""
        strength = np.exp(-0.5 * (self.vectors[:, :2] ** 2).sum(1) * blur**2) * np.sqrt(2.0 / self.phases.size)
        value = np.zeros_like(x)
        for (kx, ky, kz), phase, factor in zip(self.vectors, self.phases, strength, strict=True):
            value += factor * np.cos(kx * x + ky * y + (kz * z + phase))
        return value


def random_waves(
    rng: np.random.Generator,
    shortest: float,
    longest: float,
    *,
    n_waves: int = 24,
    direction: float = 0.0,
    stretch: float = 1.0,
) -> Waves:
    """Draw waves of lengths from `shortest` to `longest` in m, `stretch` times as long along `direction` in rad."""
    turn = 2.0 * np.pi / np.exp(rng.uniform(np.log(shortest), np.log(longest), n_waves))
    angle = np.pi * (np.arange(n_waves) + rng.random(n_waves)) / n_waves
    along, across = turn * np.cos(angle) / stretch, turn * np.sin(angle)
    cosine, sine = np.cos(direction), np.sin(direction)
    vectors = np.stack(
        [
            cosine * along - sine * across,
            sine * along + cosine * across,
            turn / ALONG_THE_LIMB * rng.choice([-1.0, 1.0], n_waves),
        ],
        axis=1,
    )
    return Waves(vectors=vectors, phases=rng.uniform(0.0, 2.0 * np.pi, n_waves))


def squashed(value: Double, least: float, most: float) -> Double:
    """Limit values smoothly to a range."""
    middle, half = (least + most) / 2, (most - least) / 2
    bent: Double = middle + half * np.tanh((value - middle) / half)
    return bent
