"""Fig. 8 of Balsiger et al., Med Image Anal 64:101741 (2020), section 3.5: how many subjects the training needs.

The proposed network is trained on random subsets of the training subjects and evaluated on the test subjects. All
trainings have equally many steps, so that they differ only in their data; the paper does not say so of its trainings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mrfpipe.phantom.cohort import Subject
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.studies.drawing import REFERENCE_COLOURS, save_figure
from mrfpipe.studies.published import METRICS, published
from mrfpipe.studies.scanned import claim
from mrfpipe.studies.scores import REFERENCES, Row, summarise
from mrfpipe.studies.search import best
from mrfpipe.studies.tables import COLUMNS, DIGITS, csv_line, markdown, pair, publish, with_unit
from mrfpipe.studies.work import Work

SETTINGS = "training-size.json"
OWN_COLUMNS = ("n_training", "repeat")
_REMARK = (
    "Test subjects against matching on the grid, by the number of training subjects: mean over test subjects, and over "
    "repeats with their standard deviation where there are several. The last column has the figures of Balsiger et al. "
    "(2020), Table 2, for all of their 94 training subjects; with fewer they show curves without numbers and say that "
    "with 40 the maps are almost those of 94, and that it depends on the metric.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A training on some subjects and its scores."""

    size: int
    """Number of training subjects."""
    repeat: int
    """Number of the random draw, from 1."""
    rows: Sequence[Row]
    """Its results over the test subjects."""


def run(folder: Path, work: Work) -> str:
    """Run the study, write ``training-size.csv``, ``.md`` and ``.png``, and return the table in Markdown."""
    plan = work.scale.subsets
    claim(work.folder / SETTINGS, {"n_epochs": plan.n_epochs})
    repeats = range(1, plan.n_repeats + 1)
    trainings = [train_subset(work, size, repeat) for size in plan.sizes for repeat in repeats]
    lines = [(t.size, t.repeat, *csv_line(row)) for t in trainings for row in t.rows]
    draw(trainings, folder / "training-size.png")
    return publish(folder / "training-size", (*OWN_COLUMNS, *COLUMNS), lines, format_table(trainings))


def train_subset(work: Work, size: int, repeat: int) -> Training:
    """Train the proposed network on a random subset of the training subjects, and score it on the test subjects."""
    everybody = work.split("training")
    n_epochs = round(work.scale.subsets.n_epochs * len(everybody) / size)
    stages = tuple(replace(preset, n_epochs=n_epochs) for preset in best(work.trials("proposed")).stages)
    name = f"training-size-{size:02d}-{repeat}"
    model = work.fit(name, stages, draw_subset(everybody, size, repeat, work.seed), work.seed + repeat)
    scores = work.scores(name, work.split("testing"), lambda subject: work.infer(model, subject))
    return Training(size=size, repeat=repeat, rows=summarise("proposed", scores))


def draw_subset(subjects: Sequence[Subject], size: int, repeat: int, seed: int) -> tuple[Subject, ...]:
    """Draw `size` subjects at random and keep their order; ValueError if there are fewer."""
    chosen = np.random.default_rng([seed, size, repeat]).choice(len(subjects), size, replace=False)
    return tuple(subjects[i] for i in sorted(chosen))


def format_table(trainings: Sequence[Training]) -> str:
    """Format all metrics against matching as Markdown, one column per number of subjects."""
    sizes = list(dict.fromkeys(t.size for t in trainings))
    lines = []
    for metric in METRICS:
        for parameter in PARAMETERS:
            cells = [
                pair(*over_repeats(trainings, size, "match", metric, parameter.name), DIGITS[metric]) for size in sizes
            ]
            paper = published("proposed", metric, parameter.name)
            cells.append("" if paper is None else pair(*paper, DIGITS[metric]))
            lines.append([with_unit(metric), parameter.name, *cells])
    return _REMARK + "\n" + markdown(["metric", "map", *(f"{size}" for size in sizes), "paper, 94"], lines)


def over_repeats(
    trainings: Sequence[Training], size: int, reference: str, metric: str, name: str
) -> tuple[float, float]:
    """Return mean and standard deviation over repeats; the latter is NaN for a single one."""
    means = [
        row.mean
        for t in trainings
        if t.size == size
        for row in t.rows
        if (row.reference, row.metric, row.map) == (reference, metric, name)
    ]
    return float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else np.nan


def draw(trainings: Sequence[Training], path: Path) -> None:
    """Draw all metrics against the number of training subjects, one column of panels per map, as a PNG."""
    figure = Figure(figsize=(15, 10), layout="constrained")
    panels = figure.subplots(len(METRICS), len(PARAMETERS), sharex=True)
    for line, metric in zip(panels, METRICS, strict=True):
        for axes, parameter in zip(line, PARAMETERS, strict=True):
            _draw_panel(axes, trainings, metric, parameter.name)
        line[0].set_ylabel(with_unit(metric))
    for axes, parameter in zip(panels[0], PARAMETERS, strict=True):
        axes.set_title(parameter.name)
    figure.supxlabel("training subjects", fontsize=11)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=3, fontsize=9)
    save_figure(figure, path)


def _draw_panel(axes: Axes, trainings: Sequence[Training], metric: str, name: str) -> None:
    sizes = list(dict.fromkeys(t.size for t in trainings))
    for reference in REFERENCES:
        found = np.array([over_repeats(trainings, size, reference, metric, name) for size in sizes])
        axes.errorbar(
            sizes,
            found[:, 0],
            yerr=np.nan_to_num(found[:, 1]),
            fmt="o-",
            capsize=2,
            color=REFERENCE_COLOURS[reference],
            label=f"ours, against {'truth' if reference == 'truth' else 'matching'}",
        )
    paper = published("proposed", metric, name)
    if paper is not None:
        axes.axhline(paper[0], color="0.3", linestyle="--", linewidth=1, label="paper, 94 subjects, against matching")
    axes.set_xticks(sizes)
    axes.grid(axis="y", linewidth=0.4)
    axes.spines[["top", "right"]].set_visible(False)
