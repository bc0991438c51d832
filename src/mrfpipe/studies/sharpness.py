"""Fig. 5 of Balsiger et al., Med Image Anal 64:101741 (2020), section 3.2: how blurry the maps of every method are.

The measure is the fraction of a map's energy at spatial frequencies above a threshold, for several thresholds.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mrfpipe.arrays import Double
from mrfpipe.evaluation.sharpness import THRESHOLDS, high_frequency_energy
from mrfpipe.maps import ParameterMaps
from mrfpipe.phantom.cohort import Subject
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.studies.drawing import save_figure
from mrfpipe.studies.tables import markdown, publish
from mrfpipe.studies.work import Work

COLUMNS = ("map", "method", "threshold", "mean", "spread", "n")
_REMARK = (
    "Share of energy above a threshold, in % of the highest frequency along an axis: mean and standard deviation over "
    "slices of test subjects, in per mille. The figures of Balsiger et al. (2020) are bars without numbers; they say "
    "that of T1H2O all networks are clearly smoother than matching, Fang's smoother than the proposed, and that of FF "
    "and df Oksuz's is less smooth than matching. Networks are those trained so far.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Fraction of the energy of one map at high spatial frequencies."""

    map: str
    """Name of the map in files."""
    method: str
    """Name of the method, or ``truth``."""
    threshold: float
    """Threshold as a fraction of the highest frequency."""
    mean: float
    """Mean over slices of all subjects."""
    spread: float
    """Standard deviation; NaN for a single slice."""
    n: int
    """Number of slices."""


def run(folder: Path, work: Work) -> str:
    """Run the study, write ``sharpness.csv``, ``.md`` and ``.png``, and return the table in Markdown."""
    work.prepare(work.split("testing"))
    shares = measure(work, ("truth", "match", *work.trained()))
    draw(shares, folder / "sharpness.png")
    return publish(folder / "sharpness", COLUMNS, map(astuple, shares), format_table(shares))


def measure(work: Work, methods: Sequence[str]) -> list[Share]:
    """Measure the maps of all test subjects and methods over the voxels that all methods have."""
    energies: dict[tuple[str, str], list[Double]] = {}
    for subject in work.split("testing"):
        maps = {method: _maps(work, method, subject) for method in methods}
        mask = np.logical_and.reduce([m.mask for m in maps.values()])
        for method, found in maps.items():
            for p in PARAMETERS:
                energies.setdefault((p.name, method), []).append(high_frequency_energy(found.si[p.name], mask))
    shares = []
    for (name, method), parts in energies.items():
        values = np.concatenate(parts)
        spreads = np.std(values, axis=0, ddof=1) if len(values) > 1 else np.full(len(THRESHOLDS), np.nan)
        shares += [
            Share(map=name, method=method, threshold=t, mean=float(m), spread=float(s), n=len(values))
            for t, m, s in zip(THRESHOLDS, values.mean(axis=0), spreads, strict=True)
        ]
    return shares


def _maps(work: Work, method: str, subject: Subject) -> ParameterMaps:
    return work.truth(subject) if method == "truth" else work.maps(method, subject)


def format_table(shares: Sequence[Share]) -> str:
    """Format the fractions as Markdown, one table per map, one line per method."""
    parts = [_REMARK]
    for parameter in PARAMETERS:
        of_map = [s for s in shares if s.map == parameter.name]
        lines = [
            [method, *(_cell(s) for s in of_map if s.method == method)]
            for method in dict.fromkeys(s.method for s in of_map)
        ]
        parts += [f"## {parameter.name}\n", markdown(["method", *(f"> {t:.0%}" for t in THRESHOLDS)], lines)]
    return "\n".join(parts)


def _cell(share: Share) -> str:
    spread = "" if np.isnan(share.spread) else f" ± {1e3 * share.spread:.2f}"
    return f"{1e3 * share.mean:.2f}{spread}"


def draw(shares: Sequence[Share], path: Path) -> None:
    """Draw the fractions as bars, one panel per map, as a PNG."""
    methods = list(dict.fromkeys(s.method for s in shares))
    figure = Figure(figsize=(15, 4.2), layout="constrained")
    width = 0.85 / len(methods)
    colours = {"truth": "0.75", "match": "0.35"}
    for axes, parameter in zip(figure.subplots(1, len(PARAMETERS)), PARAMETERS, strict=True):
        for number, method in enumerate(methods):
            some = [s for s in shares if (s.map, s.method) == (parameter.name, method)]
            axes.bar(
                np.arange(len(THRESHOLDS)) + (number - (len(methods) - 1) / 2) * width,
                [1e3 * s.mean for s in some],
                width,
                yerr=[1e3 * np.nan_to_num(s.spread) for s in some],
                error_kw={"linewidth": 0.7},
                color=colours.get(method, f"C{number}"),
                label={"match": "matching"}.get(method, method),
            )
        axes.set_xticks(np.arange(len(THRESHOLDS)), [f"{t:.0%}" for t in THRESHOLDS], fontsize=9)
        axes.set_ylim(bottom=0)
        axes.set_title(parameter.name)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("energy of high frequencies (per mille of all)")
    figure.supxlabel("frequencies above this share of the highest count as high", fontsize=10)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(methods), fontsize=9)
    save_figure(figure, path)
