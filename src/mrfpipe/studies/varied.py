"""Varied: bodies as a training sees them, turned, deformed in their fields, textured and hurt, drawn on its device.

What makes a network fail on real anatomy is a phantom that is too regular: tissue that does not vary within a few
voxels, proton density that tells fat from muscle, fields that always look alike, no lesion and no void. So a drawn body
is turned and scaled, its fields are exchanged for others, its tissue gets random fields on all scales (those of
`mrfpipe.phantom.texture`), spots of another fat fraction or T1 and voids are put into it, and its proton density gets a
random field and a smooth phase.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from mrfpipe.phantom.texture import SCALES, STRONGEST, WEAKEST
from mrfpipe.protocol import Grid

MOST_SPOTS = 12
SMALLEST, LARGEST = 1.0, 14.0
"""Radius of a spot in voxels."""
DENSITY = 0.25
"""Greatest standard deviation of the logarithm of the proton density's smooth field."""
FINE_DENSITY = 0.08
"""And of its field on all scales."""


def varied(body: Mapping[str, Tensor], grid: Grid, random: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    """Vary a body.

    Parameters
    ----------
    body
        Maps in SI units, with proton density `m0`, zero outside the body. Shape `(y, x)` each.
    grid
        Its ends bound the maps.
    random
        Decides everything.

    Returns
    -------
        Maps, and complex proton density, which is zero outside. Shape `(y, x)` each.
    """
    width = body["m0"].shape[-1]
    draw = _Draw(width, body["m0"].device, random)
    names = [name for name in body if name != "m0"]
    inside, *images = draw.turned(torch.stack([(body["m0"] > 0).float(), *(body[name] for name in (*names, "m0"))]))
    mask = inside > 0.5
    *values, density = (torch.where(mask, image / inside.clamp(min=0.5), 0) for image in images)
    maps = dict(zip(names, values, strict=True))
    maps["df"] = (
        draw.even(-1.4, 1.4) * maps["df"] + 20 * draw.normal() + 30 * draw.smooth(width * draw.even(0.07, 0.23))
    )
    maps["B1"] = 1 + draw.even(0.6, 1.3) * (maps["B1"] - 1) + 0.05 * draw.normal()
    maps["T1H2O"] = maps["T1H2O"] * math.exp(0.05 * draw.normal())
    for _ in range(int(draw.even(0, MOST_SPOTS + 1))):
        spot = draw.spot(mask)
        if draw.even(0, 1) < 0.6:
            maps["FF"] = maps["FF"] + spot * draw.even(-0.6, 0.6)
        if draw.even(0, 1) < 0.6:
            maps["T1H2O"] = maps["T1H2O"] + spot * draw.even(-0.3, 0.6)
        if draw.even(0, 1) < 0.2:
            density = density * (1 - spot * draw.even(0.5, 0.97))
    for name in names:
        strength = STRONGEST[name] * math.exp(draw.even(math.log(WEAKEST), 0)) * (draw.even(0, 1) < 0.8)
        low, high = float(grid[name][0]), float(grid[name][-1])
        maps[name] = (maps[name] + strength * draw.texture()).clamp(low, high)
    density = density * torch.exp(draw.even(0, DENSITY) * draw.smooth(width * draw.even(0.02, 0.17)))
    density = density * torch.exp(draw.even(0, FINE_DENSITY) * draw.texture())
    phase = draw.even(-math.pi, math.pi) + draw.even(0, 1.5) * draw.smooth(0.23 * width)
    return maps, torch.where(mask, density.clamp(min=0.01) * torch.exp(1j * phase), 0)


def random_coils(n_coils: int, matrix: int, device: torch.device, random: torch.Generator) -> Tensor:
    """Draw smooth receive sensitivities of coils around the body. Shape `(coils, y, x)`."""
    draw = _Draw(matrix, device, random)
    axis = (torch.arange(matrix, device=device) - matrix // 2) / matrix
    y, x = axis[:, None], axis[None, :]
    start, coils = draw.even(0, 2 * math.pi), []
    for coil in range(n_coils):
        angle = start + 2 * math.pi * (coil + 0.3 * draw.normal()) / n_coils
        dx, dy = x - draw.even(0.5, 0.75) * math.cos(angle), y - draw.even(0.38, 0.6) * math.sin(angle)
        falloff = (1 + (dx**2 + dy**2) / draw.even(0.25, 0.5) ** 2) ** -1.5
        phase = draw.even(-math.pi, math.pi) + 2 * draw.normal() * dx + 2 * draw.normal() * dy
        coils.append(falloff * torch.exp(1j * phase))
    return torch.stack(coils)


class _Draw:
    """Random numbers and fields of one size."""

    def __init__(self, matrix: int, device: torch.device, random: torch.Generator) -> None:
        self._matrix, self._device, self._random = matrix, device, random
        k = torch.fft.fftfreq(matrix, device=device)
        self._square = k[:, None] ** 2 + k[None, :] ** 2

    def even(self, low: float, high: float) -> float:
        """Draw a number between two evenly."""
        return low + (high - low) * float(torch.rand((), device=self._device, generator=self._random))

    def normal(self) -> float:
        """Draw a normal number."""
        return float(torch.randn((), device=self._device, generator=self._random))

    def smooth(self, scale: float) -> Tensor:
        """Draw a field of mean 0 and variance 1: white noise through a Gaussian of so many voxels. Shape `(y, x)`."""
        white = torch.randn((self._matrix, self._matrix), device=self._device, generator=self._random)
        field = torch.fft.ifft2(torch.fft.fft2(white) * torch.exp(-2 * (math.pi * scale) ** 2 * self._square)).real
        standard: Tensor = (field - field.mean()) / field.std()
        return standard

    def texture(self) -> Tensor:
        """Draw a field of mean 0 and variance 1 on several scales at once. Shape `(y, x)`."""
        shares = torch.rand(len(SCALES), device=self._device, generator=self._random).log().neg()
        shares = (shares / shares.sum()).sqrt()
        return torch.stack([share * self.smooth(scale) for share, scale in zip(shares, SCALES, strict=True)]).sum(0)

    def spot(self, mask: Tensor) -> Tensor:
        """Draw an ellipse inside a body, 1 within and 0 outside, its edge a voxel wide. Shape `(y, x)`."""
        places = torch.nonzero(mask)
        y, x = places[int(self.even(0, len(places) - 1))].tolist()
        radius = SMALLEST * (LARGEST / SMALLEST) ** self.even(0, 1)
        aspect, angle = self.even(0.4, 1), self.even(0, math.pi)
        rows = torch.arange(self._matrix, device=self._device) - y
        dy, dx = rows[:, None], torch.arange(self._matrix, device=self._device)[None, :] - x
        along, across = dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)
        distance = torch.sqrt(along**2 + (across / aspect) ** 2)
        share: Tensor = (radius + 0.5 - distance).clamp(0, 1)
        return share

    def turned(self, images: Tensor) -> Tensor:
        """Turn, scale and mirror images about the centre by one drawn map. Shape `(images, y, x)`."""
        angle, scale = self.even(0, 2 * math.pi), self.even(0.8, 1.15)
        mirror = 1 if self.even(0, 1) < 0.5 else -1
        c, s = math.cos(angle) / scale, math.sin(angle) / scale
        matrix = torch.tensor([[[mirror * c, -s, 0], [mirror * s, c, 0]]], device=self._device)
        grid = torch.nn.functional.affine_grid(matrix, [1, len(images), *images.shape[1:]], align_corners=False)
        return torch.nn.functional.grid_sample(images[None], grid, align_corners=False)[0]
