"""Fig. 6 of Balsiger et al., Med Image Anal 64:101741 (2020), section 3.3: receptive field and number of parameters.

A network is trained for every pair of both and, as in the paper, evaluated on the validation subjects, since the
results serve to choose a pair.

The small scale does not reproduce the paper's finding: its undersampling is 14-fold instead of 69-fold, voxels are 5 mm
wide and trainings are short, and the smallest receptive fields fit best.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mrfpipe.learning.presets import Preset
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.studies.drawing import save_figure
from mrfpipe.studies.scanned import claim
from mrfpipe.studies.scores import Row, summarise
from mrfpipe.studies.tables import COLUMNS, csv_line, markdown, pair, publish
from mrfpipe.studies.work import Work

SETTINGS = "receptive-field.json"
STEPS = (32, 24, 16, 8, 4, 0)
"""Decreases of the number of channels from block to block that `fitted` tries, that of the paper first."""
OWN_COLUMNS = ("receptive_field", "budget", "n_parameters")
_REMARK = (
    "T1H2O of validation subjects against matching on the grid, by receptive field and number of parameters. Balsiger "
    "et al. (2020) show R2 by colour, from 1 x 1 to 21 x 21 and from 1 to 5 million; in words: 1 x 1 is significantly "
    "inferior, fields around 15 x 15 perform well and larger ones add little to nothing, and the number of parameters "
    "makes no significant difference. On test subjects their 15 x 15 with 5 million has an R2 of 0.919 and an NRMSE of "
    "0.048.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A network and its scores."""

    receptive_field: int
    """Voxels along y and along x."""
    budget: int
    """Requested number of parameters."""
    n_parameters: int
    """Actual number of parameters."""
    rows: Sequence[Row]
    """Its results over the validation subjects."""

    def value(self, metric: str) -> Row:
        """Return one metric of T1H2O against matching."""
        (row,) = (r for r in self.rows if (r.reference, r.metric, r.map) == ("match", metric, "T1H2O"))
        return row


def run(folder: Path, work: Work) -> str:
    """Run the study, write ``receptive-field.csv``, ``.md`` and ``.png``, and return the table in Markdown."""
    plan = work.scale.architectures
    claim(work.folder / SETTINGS, {"preset": asdict(plan.preset)})
    points = [train_point(work, field, budget) for budget in plan.budgets for field in plan.receptive_fields]
    lines = [(p.receptive_field, p.budget, p.n_parameters, *csv_line(row)) for p in points for row in p.rows]
    draw(points, folder / "receptive-field.png")
    return publish(folder / "receptive-field", (*OWN_COLUMNS, *COLUMNS), lines, format_table(points))


def train_point(work: Work, receptive_field: int, budget: int) -> Point:
    """Train the network for a receptive field and a budget, and score it on the validation subjects."""
    preset = fitted(work.scale.architectures.preset, receptive_field, budget, work.scans.protocol.sequence.n_frames)
    name = f"receptive-field-{receptive_field:02d}-{budget}"
    model = work.fit(name, (preset,), work.split("training"), work.seed)
    scores = work.scores(name, work.split("validation"), lambda subject: work.infer(model, subject))
    n_parameters = preset.architecture(work.scans.protocol.sequence.n_frames, len(PARAMETERS)).n_parameters
    rows = summarise(name, scores)
    return Point(receptive_field=receptive_field, budget=budget, n_parameters=n_parameters, rows=rows)


def fitted(preset: Preset, receptive_field: int, budget: int, n_frames: int) -> Preset:
    """Set receptive field and budget of a preset, and lower the steps of its channels as far as the budget requires.

    From 1 x 1 to 21 x 21 and from 1 to 5 million parameters, the budget is met within 1.1 %: one more channel in each
    of the 19 layers of 3 x 3 costs 2 % of a million parameters, in the others less.

    ValueError if even blocks of equal width exceed the budget.
    """
    for step in STEPS:
        changed = replace(
            preset,
            receptive_field=receptive_field,
            n_parameters=budget,
            spatial_step=min(step, preset.spatial_step),
            temporal_step=min(step, preset.temporal_step),
        )
        try:
            changed.architecture(n_frames, len(PARAMETERS))
        except ValueError:
            if step == STEPS[-1]:
                raise
        else:
            return changed
    raise AssertionError("the last step returns or raises")


def format_table(points: Sequence[Point]) -> str:
    """Format R2 and NRMSE as Markdown, one line per budget, one column per receptive field."""
    fields = list(dict.fromkeys(p.receptive_field for p in points))
    parts = [_REMARK]
    for metric in ("R2", "NRMSE"):
        lines = [
            [f"{budget:,}", *(_cell(p, metric) for p in points if p.budget == budget)]
            for budget in dict.fromkeys(p.budget for p in points)
        ]
        parts += [f"## {metric} of T1H2O\n", markdown(["parameters", *(f"{r} x {r}" for r in fields)], lines)]
    return "\n".join(parts)


def _cell(point: Point, metric: str) -> str:
    row = point.value(metric)
    return pair(row.mean, row.spread, 3)


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw R2 and NRMSE by receptive field and budget as two colour-coded grids, as a PNG."""
    fields = list(dict.fromkeys(p.receptive_field for p in points))
    budgets = list(dict.fromkeys(p.budget for p in points))
    figure = Figure(figsize=(3 + 1.6 * len(fields), 1.7 + 0.7 * len(budgets)), layout="constrained")
    better = {"R2": "higher", "NRMSE": "lower"}
    for axes, (metric, colours) in zip(
        figure.subplots(1, 2), {"R2": "viridis", "NRMSE": "viridis_r"}.items(), strict=True
    ):
        values = np.array([p.value(metric).mean for p in points]).reshape(len(budgets), len(fields))
        image = axes.imshow(values, cmap=colours, aspect="auto", origin="lower")
        for (y, x), value in np.ndenumerate(values):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            axes.text(x, y, f"{value:.3f}", ha="center", va="center", color="white" if dark else "black", fontsize=9)
        axes.set_xticks(np.arange(len(fields)), [f"{r} x {r}" for r in fields])
        axes.set_yticks(np.arange(len(budgets)), [_short(budget) for budget in budgets])
        axes.set(xlabel="receptive field", title=f"{metric} of T1H2O ({better[metric]} is better)")
        figure.colorbar(image, ax=axes)
    figure.axes[0].set_ylabel("parameters")
    figure.suptitle("Validation subjects against matching", fontsize=11)
    save_figure(figure, path)


def _short(budget: int) -> str:
    return f"{budget / 1e6:g} million" if budget >= 1_000_000 else f"{budget:,}"
