"""Check: tests the assumptions of the signal model on voxels of a raw scan."""

from dataclasses import replace
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
from mrfpipe.matching.check import Changed, Explained, Simulated, explain, is_fine, judge, whitening
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.physics.variants import Variant, variants_of
from mrfpipe.progress import SILENT, Progress, stage
from mrfpipe.protocol import Protocol
from mrfpipe.report.verdict import Check, best_line
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
BY_SUBSPACE = Imaging(recon="subspace")
"""How a scan is reconstructed to be checked, unless told otherwise."""


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
        Where images are made.
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
        raw = read_raw(scan, protocol.sequence, trusted=imaging.trust_protocol)
    middle = raw.n_slices // 2
    before = middle if raw.order is None else int(raw.order[middle])

    def others(variant: Variant) -> list[Variant]:
        return list(variants_of(variant, before))

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
        replace(raw, kspace=raw.kspace[[middle]], order=None, matrix=sequence.matrix, noise=noise).within_matrix(),
        replace(protocol, sequence=sequence),
        progress,
        imaging=replace(imaging, recon="subspace", noise="scan"),
        basis=basis,
        denoised=False,
        device=device,
    )


def doubt(maps: ParameterMaps, fingerprints: Fingerprints, dictionary: Dictionary) -> str:
    """Say in a line which other history or inversion explains matched signals clearly better; nothing if none does.

    The short form of `check_scan`, of signals that are there anyhow, which takes slices to be measured in the order of
    their place. Left to that are what takes long to simulate, few voxels, and dictionaries of coarse grids.

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
    return f"{best_line(verdict)} Details: `mrfpipe check SCAN -d DICT.h5`." if verdict.changes else ""


def _inside(mask: Bool, most: int, rng: np.random.Generator) -> Int:
    """Choose so many voxels deep inside tissue, in the order of their places. Shape `(voxels, 2)`."""
    deep = binary_erosion(mask, iterations=DEPTH)
    places = np.argwhere(deep if deep.sum() >= ENOUGH else mask)
    chosen: Int = places[np.sort(rng.choice(len(places), min(most, len(places)), replace=False))]
    return chosen
