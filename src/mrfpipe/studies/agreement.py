"""Fig. 4 of Balsiger et al., Med Image Anal 64:101741 (2020): how the proposed network agrees with matching in regions.

A point is the mean over one region of interest in one slice. The tables also give the agreement of both methods with
the truth, which the paper could not show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mrfpipe.arrays import Double
from mrfpipe.evaluation.agreement import Agreement, agree
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.quantities import Parameter
from mrfpipe.studies.drawing import save_figure
from mrfpipe.studies.published import LIMITS, N_REGIONS, published
from mrfpipe.studies.scores import TITLES, SubjectScore
from mrfpipe.studies.tables import UNIT_DIGITS, markdown, publish, write_csv
from mrfpipe.studies.work import Work

PAIRS = (("proposed", "match"), ("proposed", "truth"), ("match", "truth"))
"""Pairs of method and reference; the first pair is the one in the paper."""
COLUMNS = ("method", "reference", "map", *(field.name for field in fields(Agreement)), "paper_n", "paper_r2")
POINT_COLUMNS = ("method", "reference", "map", "subject", "estimate", "reference_mean")
_REMARK = (
    "Means over regions of interest, one a slice, of all test subjects. Bias: mean of method minus reference; limits: "
    "bias ± 1.96 standard deviations. In parentheses the figures of Balsiger et al. (2020), Fig. 4 and "
    "section 3.1, in scans of 50 patients; of the bias they say that it is small or none.\n"
)

Points = tuple[Double, Double]
"""Means of the estimate and of the reference over regions. Shape `(regions)` each."""


def run(folder: Path, work: Work) -> str:
    """Write ``agreement.csv``, ``.md``, ``.png`` and ``-points.csv``, and return the table in Markdown."""
    work.prepare(work.split("testing"))
    scores = {pair: compared(work, *pair) for pair in PAIRS}
    found = {
        (pair, parameter.name): agree(*points(some, parameter.name))
        for pair, some in scores.items()
        for parameter in PARAMETERS
    }
    lines = [(*pair, name, *astuple(a), *_paper(pair, name)) for (pair, name), a in found.items()]
    every = [
        (*pair, s.map, s.subject, estimate, reference)
        for pair, some in scores.items()
        for s in some
        for estimate, reference in zip(s.estimates, s.references, strict=True)
    ]
    write_csv(folder / "agreement-points.csv", POINT_COLUMNS, every)
    grid = work.scans.protocol.grid
    steps = {p.name: float(np.median(np.diff(grid[p.name]))) * p.scale for p in PARAMETERS}
    pair_points = {p.name: points(scores[PAIRS[0]], p.name) for p in PARAMETERS}
    draw(pair_points, steps, folder / "agreement.png")
    return publish(folder / "agreement", COLUMNS, lines, format_table(found))


def compared(work: Work, method: str, reference: str) -> list[SubjectScore]:
    """Score a method on the test subjects; return the scores against one reference."""
    return [s for s in work.test_scores(method) if s.reference == reference]


def points(scores: Sequence[SubjectScore], name: str) -> Points:
    """Gather the points of one map from all subjects."""
    some = [s for s in scores if s.map == name]
    return np.concatenate([s.estimates for s in some]), np.concatenate([s.references for s in some])


def _paper(pair: tuple[str, str], name: str) -> tuple[object, object]:
    """Return the paper's number of points and R2, which exist only for the proposed network against matching."""
    figure = published(pair[0], "R2", name)
    return (None, None) if pair != PAIRS[0] or figure is None else (N_REGIONS[name], figure[0])


def format_table(found: Mapping[tuple[tuple[str, str], str], Agreement]) -> str:
    """Format the statistics as Markdown, one table per pair, with the paper's numbers in parentheses."""
    parts = [_REMARK]
    units = {p.name: p for p in PARAMETERS}
    for pair in PAIRS:
        lines = []
        for name, a in ((name, a) for (of, name), a in found.items() if of == pair):
            n, r2 = _paper(pair, name)
            digits = UNIT_DIGITS[units[name].unit]
            limits = f"{a.lower:+.{digits}f} to {a.upper:+.{digits}f}"
            ours = [f"{a.n}", f"{a.bias:+.{digits}f}", limits, f"{a.correlation:.3f}", f"{a.r2:.3f}"]
            theirs = (
                ["", "", "", "", ""]
                if n is None
                else [f" ({n})", "", f" ({LIMITS[name]})", " (> 0.95)", f" ({r2:.3f})"]
            )
            lines.append([units[name].heading, *(o + t for o, t in zip(ours, theirs, strict=True))])
        method, reference = pair
        parts.append(f"## {method} against {TITLES[reference]}\n")
        parts.append(markdown(["map", "n", "bias", "limits of agreement", "r", "R2"], lines))
    return "\n".join(parts)


def draw(of_maps: Mapping[str, Points], steps: Mapping[str, float], path: Path) -> None:
    """Draw scatter and Bland-Altman plots of the proposed network against matching, one row per map, as a PNG.

    Points, and increments of the grid in the unit of files, are keyed by the map's name.
    """
    figure = Figure(figsize=(10, 3.1 * len(PARAMETERS)), layout="constrained")
    for (left, right), parameter in zip(figure.subplots(len(PARAMETERS), 2), PARAMETERS, strict=True):
        estimate, reference = of_maps[parameter.name]
        found = agree(estimate, reference)
        _draw_scatter(left, parameter, estimate, reference, found)
        _draw_bland_altman(right, parameter, estimate, reference, found)
        step = steps[parameter.name]
        right.axhspan(-step, step, color="0.9", zorder=0, label="one step of the grid")
        right.legend(fontsize=8, loc="upper right")
    figure.suptitle("Means over regions of interest in all test subjects: proposed network and matching", fontsize=12)
    save_figure(figure, path)


def _draw_scatter(axes: Axes, parameter: Parameter, estimate: Double, reference: Double, found: Agreement) -> None:
    both = np.concatenate([estimate, reference])
    ends = np.array([both.min(), both.max()]) if both.size else np.array([0.0, 1.0])
    axes.scatter(reference, estimate, s=10, alpha=0.6, linewidths=0)
    axes.plot(ends, ends, "k-", linewidth=0.9, label="identity")
    if not np.isnan(found.slope):
        axes.plot(ends, found.intercept + found.slope * ends, "C3--", linewidth=1.1, label="regression")
    title = parameter.heading
    axes.set(xlabel=f"{title} by matching", ylabel=f"{title} by the network")
    text = f"n = {found.n}, r = {found.correlation:.3f}, R2 = {found.r2:.3f}"
    axes.set_title(text, fontsize=10)
    axes.legend(fontsize=8, loc="upper left")


def _draw_bland_altman(axes: Axes, parameter: Parameter, estimate: Double, reference: Double, found: Agreement) -> None:
    digits = UNIT_DIGITS[parameter.unit]
    axes.scatter((estimate + reference) / 2, estimate - reference, s=10, alpha=0.6, linewidths=0)
    if not np.isnan(found.bias):
        axes.axhline(found.bias, color="black", linewidth=0.9, label=f"bias {found.bias:+.{digits}f}")
    if not np.isnan(found.deviation):
        label = f"limits {found.lower:+.{digits}f}, {found.upper:+.{digits}f}"
        axes.axhline(found.lower, color="C3", linestyle="--", linewidth=1.1, label=label)
        axes.axhline(found.upper, color="C3", linestyle="--", linewidth=1.1)
    title = parameter.heading
    axes.set(xlabel=f"{title}, mean of both", ylabel=f"{title}, network - matching")
