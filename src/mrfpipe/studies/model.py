"""The study of the shipped model: makes it, and compares it with matching on subjects that it has not seen."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from mrfpipe.arrays import Complex
from mrfpipe.dictionary import build_dictionary
from mrfpipe.evaluation.metrics import evaluate
from mrfpipe.files.atomic import writing
from mrfpipe.files.kinds import DESCRIPTION_FILE
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.model import load_model, save_model
from mrfpipe.matching.match import match_series
from mrfpipe.phantom.cohort import Subject, draw_cohort
from mrfpipe.phantom.scanner import scan
from mrfpipe.phantom.texture import textured
from mrfpipe.phantom.truth import PARAMETERS, Phantom
from mrfpipe.progress import Progress
from mrfpipe.protocol import Protocol, load_protocol
from mrfpipe.quantities import counting_rule
from mrfpipe.studies.examples import FEWEST_COILS, MOST_COILS, NOISIEST, QUIETEST
from mrfpipe.studies.scanned import claim
from mrfpipe.studies.shipped import RECIPES, train_model
from mrfpipe.studies.tables import UNIT_DIGITS, markdown, pair, publish

WORK = "model"
"""Folder below a study's own in which the network is kept."""


def run(folder: Path, scale: Literal["small", "paper"], *, seed: int, device: torch.device, progress: Progress) -> str:
    """Make the model, in ``model/network``, and return its comparison with matching, written as text and CSV."""
    recipe, protocol, target = RECIPES[scale], load_protocol("t1ff"), folder / WORK / "network"
    claim(folder / WORK / "recipe.json", {"recipe": asdict(recipe), "seed": seed, "protocol": protocol.hash})
    if not target.exists():
        advance = progress("train")
        model = train_model(
            recipe,
            protocol,
            device=device,
            backend="finufft",
            seed=seed,
            processes=os.cpu_count() or 1,
            report=lambda share, _: advance(round(100 * share), 100),
        )
        with writing(target, force=False, marker=DESCRIPTION_FILE) as unfinished:
            save_model(model, unfinished)
    model, dictionary = load_model(target), build_dictionary(protocol, device=device)
    match = partial(match_series, dictionary=dictionary, device=device)
    subjects = draw_cohort(recipe.n_subjects, seed=seed).split("testing")[: recipe.n_test]
    advance, lines = progress("test"), []
    for done, subject in enumerate(subjects, start=1):
        phantom = subject_phantom(subject, protocol)
        series = coefficients_of(phantom, subject, protocol, dictionary.subspace)
        found = {
            "network": reconstruct(series, model, protocol, device=device, match=lambda one: match(one)[0])[0],
            "match": match(series, refined=False)[0],
            "match-refined": match(series)[0],
        }
        for method, maps in found.items():
            errors = evaluate(maps, phantom.maps)
            lines += [(subject.name, method, p.name, p.unit, errors[p.name].rmse) for p in PARAMETERS]
        advance(done, len(subjects))
    columns = ("subject", "method", "map", "unit", "rmse")
    return publish(folder / "model", columns, lines, _table(lines, len(subjects)))


def subject_phantom(subject: Subject, protocol: Protocol) -> Phantom:
    """Draw a slice of a subject; those of an odd seed, about half, have texture."""
    phantom = subject.as_scanned(protocol.sequence, 1)
    return textured(phantom, protocol.grid, seed=subject.seed) if subject.seed % 2 else phantom


def coefficients_of(phantom: Phantom, subject: Subject, protocol: Protocol, basis: Complex) -> FrameSeries:
    """Scan a phantom, with coils and noise of the subject's own, and reconstruct its coefficients."""
    rng = np.random.default_rng([subject.seed, 0])
    raw = scan(
        phantom,
        protocol,
        n_coils=int(rng.integers(FEWEST_COILS, MOST_COILS + 1)),
        snr=float(np.exp(rng.uniform(np.log(NOISIEST), np.log(QUIETEST)))),
        seed=subject.seed,
        name=subject.name,
    )
    return Reconstruction(raw, protocol.sequence, Imaging(recon="subspace", backend="finufft"), basis=basis).series()


def _table(lines: Sequence[tuple[str, str, str, str, float]], n_subjects: int) -> str:
    methods = list(dict.fromkeys(method for _, method, *_ in lines))
    rows = []
    for p in PARAMETERS:
        errors = [[e for _, m, name, _, e in lines if (m, name) == (method, p.name)] for method in methods]
        shown = [pair(float(np.mean(e)), _spread(e), UNIT_DIGITS[p.unit]) for e in errors]
        rows.append([p.heading, *shown])
    return (
        f"RMSE against the truth, mean and standard deviation over {n_subjects} test subjects. "
        f"{counting_rule(PARAMETERS)}.\n\n" + markdown(["map", *methods], rows)
    )


def _spread(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
