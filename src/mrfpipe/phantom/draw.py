"""Draw: random numbers and smooth random fields of one size, on the device of the generator."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

FIELD_SCALES = (0.7, 1.5, 3.0, 6.0, 12.0)
"""Standard deviations, in voxels, of the Gaussian filters that are applied to white noise for a texture of a field."""
TISSUE_SCALES = (0.0, *FIELD_SCALES)
"""The same for tissue, whose texture is also finer than a voxel: part of it lies beyond the measured k-space."""

PATCHY = 0.3
"""Share of the textures with patches of two values, like streaks and islands of fat."""
STEEPNESS = 4.0
"""Steepness of the edges between patches."""


class Draw:
    """Random numbers and fields of one size, from a given generator."""

    def __init__(self, matrix: int, random: torch.Generator) -> None:
        self.matrix, self.device, self._random = matrix, random.device, random
        k = torch.fft.fftfreq(matrix, device=self.device)
        self._square = k[:, None] ** 2 + k[None, :] ** 2

    def even(self, low: float, high: float) -> float:
        """Draw a uniformly distributed number."""
        return low + (high - low) * float(torch.rand((), device=self.device, generator=self._random))

    def relative(self, low: float, high: float) -> float:
        """Draw a positive number whose logarithm is uniformly distributed."""
        return math.exp(self.even(math.log(low), math.log(high)))

    def normal(self) -> float:
        """Draw a standard normal number."""
        return float(torch.randn((), device=self.device, generator=self._random))

    def smooth(self, scale: float) -> Tensor:
        """Draw a field of mean 0 and variance 1: Gaussian-filtered white noise, `scale` in voxels. Shape `(y, x)`."""
        field = self.blurred(torch.randn((self.matrix, self.matrix), device=self.device, generator=self._random), scale)
        standard: Tensor = (field - field.mean()) / field.std()
        return standard

    def blurred(self, images: Tensor, scale: float) -> Tensor:
        """Blur images by a Gaussian of standard deviation `scale` in voxels. Shape `(..., y, x)`."""
        transfer = torch.exp(-2 * (math.pi * scale) ** 2 * self._square)
        blurred: Tensor = torch.fft.ifft2(torch.fft.fft2(images) * transfer).real
        return blurred

    def texture(self, scales: Sequence[float] = TISSUE_SCALES) -> Tensor:
        """Draw a field of mean 0 and variance 1 on several scales at once, sometimes with patches. Shape `(y, x)`."""
        shares = torch.rand(len(scales), device=self.device, generator=self._random).log().neg()
        shares = (shares / shares.sum()).sqrt()
        field = torch.stack([share * self.smooth(scale) for share, scale in zip(shares, scales, strict=True)]).sum(0)
        if self.even(0, 1) < PATCHY:
            field = torch.tanh(STEEPNESS * field)
        standard: Tensor = (field - field.mean()) / field.std()
        return standard
