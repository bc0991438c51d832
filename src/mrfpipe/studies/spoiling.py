"""Differences between the signal models, in signals and in maps.

Voxels are drawn uniformly over the inner part of the protocol's grid. Each is simulated by one model, without noise,
and matched with the dictionary of another; if both models are the same, the remaining error is that of the grid. This
is done for several increments of the RF phase, without and with slice profile.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mrfpipe.arrays import Complex, Double
from mrfpipe.dictionary import Dictionary, build_dictionary
from mrfpipe.files.atomic import writing
from mrfpipe.matching.exact import match_exact
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.physics.simulate import SignalModel, Spoiling, fingerprints
from mrfpipe.progress import UNTOLD, Progress, Steps
from mrfpipe.protocol import Excitations, Protocol, load_protocol
from mrfpipe.quantities import counting_rule
from mrfpipe.studies.tables import ERROR_COLUMNS, bias_and_rmse, markdown, write_csv

INCREMENTS_DEG = (0.0, 50.0, 117.0)
"""Increments of the RF phase: none, the protocol's, and the one of Zur et al. (Magn Reson Med 21:251, 1991)."""
INNER = 0.8
"""Fraction of each grid axis, around its middle, that voxels are drawn from, so that errors in both directions show."""
N_VOXELS = {"small": 200, "paper": 4000}
"""Voxels at each scale."""
PROTOCOLS = {"small": "t1ff-small", "paper": "t1ff"}
"""Protocol at each scale; both have the same train."""
MUSCLE = {"FF": 0.05, "T1H2O": 1.2, "T1fat": 0.3, "df": 0.0, "B1": 0.8}
"""The voxel whose signals are drawn: FF, T1H2O and T1fat of leg muscle, in SI units."""

_PAIRS: tuple[tuple[Spoiling, Spoiling], ...] = (
    ("spoiled", "spoiled"),
    ("epg", "epg"),
    ("epg", "spoiled"),
    ("spoiled", "epg"),
    ("bloch", "epg"),
    ("bloch", "spoiled"),
)
"""Pairs of the model of the signals and the model of the dictionary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Signals of one model matched with the dictionary of another."""

    increment_deg: float
    """Increment of the RF phase in degrees."""
    signals: SignalModel
    """Model that simulates the voxels."""
    dictionary: SignalModel
    """Model that simulates the dictionary."""
    difference: float
    """Norm of the difference between both models' signals, relative to the norm of the first: median over voxels."""
    difference_95: float
    """95th percentile of the same difference."""
    bias: dict[str, float]
    """Mean error of each map, keyed by name, in file units."""
    rmse: dict[str, float]
    """Root mean square error of each map, keyed by name, in file units."""


def run(folder: Path, scale: Literal["small", "paper"], *, seed: int, device: torch.device, progress: Progress) -> str:
    """Write the study's table and figure, and return the table as text."""
    protocol, n_voxels, advance = load_protocol(PROTOCOLS[scale]), N_VOXELS[scale], progress("spoiling")
    comparisons = compare_models(protocol, n_voxels=n_voxels, seed=seed, device=device, progress=advance)
    write_comparisons(comparisons, folder / "spoiling.csv")
    with writing(folder / "spoiling.png", force=True) as partial:
        draw_comparisons(protocol, comparisons, partial)
    return format_comparisons(comparisons)


def compare_models(
    protocol: Protocol,
    *,
    n_voxels: int,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Steps = UNTOLD,
) -> list[Comparison]:
    """Match the signals of each model with the dictionaries of other models, for each of `INCREMENTS_DEG`.

    Voxels count according to `mrfpipe.maps.ParameterMaps.counts`; `progress` is called after every comparison.
    """
    truth = draw_voxels(protocol, n_voxels, seed)
    comparisons: list[Comparison] = []
    for increment in INCREMENTS_DEG:
        for comparison in _compared(_played(protocol, increment), increment, truth, device):
            comparisons.append(comparison)
            progress(len(comparisons), len(INCREMENTS_DEG) * len(list(_pairs())))
    return comparisons


def draw_voxels(protocol: Protocol, n_voxels: int, seed: int) -> dict[str, Double]:
    """Draw the parameters of voxels uniformly over the `INNER` part of the grid, in SI units. Shape `(voxels)` each."""
    rng = np.random.default_rng(seed)

    def drawn(axis: Double) -> Double:
        middle, half = (axis[0] + axis[-1]) / 2, INNER * (axis[-1] - axis[0]) / 2
        return rng.uniform(middle - half, middle + half, n_voxels)

    return {p.name: drawn(protocol.grid[p.name]) for p in PARAMETERS}


def _played(protocol: Protocol, increment_deg: float) -> Protocol:
    """Return the protocol with another increment of the RF phase in all trains."""
    sequence = protocol.sequence.with_blocks(Excitations, rf_spoiling_increment=float(np.deg2rad(increment_deg)))
    return replace(protocol, sequence=sequence)


def _pairs() -> Iterator[tuple[SignalModel, SignalModel]]:
    """Yield all pairs without slice profile, all with it, and signals with it paired with dictionaries without it."""
    for slice_profile in (False, True):
        for signals, dictionary in _PAIRS:
            yield (
                SignalModel(spoiling=signals, slice_profile=slice_profile),
                SignalModel(spoiling=dictionary, slice_profile=slice_profile),
            )
    for dictionary in ("epg", "spoiled"):
        yield SignalModel(spoiling="epg", slice_profile=True), SignalModel(spoiling=dictionary)


def _compared(
    protocol: Protocol, increment: float, truth: dict[str, Double], device: torch.device | None
) -> Iterator[Comparison]:
    """Match the signals of every pair of models; the signals of each model are simulated once."""

    @cache
    def simulated(model: SignalModel) -> Complex:
        return fingerprints(protocol, truth, model=model, device=device)

    @cache
    def dictionary_of(model: SignalModel) -> Dictionary:
        return build_dictionary(protocol, model=model, device=device)

    for signals, dictionary in _pairs():
        ours, theirs, built = simulated(signals), simulated(dictionary), dictionary_of(dictionary)
        distance = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(ours, axis=1)
        found = built.parameters(match_exact(built.compress(ours), built, device).entry)
        bias, rmse = bias_and_rmse(found, truth)
        yield Comparison(
            increment_deg=increment,
            signals=signals,
            dictionary=dictionary,
            difference=float(np.median(distance)),
            difference_95=float(np.percentile(distance, 95)),
            bias=bias,
            rmse=rmse,
        )


def format_comparisons(comparisons: list[Comparison]) -> str:
    """Format comparisons as a readable table: bias and, in parentheses, RMSE of the maps."""
    shown = {"FF": ".3f", "T1H2O": ".1f", "B1": ".3f", "df": ".1f"}
    headings = {p.name: p.heading for p in PARAMETERS}
    header = ["RF phase", "signals", "dictionary", "difference", *(headings[name] for name in shown)]
    rows = [
        [
            f"{c.increment_deg:g} deg",
            str(c.signals),
            str(c.dictionary),
            f"{c.difference:.2%} ({c.difference_95:.2%})",
            *(f"{c.bias[name]:+{digits}} ({c.rmse[name]:{digits}})" for name, digits in shown.items()),
        ]
        for c in comparisons
    ]
    remark = (
        "Difference: median (95th percentile) over voxels, relative to the signal's norm. Maps: bias (RMSE); "
        f"{counting_rule(PARAMETERS)}."
    )
    return f"{markdown(header, rows)}\n{remark}"


def write_comparisons(comparisons: list[Comparison], path: Path) -> None:
    """Write comparisons as CSV, one per row, with all five maps."""
    lines = [
        (
            *(c.increment_deg, c.signals, c.dictionary, c.difference, c.difference_95),
            *(value[p.name] for p in PARAMETERS for value in (c.bias, c.rmse)),
        )
        for c in comparisons
    ]
    columns = ("increment_deg", "signals", "dictionary", "difference_median", "difference_p95", *ERROR_COLUMNS)
    write_csv(path, columns, lines)


def draw_comparisons(protocol: Protocol, comparisons: list[Comparison], path: Path) -> None:
    """Draw the signals of muscle by all models, and the bias of maps for each pair of models, as a PNG."""
    figure = Figure(figsize=(13, 9), layout="constrained")
    axes = figure.subplot_mosaic("SSSDDD;TTFFBB", height_ratios=(4, 5))
    panels = {"T1H2O": axes["T"], "FF": axes["F"], "B1": axes["B"]}
    _draw_signals(axes["S"], axes["D"], protocol)
    for name, panel in panels.items():
        _draw_biases(panel, comparisons, name)
        panel.tick_params(labelleft=name == "T1H2O")
    panels["T1H2O"].legend(fontsize=8, title="RF phase increment", title_fontsize=8)
    figure.suptitle(
        f"What the signal models disagree by ({protocol.name}; below: signals of one model, dictionary of another)"
    )
    figure.savefig(path, dpi=150, format="png")


def _draw_signals(top: Axes, difference: Axes, protocol: Protocol) -> None:
    """Draw the magnitude of the muscle's signal frame by frame, and the models' difference from ideal spoiling."""
    voxel = {name: np.array([value]) for name, value in MUSCLE.items()}
    ideal = np.abs(fingerprints(protocol, voxel, model=SignalModel(spoiling="spoiled"))[0])
    top.plot(ideal, color="0.7", linewidth=4, label="spoiled")
    for number, increment in enumerate(INCREMENTS_DEG):
        played = _played(protocol, increment)
        for slice_profile in (False, True):
            model = SignalModel(spoiling="epg", slice_profile=slice_profile)
            signal = np.abs(fingerprints(played, voxel, model=model)[0])
            line, label = f"C{number}{':' if slice_profile else '-'}", f"{_short(model)}, {increment:g} deg"
            top.plot(signal, line, label=label)
            difference.plot(100 * (signal - ideal) / ideal.max(), line, label=label)
    top.set(
        title=f"muscle, T1 {1e3 * MUSCLE['T1H2O']:g} ms, B1 {MUSCLE['B1']:g}", xlabel="frame", ylabel="|signal| / M0"
    )
    difference.axhline(0, color="0.7", linewidth=4, zorder=0)
    difference.set_yscale("symlog", linthresh=2)
    difference.set_yticks([-10, -2, -1, 0, 1, 2, 10, 50], ["-10", "-2", "-1", "0", "1", "2", "10", "50"])
    difference.set(title="difference from ideal spoiling", xlabel="frame", ylabel="% of its highest signal")
    top.legend(fontsize=8)
    for axes in (top, difference):
        axes.set_xlim(0, ideal.size - 1)


def _draw_biases(axes: Axes, comparisons: list[Comparison], name: str) -> None:
    """Draw the bias of one map for every pair of models, one bar per increment."""
    pairs = list(dict.fromkeys((c.signals, c.dictionary) for c in comparisons))
    for number, increment in enumerate(INCREMENTS_DEG):
        biases = {(c.signals, c.dictionary): c.bias[name] for c in comparisons if c.increment_deg == increment}
        places = np.arange(len(pairs)) + 0.27 * (number - 1)
        axes.barh(places, [biases[pair] for pair in pairs], 0.25, color=f"C{number}", label=f"{increment:g} deg")
    labels = [f"{_short(signals)} by {_short(dictionary)}" for signals, dictionary in pairs]
    axes.set_yticks(np.arange(len(pairs)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.grid(axis="x", linewidth=0.4)
    unit = next(p.unit for p in PARAMETERS if p.name == name)
    axes.set_xlabel(f"bias of {name}" + ("" if unit == "1" else f" in {unit}"))


def _short(model: SignalModel) -> str:
    return f"{model.spoiling}+profile" if model.slice_profile else model.spoiling
