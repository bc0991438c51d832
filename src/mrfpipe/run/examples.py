"""Examples: training data of a network that corrects fitted maps, each a different scan of a different body.

The squared error of every voxel and map is divided by its Cramer-Rao bound, the error that noise alone would cause
(Zhang et al., Magn Reson Med 88:2026, 2022). So no weight is chosen by hand, and voxels where a parameter cannot be
determined have no influence. The median over the map is added to each bound, because in voxels with a very low bound
noise is not what limits the accuracy.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from mrfpipe.arrays import Float
from mrfpipe.dictionary import Dictionary
from mrfpipe.errors import MismatchError
from mrfpipe.learning.correction import Example
from mrfpipe.learning.encoding import directions
from mrfpipe.learning.model import SCHEMA
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.matching.joint import fitted
from mrfpipe.phantom.cohort import Subject, draw_cohort
from mrfpipe.phantom.draw import Draw
from mrfpipe.phantom.patchwork import patchwork
from mrfpipe.phantom.simulated import SimulatedScanner
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.phantom.varied import random_coils, varied
from mrfpipe.progress import Steps
from mrfpipe.protocol import Protocol

NOISIEST, QUIETEST = 500.0, 10_000.0
"""Range of a scan's signal-to-noise ratio, drawn log-uniformly; see `mrfpipe.phantom.scanner.scan`."""
FEWEST_COILS, MOST_COILS = 3, 8

Body = Mapping[str, Float]
"""Maps by name in SI units, with proton density `m0`, zero outside the body. Shape `(y, x)` each."""


class Source:
    """Turns bodies into examples; each has its own seed in addition to the common one."""

    def __init__(self, scanner: SimulatedScanner, dictionary: Dictionary, device: torch.device, seed: int) -> None:
        self._scanner, self.protocol, self._device, self._seed = scanner, dictionary.protocol, device, seed
        self.settings = {
            "protocol": self.protocol.hash,
            "signal_model": str(dictionary.model),
            "seed": seed,
            "for": SCHEMA,
        }
        """Everything that determines the examples, apart from their own seeds and bodies."""
        self._scaling, self._dictionary = MapScaling.of(dictionary.protocol), dictionary

    def __call__(self, seed: int, body: Body) -> Example:
        """Vary a body, scan it, fit its maps and compute the precision of every voxel."""
        random, matrix = generator(self._device, self._seed, seed), self.protocol.sequence.matrix
        draw = Draw(matrix, random)
        tensors = {name: torch.from_numpy(np.array(image)).to(self._device) for name, image in body.items()}
        maps, m0 = varied(tensors, self.protocol, random)
        coils = random_coils(int(draw.even(FEWEST_COILS, MOST_COILS + 1)), matrix, random)
        series = self._scanner.scan(maps, m0, coils, draw.relative(NOISIEST, QUIETEST), random)
        coefficients = torch.from_numpy(series.images[0].copy()).to(self._device)
        inside = (m0 != 0) & (coefficients != 0).any(dim=0)  # denoising may set a voxel to zero
        n_maps = len(self._scaling.parameters)
        unit, fitted_maps, log_sd, precision = torch.zeros((4, n_maps, matrix, matrix), device=self._device)
        values = np.stack([maps[p.name][inside].cpu().numpy() for p in self._scaling.parameters])
        unit[:, inside] = torch.from_numpy(self._scaling.to_unit(values)).to(self._device)
        bounds = self._scanner.bounds(maps, torch.where(inside, m0, 0))
        fair = torch.from_numpy(1 / (bounds + np.median(bounds, axis=1, keepdims=True))).float()
        precision[:, inside] = (fair / fair.mean(dim=1, keepdim=True)).to(self._device)
        found = fitted(series, self._dictionary, self._device)
        fitted_maps[:, inside] = torch.from_numpy(self._scaling.to_unit(found.parameters.T)).to(self._device)
        log_sd[:, inside] = torch.from_numpy(self._scaling.to_shares(found.deviations.T)).to(self._device).log()
        shown = torch.zeros_like(coefficients)
        shown[:, inside] = directions(coefficients[:, inside])
        return Example(coefficients=shown, fitted=fitted_maps, log_sd=log_sd, maps=unit, precision=precision)


def generator(device: torch.device, *seeds: int) -> torch.Generator:
    """Return a separate random generator for every combination of seeds."""
    (state,) = np.random.SeedSequence(seeds).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


def kept_examples(
    source: Source, subjects: Sequence[Subject], folder: Path, processes: int, progress: Steps
) -> list[Example]:
    """Make the example of every subject, or read it if an interrupted training has left it in the folder.

    MismatchError if the folder holds examples of another source or of another version.
    """
    about, settings = folder / "source.json", json.dumps(source.settings, sort_keys=True)
    if about.exists() and about.read_text(encoding="utf-8") != settings:
        raise MismatchError(
            f"{folder} holds scans of another protocol, signal model, seed or version of mrfpipe; train with the same, "
            "or discard them with --force."
        )
    folder.mkdir(parents=True, exist_ok=True)
    about.write_text(settings, encoding="utf-8")
    paths = {subject: folder / f"{subject.name}.safetensors" for subject in subjects}
    missing = [subject for subject, path in paths.items() if not path.exists()]
    bodies = _bodies(missing, source.protocol, processes)
    for done, (subject, body) in enumerate(zip(missing, bodies, strict=True), start=1 + len(paths) - len(missing)):
        source(subject.seed, body).save(paths[subject])
        progress(done, len(paths))
    return [Example.load(path) for path in paths.values()]


def people(n_subjects: int, split: str, seed: int) -> Sequence[Subject]:
    """Draw `n_subjects` subjects from one split of a cohort; splits have no person in common."""
    n_drawn = 1
    while len(found := draw_cohort(n_drawn, seed=seed).split(split)) < n_subjects:
        n_drawn *= 2
    return found[:n_subjects]


def _bodies(subjects: Sequence[Subject], protocol: Protocol, processes: int) -> Iterator[Body]:
    draw = partial(body_of, protocol=protocol)
    if processes == 1:
        yield from map(draw, subjects)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(draw, subjects)


def body_of(subject: Subject, protocol: Protocol) -> Body:
    """Draw a slice of a subject if its anatomy has all maps of the protocol, else a patchwork from its seed."""
    if {p.name for p in protocol.parameters} <= {p.name for p in PARAMETERS}:
        maps = subject.as_scanned(protocol.sequence, 1).maps
        images = {**maps.si, "m0": maps.m0}
        return {name: np.where(maps.mask[0], image[0], 0).astype(np.float32) for name, image in images.items()}
    random = torch.Generator().manual_seed(subject.seed)
    return {name: image.float().numpy() for name, image in patchwork(protocol, random).items()}
