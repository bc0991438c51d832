"""Examples: what a network that corrects matched maps is trained on, each another scan of another body.

The squared error of every voxel and map is divided by what noise alone would make of it, its Cramer-Rao bound (Zhang et
al., Magn Reson Med 88:2026, 2022), so that no weight is chosen by hand, and where a map cannot be told it teaches
nothing. To each bound the median of its map is added: what limits a voxel of which the noise would tell nearly all is
not the noise.
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from torch import Tensor

from mrfpipe.arrays import Float
from mrfpipe.dictionary import build_dictionary
from mrfpipe.learning.encoding import directions
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.refine import refine
from mrfpipe.phantom.cohort import Subject
from mrfpipe.protocol import Protocol
from mrfpipe.studies.simulated import SimulatedScanner
from mrfpipe.studies.varied import random_coils, varied

NOISIEST, QUIETEST = 500.0, 10_000.0
"""Signal-to-noise ratio of a scan, drawn evenly in its logarithm; see `mrfpipe.phantom.scanner.scan`."""
FEWEST_COILS, MOST_COILS = 3, 8
STEP = 1e-3
"""Of the differences that derivatives are made of, as a share of a parameter's range."""
N_SLICES = 3
"""Of every subject."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """A scan and what is to be learned from it, on the training's device."""

    coefficients: Tensor
    """Directions of the coefficients, see `Encoding`, zero outside the body. Shape `(rank, y, x)`."""
    matched: Tensor
    """Maps by refined matching, scaled to 0..1, zero outside the body. Shape `(maps, y, x)`."""
    maps: Tensor
    """True maps, scaled alike. Shape `(maps, y, x)`."""
    precision: Tensor
    """One over the squared error that would be fair, 0 outside the body. Shape `(maps, y, x)`."""
    corners: list[list[int]]
    """Some voxels of the body, (y, x)."""


class Source:
    """Makes examples, each another one."""

    def __init__(
        self,
        scanner: SimulatedScanner,
        protocol: Protocol,
        bodies: Sequence[Mapping[str, Tensor]],
        random: torch.Generator,
    ) -> None:
        self._scanner, self._protocol, self._bodies, self._random = scanner, protocol, bodies, random
        self._scaling = MapScaling.of(protocol)
        self._dictionary = build_dictionary(protocol).in_basis(scanner.basis.cpu().numpy())

    def __call__(self) -> Example:
        """Draw a body, scan it, and judge what can be known of it."""
        random, matrix = self._random, self._protocol.sequence.matrix
        number, n_coils = (
            int(torch.randint(low, high, (), generator=random, device=random.device))
            for low, high in ((0, len(self._bodies)), (FEWEST_COILS, MOST_COILS + 1))
        )
        maps, m0 = varied(self._bodies[number], self._protocol.grid, random)
        coils = random_coils(n_coils, matrix, random.device, random)
        snr = math.exp(
            math.log(NOISIEST)
            + math.log(QUIETEST / NOISIEST) * float(torch.rand((), generator=random, device=random.device))
        )
        coefficients = self._scanner.scan(maps, m0, coils, snr, random)
        inside = (m0 != 0) & (coefficients != 0).any(dim=0)  # denoising may leave nothing of a voxel
        n_maps = len(self._scaling.parameters)
        unit, matched, precision = torch.zeros((3, n_maps, matrix, matrix), device=m0.device)
        low, high = (torch.tensor(ends, device=m0.device) for ends in (self._scaling.low, self._scaling.high))
        values = torch.stack([maps[p.name][inside] for p in self._scaling.parameters])
        unit[:, inside] = (values - low[:, None]) / (high - low)[:, None]
        bounds = self._bounds(
            dict(zip((p.name for p in self._scaling.parameters), values, strict=True)), m0[inside].abs()
        )
        precision[:, inside] = (1 / (bounds + bounds.median(dim=1, keepdim=True).values)).float()
        precision /= precision[:, inside].mean(dim=1)[:, None, None]
        matched[:, inside] = self._matched(coefficients[:, inside])
        shown = torch.zeros_like(coefficients)
        shown[:, inside] = directions(coefficients[:, inside], lengths=True)
        return Example(coefficients=shown, matched=matched, maps=unit, precision=precision, corners=_some(inside))

    def _matched(self, coefficients: Tensor) -> Tensor:
        """Match coefficients `(rank, voxels)`; maps scaled to 0..1. Shape `(maps, voxels)`."""
        measured = np.ascontiguousarray(coefficients.cpu().numpy().T)
        found = refine(measured, match_exact(measured, self._dictionary, coefficients.device).entry, self._dictionary)
        maps = np.stack([found.parameters[p.name] for p in self._scaling.parameters])
        return torch.from_numpy(self._scaling.to_unit(maps)).to(coefficients.device)

    def _bounds(self, values: Mapping[str, Tensor], density: Tensor) -> Tensor:
        """Cramer-Rao bounds of unit-scaled maps, up to a factor that all share. Shape `(maps, voxels)`."""
        signals, slopes = self._scanner.signals, []
        for p, low, high in zip(self._scaling.parameters, self._scaling.low, self._scaling.high, strict=True):
            step = STEP * (high - low)
            below, above = ({**values, p.name: (values[p.name] + way * step).clamp(low, high)} for way in (-1, 1))
            taken = (above[p.name] - below[p.name]) / (high - low)
            slopes.append((signals.at(above) - signals.at(below)) / taken[:, None])
        clean = signals.at(values)
        jacobian = torch.stack([*slopes, clean, 1j * clean], dim=1).to(torch.complex128) * density[:, None, None]
        fisher = (jacobian @ jacobian.mH).real
        scale = fisher.diagonal(dim1=1, dim2=2).mean(0).sqrt()
        fisher = fisher / (scale[:, None] * scale) + 1e-9 * torch.eye(len(scale), device=density.device)
        bounds: Tensor = torch.linalg.inv(fisher).diagonal(dim1=1, dim2=2) / scale**2
        return bounds[:, : len(self._scaling.parameters)].T


def _some(inside: Tensor) -> list[list[int]]:
    """Return some voxels of a mask, (y, x)."""
    places = torch.nonzero(inside)
    return places[:: max(1, len(places) // 1000)].tolist()


def bodies_of(subjects: Sequence[Subject], protocol: Protocol, processes: int) -> list[dict[str, Float]]:
    """Draw the slices of subjects: maps and proton density by name, zero outside the body."""
    draw = partial(_slices, protocol=protocol)
    if processes == 1:
        return [body for subject in subjects for body in draw(subject)]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return [body for bodies in pool.map(draw, subjects, chunksize=4) for body in bodies]


def _slices(subject: Subject, protocol: Protocol) -> list[dict[str, Float]]:
    maps = subject.as_scanned(protocol.sequence, N_SLICES).maps
    named = {**maps.si, "m0": maps.m0}
    return [
        {name: np.where(mask, image[i], 0).astype(np.float32) for name, image in named.items()}
        for i, mask in enumerate(maps.mask)
    ]
