"""Bounds: the best precision that a protocol can reach for each parameter, as a table and a picture, before a scan."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.files.atomic import writing
from mrfpipe.limit import bounds
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.protocol import Protocol

_MOST_AXES = 3
_N_VALUES = 25
"""Number of simulated values along an axis."""
_WIDE = 20.0
"""Ratio of largest to smallest value above which an axis is logarithmic."""

Point = Mapping[str, Double]
"""Parameter values of one voxel in SI units, by name. Shape `(1)` each."""


def format_bounds(
    protocol: Protocol, model: SignalModel, points: Sequence[Point], given: Sequence[Collection[str]], snr: float
) -> str:
    """Compute the bounds at some points, and format a table for each.

    Parameters
    ----------
    protocol, model, snr
        See `mrfpipe.limit.bounds`.
    points
        Points at which to compute the bounds.
    given
        Parameters that were specified for each point; the others are marked as the middle of the grid.
    """
    sequence, found = protocol.sequence, bounds(protocol, _stacked(points), snr=snr, model=model)
    seconds, columns = sequence.duration, ("", "at", "bound", "x root second")
    lines = [f"{protocol.name}, {model}: {sequence.n_readouts} readouts in {seconds:.2f} s, SNR {snr:g} of a readout"]
    for number, (point, asked) in enumerate(zip(points, given, strict=True)):
        rows = [columns]
        for p in protocol.parameters:
            at = f"{point[p.name][0] * p.scale:g}" + ("" if p.name in asked else " (middle)")
            least = found[p.name][number] * p.scale
            rows.append((p.heading, at, _short(least), _short(least * np.sqrt(seconds))))
        widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
        lines += ["", *("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)]
    return "\n".join(lines)


def draw_bounds(
    protocol: Protocol, model: SignalModel, points: Sequence[Point], labels: Sequence[str], snr: float, path: Path
) -> None:
    """Draw the bounds as a PNG, over any existing file: a row for each parameter, and a line for each point.

    Each column is an axis of the grid along which the points vary; at most three are drawn, which change the bounds
    most.

    ResourceError if the file cannot be written to the disk.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    axes = {name: _places(axis) for name, axis in protocol.grid.items() if axis.size > 1}
    here = bounds(protocol, _stacked(points), snr=snr, model=model)
    found = {name: _along(protocol, model, points, name, axis, snr) for name, axis in axes.items()}
    chosen = sorted(sorted(axes, key=lambda name: -_change(found[name]))[:_MOST_AXES], key=list(axes).index)
    parameters = {p.name: p for p in protocol.parameters}
    figure = Figure(figsize=(1.0 + 3.2 * len(chosen), 1.2 + 1.7 * len(parameters)), layout="constrained")
    panels = figure.subplots(len(parameters), len(chosen), squeeze=False, sharex="col", sharey="row")
    for line, bounded in zip(panels, parameters.values(), strict=True):
        for panel, name in zip(line, chosen, strict=True):
            moved = parameters[name]
            for number, point in enumerate(points):
                values = found[name][bounded.name][number] * bounded.scale  # infinite values are not drawn
                (drawn,) = panel.plot(axes[name] * moved.scale, values, label=labels[number])
                at, least = point[name] * moved.scale, here[bounded.name][number] * bounded.scale
                panel.plot(at, least, ".", color=drawn.get_color())
            panel.grid(linewidth=0.4)
        line[0].set_ylabel(bounded.heading)
        if _is_wide(np.concatenate([found[name][bounded.name].ravel() for name in chosen])):
            line[0].set_yscale("log")
            line[0].yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator())
            line[0].yaxis.set_major_formatter("{x:g}")
    for panel, name in zip(panels[-1], chosen, strict=True):
        panel.set(xlabel=parameters[name].heading, xscale="log" if _is_wide(axes[name]) else "linear")
    handles, names = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", fontsize=9)
    figure.suptitle(f"Least standard deviations by {protocol.name}, {model}, SNR {snr:g} of a readout", fontsize=11)
    with writing(path, force=True) as partial:
        figure.savefig(partial, dpi=130, format="png")


def _along(
    protocol: Protocol, model: SignalModel, points: Sequence[Point], name: str, axis: Double, snr: float
) -> dict[str, Double]:
    """Compute the bounds while the points vary along an axis, by parameter. Shape `(points, values)` each."""
    at = {other: np.repeat(values, axis.size) for other, values in _stacked(points).items()}
    found = bounds(protocol, at | {name: np.tile(axis, len(points))}, snr=snr, model=model)
    return {bounded: values.reshape(len(points), -1) for bounded, values in found.items()}


def _change(found: Mapping[str, Double]) -> float:
    """Sum over parameters the logarithm of the factor by which their bounds change along an axis."""
    finite = (values[np.isfinite(values)] for values in found.values())
    return sum(float(np.ptp(np.log(values))) for values in finite if values.size)


def _stacked(points: Sequence[Point]) -> dict[str, Double]:
    return {name: np.concatenate([point[name] for point in points]) for name in points[0]}


def _is_wide(values: Double) -> bool:
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.max() > _WIDE * finite.min() > 0)


def _places(axis: Double) -> Double:
    """Return values from end to end of an axis, evenly spaced on the linear or logarithmic scale that is drawn."""
    return (np.geomspace if _is_wide(axis) else np.linspace)(axis[0], axis[-1], _N_VALUES)


def _short(value: float) -> str:
    return f"{float(f'{value:.3g}'):g}" if np.isfinite(value) else "cannot be told"
