"""Check: what a raw scan says of the signal model, by some voxels that every variant of it has to explain."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import binary_erosion

from mrfpipe.acquisition.raw import read_raw
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.arrays import Bool, Complex, Int
from mrfpipe.dictionary import Dictionary
from mrfpipe.errors import InputError
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.coils import edge_noise
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.maps import Fingerprints, ParameterMaps
from mrfpipe.matching.check import CLEARLY, Changed, Explained, Simulated, Verdict, explain, is_fine, judge, whitening
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.physics.variants import Setting, Variant, variants_of
from mrfpipe.progress import SILENT, Progress, stage
from mrfpipe.protocol import Protocol
from mrfpipe.quantities import Parameter
from mrfpipe.run.source import reconstruction_of

CPU = torch.device("cpu")
MATRIX = 176
"""Voxels along a side at most. Larger voxels have less noise and less aliasing, and take a fraction of the time."""
N_VOXELS = 4000
"""Voxels of a slice that are looked at, at most."""
FEWER_VOXELS = 1000
"""As many by the short form."""
DEPTH = 2
"""Voxels that lie between one that is looked at and what is no tissue, where there are enough of those."""
ENOUGH = 200
"""Voxels so deep inside that no others are needed."""
LEAST = 100
"""Voxels of tissue that a slice must have: noise is known by as many readings, of some fifteen coefficients."""
DECIMALS = {"1": 3, "ms": 0, "Hz": 1}
"""Of changes of maps, by the unit of these."""
BY_SUBSPACE = Imaging(recon="subspace")
"""How a scan is reconstructed to be checked, unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Check:
    """What a scan says of the signal model, and of how much of it."""

    name: str
    """What the scan is called."""
    slice_index: int
    """Slice that was looked at, counted from 0."""
    n_slices: int
    """Slices of the scan."""
    rank: int
    """Coefficients that a voxel was compared by."""
    verdict: Verdict
    """What it says."""

    def over_noise(self, one: Explained) -> float:
        """Return the median residual in units of the noise; 1 if noise is all that is left."""
        # Of 2 rank real numbers, a fit explains one a parameter, and the two of the scale.
        free = self.rank - (len(one.parameters) + 2) / 2
        return float(np.sqrt(np.median(one.residual) / max(free, 0.5)))

    def __str__(self) -> str:
        verdict, best = self.verdict, self.verdict.best
        looked_at = f"slice {self.slice_index + 1} of {self.n_slices}, {best.residual.size:,} voxels"
        noise = f"{self.rank} coefficients, residual {self.over_noise(best):.2f} times the noise"
        lines = [f"{self.name}: {looked_at}, {noise}", best_line(verdict), "", *self._table()]
        undecided = [
            f"{setting.name} ({setting.remedy})" for one in verdict.undecided for setting in self._instead(one)
        ]
        if undecided:
            lines += ["", f"undecided, less than {CLEARLY:g} standard errors worse: {'; '.join(undecided)}"]
        return "\n".join(lines)

    def _instead(self, one: Explained) -> tuple[Setting, ...]:
        """Return what a variant has set otherwise than the best."""
        return one.variant.since(self.verdict.best.variant)

    def _table(self) -> list[str]:
        """Write what every other variant is worse by, and what it would change in the maps."""
        best, assumed = self.verdict.best, self.verdict.assumed
        rows = {", ".join(setting.name for setting in self._instead(one)): one for one in self.verdict.others}
        if self.verdict.changes:
            rows = {n: o for n, o in rows.items() if o.variant.since(assumed.variant)} | {"as assumed": assumed}
        parameters = best.variant.protocol.parameters
        titles = [p.name if p.unit == "1" else f"{p.name} ({p.unit})" for p in parameters]
        width = max(map(len, rows))
        columns = "  ".join(f"{title:>10}" for title in titles)
        lines = [f"{'instead':{width}}  {'worse by (se)':>13}  {'residual':>8}  {columns}"]
        for name, one in sorted(rows.items(), key=lambda row: best.margin(row[1])):
            change = one.change(best)
            changes = "  ".join(f"{_number(change[p.name], p):>10}" for p in parameters)
            lines.append(f"{name:{width}}  {best.margin(one):13.1f}  {self.over_noise(one):8.2f}  {changes}")
        return [*lines, "residual in units of the noise; then by how much maps would change, medians"]


def best_line(verdict: Verdict) -> str:
    """Say in a line which variant explains a scan best, how it is set, and what the maps change by."""
    if not verdict.changes:
        return "The scan is explained best by the protocol as it is."
    names, remedies = (", ".join(texts) for texts in zip(*verdict.changes, strict=True))
    change = verdict.best.change(verdict.assumed)
    parameters = verdict.best.variant.protocol.parameters
    units = {p.name: "" if p.unit == "1" else f" {p.unit}" for p in parameters}
    changes = ", ".join(f"{p.name} {_number(change[p.name], p)}{units[p.name]}" for p in parameters)
    return (
        f"The scan is explained better than by the protocol, by {verdict.margin:.0f} standard errors, with {names}: "
        f"set {remedies}, and the maps change by (medians) {changes}."
    )


def _number(value: float, p: Parameter) -> str:
    return f"{value:+.{DECIMALS[p.unit]}f}"


def check_scan(
    scan: Path,
    protocol: Protocol,
    model: SignalModel,
    *,
    imaging: Imaging = BY_SUBSPACE,
    device: torch.device = CPU,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Check:
    """Look at the middle slice of a raw scan.

    Parameters
    ----------
    scan
        The file.
    protocol, model
        What it is taken for a scan of, and how its signals are simulated.
    imaging
        How it is reconstructed, in a subspace in any case; a scan without noise measurement is whitened by the edges of
        its k-space.
    device
        Where the reconstruction iterates.
    seed
        Of the voxels and of the noise.
    progress
        Told of every stage.

    Raises
    ------
    MrfpipeError
        As `read_raw` and `mrfpipe.run.source.reconstruction_of`.
    InputError
        If the slice holds hardly any tissue.
    """
    rng, simulated, assumed = np.random.default_rng(seed), Simulated(), Variant(protocol=protocol, model=model)
    with stage(progress, "read"):
        raw = read_raw(scan, protocol.sequence)
    middle = raw.n_slices // 2

    def others(variant: Variant) -> list[Variant]:
        return list(variants_of(variant, middle))

    with stage(progress, "simulate"):
        basis = simulated.basis([assumed, *others(assumed)])
    images = _coarse(raw, protocol, imaging, basis, device, progress)
    (one,) = images
    places = _inside(one.mask[0] & np.any(one.images[0] != 0, axis=0), N_VOXELS, rng)
    if len(places) < LEAST:
        raise InputError(f"{scan}: slice {middle + 1} has only {len(places)} voxels of tissue; check the scan.")
    signals, noise = (np.ascontiguousarray(some[:, *places.T].T) for some in (one.images[0], images.noise(rng)))
    white = whitening(noise)

    def fitted(variant: Variant) -> Explained:
        name = ", ".join(setting.name for setting in variant.since(assumed)) or "as assumed"
        with stage(progress, name):
            return explain(signals, basis, variant, simulated, white)

    return Check(
        name=raw.name,
        slice_index=middle,
        n_slices=raw.n_slices,
        rank=basis.shape[1],
        verdict=judge(assumed, others, fitted),
    )


def _coarse(
    raw: RawScan, protocol: Protocol, imaging: Imaging, basis: Complex, device: torch.device, progress: Progress
) -> Reconstruction:
    """Get ready to reconstruct the middle slice from the centre of k-space, its noise being that of all of k-space."""
    sequence, middle = replace(protocol.sequence, matrix=min(raw.matrix, MATRIX)), raw.n_slices // 2
    measured = raw.noise is not None and imaging.noise == "scan"
    noise = raw.noise if measured else edge_noise(raw.kspace[middle], raw.trajectory)
    return reconstruction_of(
        replace(raw, kspace=raw.kspace[[middle]], matrix=sequence.matrix, noise=noise).within_matrix(),
        replace(protocol, sequence=sequence),
        progress,
        imaging=replace(imaging, recon="subspace", noise="scan"),
        basis=basis,
        denoised=False,
        device=device,
    )


def doubt(maps: ParameterMaps, fingerprints: Fingerprints, dictionary: Dictionary) -> str:
    """Say in a line which other history or inversion explains matched signals clearly better; nothing if none does.

    The short form of `check_scan`, of signals that are there anyhow. Left to that are what takes long to simulate,
    few voxels, and dictionaries of coarse grids.

    Parameters
    ----------
    maps, fingerprints
        What was matched.
    dictionary
        What it was matched with.
    """
    middle = len(maps.mask) // 2
    places = _inside(maps.mask[middle], FEWER_VOXELS, np.random.default_rng(0))
    if len(places) < ENOUGH or not is_fine(dictionary.protocol):
        return ""
    number = np.cumsum(maps.mask).reshape(maps.mask.shape)[middle] - 1
    signals, basis = fingerprints.measured[number[*places.T]], fingerprints.basis
    assumed = Variant(protocol=dictionary.protocol, model=dictionary.model)
    changed = Changed(dictionary=dictionary, simulated=Simulated())

    def others(base: Variant) -> list[Variant]:
        return [one for one in variants_of(base, middle) if one.model == base.model and not one.conjugated]

    verdict = judge(assumed, others, lambda variant: explain(signals, basis, variant, changed))
    return f"{best_line(verdict)} `mrfpipe check SCAN -d DICT.h5` says more." if verdict.changes else ""


def _inside(mask: Bool, most: int, rng: np.random.Generator) -> Int:
    """Choose so many voxels deep inside tissue, in the order of their places. Shape `(voxels, 2)`."""
    deep = binary_erosion(mask, iterations=DEPTH)
    places = np.argwhere(deep if deep.sum() >= ENOUGH else mask)
    chosen: Int = places[np.sort(rng.choice(len(places), min(most, len(places)), replace=False))]
    return chosen
