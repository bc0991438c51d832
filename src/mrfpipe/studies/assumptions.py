"""Errors of the maps when a scan violates the assumptions of the signal model.

Voxels of muscle are simulated without noise under ideal spoiling, with one assumption violated, and matched with the
protocol's dictionary with refinement. The remaining error is that of this assumption alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from mrfpipe.arrays import Complex, Double
from mrfpipe.dictionary import build_dictionary
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.refine import refine
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.physics.simulate import SignalModel, fingerprints
from mrfpipe.physics.variants import inverted
from mrfpipe.progress import SILENT, UNTOLD, Progress, Steps
from mrfpipe.protocol import History, Protocol, load_protocol
from mrfpipe.quantities import counting_rule
from mrfpipe.studies.tables import ERROR_COLUMNS, bias_and_rmse, markdown, publish

MUSCLE = {"FF": (0.05, 0.6), "T1H2O": (1.0, 1.8), "T1fat": (0.25, 0.375), "df": (-60.0, 60.0), "B1": (0.6, 0.95)}
"""Range of each parameter, in SI units, that voxels are drawn from."""
N_VOXELS = {"small": 200, "paper": 4000}
"""Voxels at each scale."""
PROTOCOL = "t1ff"
"""Protocol at every scale: refinement between the points of a coarse grid would add errors of its own."""

Voxels = Mapping[str, Double]
"""Parameters of voxels by name, in SI units. Shape `(voxels)` each."""
Played = Callable[[Protocol, Voxels], Complex]
"""Simulates the frames of voxels as they are in a scan. Shape `(voxels, frames)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The errors of maps whose scan violates an assumption."""

    broken: str
    """Description of the violation."""
    bias: dict[str, float]
    """Mean error of each map, keyed by name, in file units."""
    rmse: dict[str, float]
    """Root mean square error of each map, keyed by name, in file units."""


def price_assumptions(
    protocol: Protocol,
    *,
    n_voxels: int,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Steps = UNTOLD,
) -> list[Price]:
    """Violate one assumption after the other, and in the first line none, for voxels drawn from `MUSCLE`.

    The protocol is that of the dictionary; `progress` is called after every assumption.
    """
    rng = np.random.default_rng(seed)
    truth = {name: rng.uniform(low, high, n_voxels) for name, (low, high) in MUSCLE.items()}
    dictionary, signals = build_dictionary(protocol, device=device), []
    for played in SCANS.values():
        signals.append(dictionary.compress(played(protocol, truth)))
        progress(len(signals), len(SCANS))
    together = np.concatenate(signals)
    found = refine(together, match_exact(together, dictionary, device).entry, dictionary).parameters
    return [
        _price(broken, {name: values[i * n_voxels : (i + 1) * n_voxels] for name, values in found.items()}, truth)
        for i, broken in enumerate(SCANS)
    ]


def _price(broken: str, found: Voxels, truth: Voxels) -> Price:
    bias, rmse = bias_and_rmse(found, truth)
    return Price(broken=broken, bias=bias, rmse=rmse)


def _as_assumed(protocol: Protocol, voxels: Voxels, model: SignalModel | None = None) -> Complex:
    return fingerprints(protocol, voxels, model=model or SignalModel())


def _inverted(protocol: Protocol, voxels: Voxels, **inversion: float | bool) -> Complex:
    """Simulate with changed settings of the inversion."""
    return _as_assumed(inverted(protocol, **inversion), voxels)


def _after(history: History, protocol: Protocol, voxels: Voxels) -> Complex:
    """Simulate the sequence after another history of the magnetisation."""
    return _as_assumed(replace(protocol, history=history), voxels)


def _other_t2(t2: float, protocol: Protocol, voxels: Voxels) -> Complex:
    """Simulate with another T2 of the first component, in s."""
    first, *others = protocol.components
    return _as_assumed(replace(protocol, components=(replace(first, t2=t2), *others)), voxels)


def _dephased(rate: float, protocol: Protocol, voxels: Voxels) -> Complex:
    """Let all signals decay with R2' in 1/s in addition to T2."""
    sequence = protocol.sequence
    te = sequence.te.reshape(sequence.n_frames, sequence.readouts_per_frame).mean(axis=1)
    decayed: Complex = (_as_assumed(protocol, voxels) * np.exp(-rate * te)).astype(np.complex64)
    return decayed


def _other_field(field: float, protocol: Protocol, voxels: Voxels) -> Complex:
    """Scale the frequency shifts of the spectra to another field strength in T."""
    components = tuple(replace(c, shifts=c.shifts * field / protocol.field) for c in protocol.components)
    return _as_assumed(replace(protocol, components=components), voxels)


SCANS: dict[str, Played] = {
    "as assumed": _as_assumed,
    "inversion efficiency 0.95": partial(_inverted, efficiency=0.95),
    "inversion efficiency 0.90": partial(_inverted, efficiency=0.90),
    "inversion of 180 degrees times B1": partial(_inverted, scales_with_b1=True),
    "first of several slices": partial(_after, History(kind="equilibrium")),
    "second of several slices": partial(_after, History(kind="multislice", slices=1)),
    "third of several slices": partial(_after, History(kind="multislice", slices=2)),
    "fifth of several slices": partial(_after, History(kind="multislice", slices=4)),
    "T2 of water 30 ms": partial(_other_t2, 0.030),
    "R2' 15 1/s (T2* of water 25 ms)": partial(_dephased, 15.0),
    "slice profile": partial(_as_assumed, model=SignalModel(slice_profile=True)),
    "field 2.89 T, shifts of fat of 3 T": partial(_other_field, 2.89),
}
"""Simulations of scans, by a readable description."""


def run(
    folder: Path,
    scale: Literal["small", "paper"],
    *,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Progress = SILENT,
) -> str:
    """Write the study's table as text and CSV, and return the text."""
    n_voxels, advance = N_VOXELS[scale], progress("assumptions")
    prices = price_assumptions(load_protocol(PROTOCOL), n_voxels=n_voxels, seed=seed, device=device, progress=advance)
    lines = [[price.broken, *(v[p.name] for p in PARAMETERS for v in (price.bias, price.rmse))] for price in prices]
    digits = {"FF": ".3f", "T1H2O": ".0f", "T1fat": ".0f", "df": ".1f", "B1": ".3f"}
    table = markdown(
        ["scan", *(p.heading for p in PARAMETERS)],
        [[p.broken, *(f"{p.bias[n]:+{digit}} ({p.rmse[n]:{digit}})" for n, digit in digits.items())] for p in prices],
    )
    remark = f"Bias (RMSE) of refined matching without noise, voxels of muscle; {counting_rule(PARAMETERS)}."
    return publish(folder / "assumptions", ["scan", *ERROR_COLUMNS], lines, f"{table}\n{remark}\n")
