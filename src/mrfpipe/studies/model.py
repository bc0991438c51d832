"""The study of the bundled network: its errors, and how well it preserves lesions, on unseen phantoms."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import binary_dilation, binary_erosion

from mrfpipe.arrays import Byte
from mrfpipe.dictionary import build_dictionary
from mrfpipe.evaluation.metrics import evaluate
from mrfpipe.evaluation.regions import region_means
from mrfpipe.learning.model import load_model
from mrfpipe.learning.shipped import shipped_model
from mrfpipe.limit import MEDIAN_OF_NORMAL
from mrfpipe.maps import ParameterMaps
from mrfpipe.phantom.scanner import scan
from mrfpipe.phantom.truth import PARAMETERS, Phantom
from mrfpipe.progress import Progress
from mrfpipe.protocol import load_protocol
from mrfpipe.quantities import counting_rule
from mrfpipe.run.examples import people
from mrfpipe.run.held_out import coefficients_of, corrected
from mrfpipe.studies.tables import UNIT_DIGITS, markdown, publish

N_SUBJECTS = {"small": 4, "paper": 50}
WIDTH = 4
"""Side length of a lesion in voxels."""
STEP = 0.25
"""Increase of T1 of water in a lesion, in s."""
MOST_LESIONS = 12
APART = 14
"""Smallest distance between the centres of lesions in voxels."""
LEAN = 0.3
"""Largest fat fraction of muscle in which lesions are placed."""
COLUMNS = ("subject", "method", "map", "unit", "rmse", "region_bias", "spread", "contrast")


def run(folder: Path, scale: Literal["small", "paper"], *, seed: int, device: torch.device, progress: Progress) -> str:
    """Map unseen phantoms with the bundled network and with the matching that it corrects; return the table."""
    protocol, model = load_protocol("t1ff"), load_model(shipped_model())
    dictionary = build_dictionary(protocol, model=model.signal_model, device=device)
    advance, lines = progress("test"), []
    subjects = people(N_SUBJECTS[scale], "testing", seed)
    for done, subject in enumerate(subjects, start=1):
        phantom, lesions = with_lesions(subject.as_scanned(protocol.sequence, 1), subject.seed)
        series = coefficients_of(scan(phantom, protocol, seed=subject.seed, name=subject.name), dictionary, device)
        found = dict(zip(("network", "match-refined"), corrected(series, model, dictionary, device), strict=True))
        lines += [
            (subject.name, method, *line) for method, maps in found.items() for line in _lines(maps, phantom, lesions)
        ]
        advance(done, len(subjects))
    return publish(folder / "model", COLUMNS, lines, _table(lines, len(subjects)))


def with_lesions(phantom: Phantom, seed: int) -> tuple[Phantom, Byte]:
    """Put oedema-like lesions into lean muscle; return also a label image, numbered from 1. Shape `(slices, y, x)`."""
    maps, labels = phantom.maps, np.zeros(phantom.rois.shape, np.uint8)
    t1, half = maps.si["T1H2O"].copy(), WIDTH // 2
    rng = np.random.default_rng(seed)
    for s, lean in enumerate((phantom.rois > 0) & (np.nan_to_num(maps.si["FF"], nan=1) < LEAN)):
        number = 0
        for y, x in rng.permutation(np.argwhere(binary_erosion(lean, iterations=WIDTH))):
            near = labels[s, max(y - APART, 0) : y + APART, max(x - APART, 0) : x + APART]
            if number < MOST_LESIONS and not near.any():
                number += 1
                labels[s, y - half : y + half, x - half : x + half] = number
        t1[s][labels[s] > 0] += np.float32(STEP)
    return replace(phantom, maps=replace(maps, si={**maps.si, "T1H2O": t1})), labels


def contrast(maps: ParameterMaps, truth: ParameterMaps, lesions: Byte) -> float:
    """Return the mean step in T1 of water between lesions and their surroundings, relative to the true step."""
    steps = []
    for s, number in {(s, n) for s, labels in enumerate(lesions) for n in np.unique(labels[labels > 0])}:
        within = lesions[s] == number
        around = binary_dilation(within, iterations=5) & ~binary_dilation(within, iterations=2) & (lesions[s] == 0)
        around &= maps.mask[s] & truth.mask[s]
        steps.append([one.si["T1H2O"][s][within].mean() - one.si["T1H2O"][s][around].mean() for one in (maps, truth)])
    if not steps:
        return np.nan
    found, true = np.sum(steps, axis=0)
    return float(found / true)


def _lines(maps: ParameterMaps, phantom: Phantom, lesions: Byte) -> list[tuple[str, str, float, float, float, float]]:
    """Return errors of maps, mean errors of regions relative to the range, and the accuracy of standard deviations."""
    truth, errors, lines = phantom.maps, evaluate(maps, phantom.maps), []
    for p, axis in zip(PARAMETERS, load_protocol("t1ff").grid.values(), strict=True):
        means, counts = region_means(maps, truth, p, phantom.rois), truth.counts(p) & maps.mask
        bias = np.abs(means.estimate - means.reference).mean() / ((axis[-1] - axis[0]) * p.scale)
        spread = np.nan
        if maps.sd is not None:
            z = (maps.si[p.name] - truth.si[p.name])[counts] / maps.sd[p.name][counts]
            spread = float(np.median(np.abs(z)) / MEDIAN_OF_NORMAL)
        step = contrast(maps, truth, lesions) if p.name == "T1H2O" else np.nan
        lines.append((p.name, p.unit, errors[p.name].rmse, float(bias), spread, step))
    return lines


def _table(lines: list[tuple[str, str, str, str, float, float, float, float]], n_subjects: int) -> str:
    def mean(method: str, name: str, column: int) -> float:
        return float(np.nanmean([line[column] for line in lines if line[1:3] == (method, name)]))

    rows = []
    for p in PARAMETERS:
        network, matching = (partial(mean, method, p.name) for method in ("network", "match-refined"))
        digits = UNIT_DIGITS[p.unit] + 1
        rows.append(
            [
                p.heading,
                *(f"{one(4):.{digits}f}" for one in (network, matching)),
                *(f"{one(5):.2%}" for one in (network, matching)),
                f"{network(6):.2f}",
            ]
        )
    kept = [f"{mean(method, 'T1H2O', 7):.0%}" for method in ("network", "match-refined")]
    headings = ["map", "network", "match-refined", "regions, network", "regions, match-refined", "spread"]
    return (
        f"Means over {n_subjects} unseen subjects: RMSE; mean magnitude of the error of regions' means, over the range "
        f"of the map; spread of the network's errors over its standard deviations. {counting_rule(PARAMETERS)}. "
        f"Lesions of {WIDTH} x {WIDTH} voxels keep {kept[0]} of their step in T1H2O by the network and {kept[1]} by "
        f"matching.\n\n" + markdown(headings, rows)
    )
