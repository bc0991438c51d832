"""The study of the shipped model: makes it, and compares it with matching on subjects that it has not seen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from mrfpipe.dictionary import build_dictionary
from mrfpipe.evaluation.metrics import evaluate
from mrfpipe.learning.inference import reconstruct
from mrfpipe.matching.match import match_series
from mrfpipe.phantom.cohort import draw_cohort
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.progress import Progress
from mrfpipe.protocol import load_protocol
from mrfpipe.quantities import counting_rule
from mrfpipe.studies.shipped import RECIPES, make_model, reconstruction_of, subject_phantom
from mrfpipe.studies.tables import UNIT_DIGITS, markdown, pair, publish

WORK = "model"
"""Folder below a study's own in which scans and network are kept."""


def run(folder: Path, scale: Literal["small", "paper"], *, seed: int, device: torch.device, progress: Progress) -> str:
    """Make the model, in ``model/network``, and return its comparison with matching, written as text and CSV."""
    recipe, protocol = RECIPES[scale], load_protocol("t1ff")
    model = make_model(folder / WORK, recipe, protocol, seed=seed, device=device, progress=progress)
    dictionary = build_dictionary(protocol, device=device)
    subjects = draw_cohort(recipe.n_subjects, seed=seed).split("testing")[: recipe.n_test]
    advance, lines = progress("test"), []
    for done, subject in enumerate(subjects, start=1):
        series = reconstruction_of(subject, recipe, protocol).series()
        truth = subject_phantom(subject, recipe, protocol)
        found = {
            "network": reconstruct(series, model, protocol, device=device)[0],
            "match": match_series(series, dictionary, refined=False, device=device)[0],
            "match-refined": match_series(series, dictionary, refined=True, device=device)[0],
        }
        for method, maps in found.items():
            errors = evaluate(maps, truth.maps)
            lines += [(subject.name, method, p.name, p.unit, errors[p.name].rmse) for p in PARAMETERS]
        advance(done, len(subjects))
    columns = ("subject", "method", "map", "unit", "rmse")
    return publish(folder / "model", columns, lines, _table(lines, len(subjects)))


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
