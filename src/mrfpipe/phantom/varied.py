"""Varied: augmentation of bodies for training, with rotations, new fields, textures and lesions, on the device.

A network trained on phantoms that are too regular fails on real anatomy: tissue without variation over a few voxels,
proton density that distinguishes fat from muscle, fields that always look alike, no lesions and no voids. Therefore a
body is rotated and scaled, its edges are blurred, its fields are changed, its tissue gets random textures on all
scales, spots of other values and voids are added, and its proton density gets a random field and a smooth phase.

Bodies differ in their roughness, which is similar in all maps of a body, and in the sharpness of their edges: a network
has to learn from a neighbourhood how far to trust it.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from mrfpipe.phantom.draw import FIELD_SCALES, TISSUE_SCALES, Draw
from mrfpipe.protocol import Protocol
from mrfpipe.quantities import B1, FAT_FRACTION, OFF_RESONANCE, T1, T2, Parameter

STRONGEST = {T1: 0.14, T2: 0.14, FAT_FRACTION: 0.10, OFF_RESONANCE: 0.035, B1: 0.06}
"""Largest standard deviation of a texture, relative to a parameter's `unit`."""
SMOOTHEST, WEAKEST = 0.05, 0.3
"""Least roughness of a body, and of a map in a body of roughness 1, as shares of the largest."""
SPOTS = {T1: (-0.2, 0.4), T2: (-0.2, 0.4), FAT_FRACTION: (-0.6, 0.6)}
"""Range of the change of a parameter in a spot, relative to its `unit`; fields have no spots."""
MOST_SPOTS = 12
SMALLEST, LARGEST = 1.0, 14.0
"""Range of the radius of a spot, in voxels."""
MOST_BLUR = 1.2
"""Largest standard deviation, in voxels, of the blur of edges: slices are thicker than voxels are wide, so that a
border which is oblique to the slice lies within several voxels."""
DENSITY = 0.25
"""Largest standard deviation of the smooth field in the logarithm of the proton density."""
FINE_DENSITY = 0.08
"""Largest standard deviation of the texture in the logarithm of the proton density."""


def varied(body: Mapping[str, Tensor], protocol: Protocol, random: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    """Vary a body.

    Parameters
    ----------
    body
        Maps of the protocol's parameters in SI units, with proton density `m0`, zero outside the body. Shape `(y, x)`
        each.
    protocol
        Protocol whose grid limits the maps.
    random
        Generator of all random numbers.

    Returns
    -------
        Maps, and complex proton density, which is zero outside. Shape `(y, x)` each.
    """
    names = [p.name for p in protocol.parameters]
    draw, width = Draw(body["m0"].shape[-1], random), body["m0"].shape[-1]
    inside, *images = _turned(draw, torch.stack([(body["m0"] > 0).float(), *(body[name] for name in (*names, "m0"))]))
    mask = inside > 0.5
    *values, density = (torch.where(mask, image / inside.clamp(min=0.5), 0) for image in images)
    *values, density = _blurred(draw, torch.stack([*values, density]), mask)
    maps = dict(zip(names, values, strict=True))
    spans = {p.name: float(protocol.grid[p.name][-1] - protocol.grid[p.name][0]) for p in protocol.parameters}
    for p in protocol.parameters:
        maps[p.name] = _shifted(draw, p, maps[p.name], spans[p.name])
    for _ in range(int(draw.even(0, MOST_SPOTS + 1))):
        spot = _spot(draw, mask)
        for p in protocol.parameters:
            if p.quantity in SPOTS and draw.even(0, 1) < 0.6:
                step = draw.even(*SPOTS[p.quantity]) * unit(p, maps[p.name], spans[p.name])
                maps[p.name] = maps[p.name] + spot * step
        if draw.even(0, 1) < 0.2:
            density = density * (1 - spot * draw.even(0.5, 0.97))
    roughness = draw.relative(SMOOTHEST, 1) * (draw.even(0, 1) < 0.9)
    for p in protocol.parameters:
        strength = roughness * STRONGEST[p.quantity] * draw.relative(WEAKEST, 1) * (draw.even(0, 1) < 0.9)
        texture = draw.texture(FIELD_SCALES if p.quantity in (OFF_RESONANCE, B1) else TISSUE_SCALES)
        rough = maps[p.name] + strength * unit(p, maps[p.name], spans[p.name]) * texture
        maps[p.name] = rough.clamp(float(protocol.grid[p.name][0]), float(protocol.grid[p.name][-1]))
    density = density * torch.exp(draw.even(0, DENSITY) * draw.smooth(width * draw.even(0.02, 0.17)))
    density = density * torch.exp(roughness * draw.even(0, FINE_DENSITY) * draw.texture())
    phase = draw.even(-math.pi, math.pi) + draw.even(0, 1.5) * draw.smooth(0.23 * width)
    return maps, torch.where(mask, density.clamp(min=0.01) * torch.exp(1j * phase), 0)


def _blurred(draw: Draw, images: Tensor, mask: Tensor) -> Tensor:
    """Blur images at random within a body, without its surroundings. Shape `(images, y, x)`."""
    scale = draw.even(0, MOST_BLUR)
    share = draw.blurred(mask.float(), scale)
    return torch.where(mask, draw.blurred(images, scale) / torch.where(mask, share, 1), 0)


def unit(parameter: Parameter, values: Tensor, span: float) -> Tensor:
    """Return the unit of a parameter's variation: its range, or a relaxation time itself if less. Shape as `values`."""
    whole = torch.full_like(values, span)
    return torch.minimum(values, whole) if parameter.quantity in (T1, T2) else whole


def _shifted(draw: Draw, parameter: Parameter, values: Tensor, span: float) -> Tensor:
    """Change a field at random, or scale a relaxation time in the whole body a little."""
    if parameter.quantity == OFF_RESONANCE:
        smooth = draw.smooth(draw.matrix * draw.even(0.07, 0.23))
        return draw.even(-1.4, 1.4) * values + span * (0.08 * draw.normal() + 0.12 * smooth)
    if parameter.quantity == B1:
        return 1 + draw.even(0.6, 1.3) * (values - 1) + 0.05 * draw.normal()
    return values if parameter.quantity == FAT_FRACTION else values * math.exp(0.05 * draw.normal())


def random_coils(n_coils: int, matrix: int, random: torch.Generator) -> Tensor:
    """Draw smooth receive sensitivities of coils around the body. Shape `(coils, y, x)`."""
    draw = Draw(matrix, random)
    axis = (torch.arange(matrix, device=draw.device) - matrix // 2) / matrix
    y, x = axis[:, None], axis[None, :]
    start, coils = draw.even(0, 2 * math.pi), []
    for coil in range(n_coils):
        angle = start + 2 * math.pi * (coil + 0.3 * draw.normal()) / n_coils
        dx, dy = x - draw.even(0.5, 0.75) * math.cos(angle), y - draw.even(0.38, 0.6) * math.sin(angle)
        falloff = (1 + (dx**2 + dy**2) / draw.even(0.25, 0.5) ** 2) ** -1.5
        phase = draw.even(-math.pi, math.pi) + 2 * draw.normal() * dx + 2 * draw.normal() * dy
        coils.append(falloff * torch.exp(1j * phase))
    return torch.stack(coils)


def _spot(draw: Draw, mask: Tensor) -> Tensor:
    """Draw an ellipse centred inside a body: 1 inside, 0 outside, with an edge one voxel wide. Shape `(y, x)`."""
    places = torch.nonzero(mask)
    y, x = places[int(draw.even(0, len(places) - 1))].tolist()
    radius = draw.relative(SMALLEST, LARGEST)
    aspect, angle = draw.even(0.4, 1), draw.even(0, math.pi)
    rows = torch.arange(draw.matrix, device=draw.device) - y
    dy, dx = rows[:, None], torch.arange(draw.matrix, device=draw.device)[None, :] - x
    along, across = dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)
    share: Tensor = (radius + 0.5 - torch.sqrt(along**2 + (across / aspect) ** 2)).clamp(0, 1)
    return share


def _turned(draw: Draw, images: Tensor) -> Tensor:
    """Rotate, scale and mirror images at random about the centre, edges sharp or smooth. Shape `(images, y, x)`."""
    angle, scale = draw.even(0, 2 * math.pi), draw.even(0.8, 1.25)
    mirror = 1 if draw.even(0, 1) < 0.5 else -1
    c, s = math.cos(angle) / scale, math.sin(angle) / scale
    matrix = torch.tensor([[[mirror * c, -s, 0], [mirror * s, c, 0]]], device=draw.device)
    grid = torch.nn.functional.affine_grid(matrix, [1, len(images), *images.shape[1:]], align_corners=False)
    mode = "nearest" if draw.even(0, 1) < 0.5 else "bilinear"
    return torch.nn.functional.grid_sample(images[None], grid, mode, align_corners=False)[0]
