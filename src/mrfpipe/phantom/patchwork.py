"""Patchwork: a random body for any protocol, with all parameter values equally likely.

Only the ranges of the grid tell what a protocol will scan. Therefore the parameters of tissues are drawn uniformly
within these ranges, relaxation times uniformly in their logarithm. Tissues form patches of all sizes within a random
outline.
"""

import math

import torch
from torch import Tensor

from mrfpipe.phantom.draw import Draw
from mrfpipe.protocol import Protocol
from mrfpipe.quantities import B1, OFF_RESONANCE, T1, T2, Parameter

FEWEST_TISSUES, MOST_TISSUES = 4, 9
SLIMMEST, WIDEST = 0.32, 0.46
"""Range of a body's radius, relative to the field of view."""
LONGEST_T2 = 0.9
"""Largest ratio of T2 to T1 of a component."""
SHARPNESS = 6.0
"""Sharpness of the edges between patches: tissues mix within one or two voxels."""


def patchwork(protocol: Protocol, random: torch.Generator) -> dict[str, Tensor]:
    """Draw a body.

    Parameters
    ----------
    protocol
        Defines the parameters and their ranges.
    random
        Generator of all random numbers.

    Returns
    -------
        Maps by name in SI units, with proton density `m0`, zero outside the body. Shape `(y, x)` each.
    """
    matrix = protocol.sequence.matrix
    draw = Draw(matrix, random)
    n_tissues = int(draw.even(FEWEST_TISSUES, MOST_TISSUES + 1))
    fields = torch.stack([draw.smooth(matrix * draw.relative(0.015, 0.12)) + draw.normal() for _ in range(n_tissues)])
    shares = torch.softmax(SHARPNESS * fields, dim=0)
    tissues = [_tissue(draw, protocol) for _ in range(n_tissues)]
    body = {
        name: torch.tensordot(torch.tensor([tissue[name] for tissue in tissues], device=draw.device), shares, 1)
        for name in tissues[0]
    }
    for p in protocol.parameters:
        if p.quantity in (OFF_RESONANCE, B1):
            body[p.name] = _field(draw, protocol, p)
    inside = _outline(draw)
    return {name: torch.where(inside, image, 0) for name, image in body.items()}


def _tissue(draw: Draw, protocol: Protocol) -> dict[str, float]:
    """Draw a tissue: a value for each parameter, and proton density `m0`; no T2 is longer than its T1."""
    tissue = {"m0": draw.even(0.5, 1)}
    ends = {name: (float(axis[0]), float(axis[-1])) for name, axis in protocol.grid.items()}
    for p in protocol.parameters:
        relaxes = p.quantity in (T1, T2) and ends[p.name][0] > 0
        tissue[p.name] = draw.relative(*ends[p.name]) if relaxes else draw.even(*ends[p.name])
    for component in protocol.components:
        if isinstance(component.t2, str):
            t1 = tissue[component.t1] if isinstance(component.t1, str) else component.t1
            low, high = ends[component.t2]
            tissue[component.t2] = draw.relative(low, max(low, min(high, LONGEST_T2 * t1)))
    return tissue


def _field(draw: Draw, protocol: Protocol, parameter: Parameter) -> Tensor:
    """Draw off-resonance or B1 over the field of view: smooth, about the middle of its range. Shape `(y, x)`."""
    low, high = (float(protocol.grid[parameter.name][end]) for end in (0, -1))
    middle, reach = (low + high) / 2 + 0.07 * (high - low) * draw.normal(), 0.15 * (high - low)
    return (middle + reach * draw.smooth(draw.matrix * draw.even(0.1, 0.3))).clamp(low, high)


def _outline(draw: Draw) -> Tensor:
    """Draw the outline of the body: round, oval or dented. Shape `(y, x)`."""
    axis = (torch.arange(draw.matrix, device=draw.device) - draw.matrix // 2) / draw.matrix
    y, x = axis[:, None] / draw.even(0.7, 1), axis[None, :]
    angle, radius = torch.atan2(y, x), draw.even(SLIMMEST, WIDEST)
    dents = sum(draw.normal() * 0.05 / k * torch.cos(k * angle + draw.even(0, 2 * math.pi)) for k in range(1, 5))
    return torch.hypot(y, x) < radius * (1 + dents)
