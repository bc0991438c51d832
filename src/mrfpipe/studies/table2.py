"""Table 2 of Balsiger et al., Med Image Anal 64:101741 (2020): the proposed network, the published ones, and matching.

Every network is trained on the training subjects and selected on the validation subjects. When all are selected, the
maps of the test subjects are compared with the truth, which the paper did not have, and with matching on the grid, the
paper's reference. The table also describes how each network was trained.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.quantities import counting_rule
from mrfpipe.studies.drawing import REFERENCE_COLOURS, Column, MapRow, draw_maps, save_figure
from mrfpipe.studies.published import NETWORKS
from mrfpipe.studies.scanned import MATCHINGS
from mrfpipe.studies.scores import REFERENCES, TITLES, Row, summarise
from mrfpipe.studies.tables import COLUMNS, beside, csv_line, markdown, metric_table, publish
from mrfpipe.studies.trainings import describe_trainings
from mrfpipe.studies.work import Work

ALL_METHODS = (*NETWORKS, *MATCHINGS)
"""Methods in the order of the table: networks, then matching."""
_REMARK = (
    "Mean and standard deviation over test subjects; R2 over regions of all. In parentheses the figures of Balsiger et "
    f"al. (2020), Table 2, which are against matching, in scans of patients. {counting_rule(PARAMETERS)}, the "
    "latter other than in the paper, but for SSIM. Bold: the best network.\n"
)


def run(folder: Path, work: Work) -> str:
    """Run the study, write ``table2.csv``, ``.md``, ``.png`` and ``-maps.png``, and return the table in Markdown."""
    rows = compare_methods(work)
    draw_nrmse(rows, folder / "table2.png")
    draw_methods(work, folder / "table2-maps.png")
    text = format_table(rows, describe_trainings(work, networks()))
    return publish(folder / "table2", COLUMNS, map(csv_line, rows), text)


def networks() -> list[str]:
    """Return the methods that are trained."""
    return [method for method in ALL_METHODS if method not in MATCHINGS]


def compare_methods(work: Work) -> list[Row]:
    """Score all networks and matching on the test subjects, by method, reference, map and metric."""
    for network in networks():
        work.model(network)  # all are selected before any test subject is used
    work.prepare(work.split("testing"))
    return [row for method in ALL_METHODS for row in summarise(method, work.test_scores(method))]


def format_table(rows: Sequence[Row], trainings: str) -> str:
    """Format the results as Markdown, one table per reference, with the paper's numbers in parentheses.

    `trainings`, which describes how the networks were trained, is added below.
    """
    parts = [_REMARK]
    for reference in REFERENCES:
        heading = f"## Against {TITLES[reference]}\n"
        some = [row for row in rows if row.reference == reference]
        parts += [heading, metric_table(some, cells=_cells), order_table(some)]
    return "\n".join([*parts, trainings])


def order_table(rows: Sequence[Row]) -> str:
    """Format the ranking of the networks by the NRMSE of every map as Markdown, beside that of the paper."""
    lines = []
    for parameter in PARAMETERS:
        errors = {
            row.method: (row.mean, row.paper[0])
            for row in rows
            if (row.metric, row.map) == ("NRMSE", parameter.name) and row.paper is not None
        }
        ours = sorted(errors, key=lambda method: errors[method][0])
        papers = sorted(errors, key=lambda method: errors[method][1])
        lines.append([parameter.name, ", ".join(ours), ", ".join(papers)])
    return markdown(["map", "networks by NRMSE, the best first", "in the paper"], lines)


def _cells(line: Sequence[Row]) -> list[str]:
    """Format the results of all methods for one metric and map."""
    sign = -1 if line[0].metric == "NRMSE" else 1
    best = max((sign * row.mean for row in line if row.paper is not None and not math.isnan(row.mean)), default=None)
    cells = []
    for row in line:
        ours, bracket, paper = beside(row).partition(" (")
        is_best = row.paper is not None and sign * row.mean == best
        cells.append((f"**{ours}**" if is_best else ours) + bracket + paper)
    return cells


def draw_nrmse(rows: Sequence[Row], path: Path) -> None:
    """Draw the NRMSE of every map and method against both references, with the paper's values, as a PNG."""
    methods = list(dict.fromkeys(row.method for row in rows))
    figure = Figure(figsize=(14, 0.42 * len(methods) + 1.7), layout="constrained")
    panels = figure.subplots(1, len(PARAMETERS), sharey=True)
    for axes, parameter in zip(panels, PARAMETERS, strict=True):
        _draw_panel(axes, [row for row in rows if (row.metric, row.map) == ("NRMSE", parameter.name)], methods)
        axes.set_title(parameter.name)
    panels[0].set_yticks(np.arange(len(methods)), methods)
    panels[0].invert_yaxis()
    figure.supxlabel("NRMSE: mean and standard deviation over test subjects", fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, fontsize=9)
    save_figure(figure, path)


def _draw_panel(axes: Axes, rows: Sequence[Row], methods: Sequence[str]) -> None:
    for number, reference in enumerate(REFERENCES):
        some = [row for row in rows if row.reference == reference]
        axes.errorbar(
            [row.mean for row in some],
            [methods.index(row.method) + 0.3 * (number - 0.5) for row in some],
            xerr=np.nan_to_num([row.spread or 0.0 for row in some]),
            fmt="o",
            color=REFERENCE_COLOURS[reference],
            capsize=2,
            label=f"ours, against {'truth' if reference == 'truth' else 'matching'}",
        )
    known = {row.method: row.paper[0] for row in rows if row.paper is not None}
    places = [methods.index(method) + 0.4 for method in known]
    axes.plot(list(known.values()), places, "x", color="0.3", label="paper, against matching")
    axes.set_xlim(left=0)
    axes.grid(axis="x", linewidth=0.4)
    axes.spines[["top", "right"]].set_visible(False)


def draw_methods(work: Work, path: Path) -> None:
    """Draw the first test subject's true maps and those of all methods, as a PNG."""
    subject = work.split("testing")[0]
    truth = work.truth(subject)
    columns = [Column(title="truth", maps=truth)]
    columns += [Column(title=method, maps=work.maps(method, subject)) for method in ALL_METHODS]
    rows = [MapRow(label=p.heading, parameter=p, truth=truth, columns=columns) for p in PARAMETERS]
    draw_maps(rows, f"{subject.name}: the truth and all methods", path)
