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
"""Largest matrix size. Larger voxels have less noise and less aliasing, and take a fraction of the time."""
N_VOXELS = 4000
"""Largest number of voxels of a slice that are tested."""
FEWER_VOXELS = 1000
"""Largest number of voxels in the short form, `doubt`."""
DEPTH = 2
"""Distance in voxels of tested voxels from the border of the tissue, if there are enough such voxels."""
ENOUGH = 200
"""Number of voxels at that depth that suffices to use no others."""
LEAST = 100
"""Smallest number of tissue voxels in a slice: there are as many noise readings, of about fifteen coefficients each."""
BY_SUBSPACE = Imaging(recon="subspace")
"""Default reconstruction of a scan for the check."""


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
    """Test the assumptions of the signal model on the middle slice of a raw scan.

    Parameters
    ----------
    scan
        The file.
    protocol, model
        Protocol that the scan is assumed to follow, and the model its signals are simulated with.
    imaging
        Reconstruction, always in a subspace; a scan without noise measurement is prewhitened by the edges of its
        k-space.
    device
        Device that reconstructs the images.
    seed
        Seed of the choice of voxels and of the noise.
    progress
        Called in every stage.

    Raises
    ------
    MrfpipeError
        As for `read_raw` and `mrfpipe.run.source.reconstruction_of`.
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
    """Prepare the reconstruction of the middle slice from the centre of k-space, with the noise of all of k-space."""
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
    """Return one line that names a history or inversion that explains matched signals clearly better, if there is one.

    This is a short form of `check_scan` for signals that are available anyway. It assumes that slices were measured in
    the order of their position. Variants that take long to simulate, slices with few voxels, and dictionaries with
    coarse grids are left to `check_scan`.

    Parameters
    ----------
    maps, fingerprints
        Result of matching.
    dictionary
        Dictionary that was used.
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
    """Choose at most `most` voxels deep inside tissue, ordered by position. Shape `(voxels, 2)`."""
    deep = binary_erosion(mask, iterations=DEPTH)
    places = np.argwhere(deep if deep.sum() >= ENOUGH else mask)
    chosen: Int = places[np.sort(rng.choice(len(places), min(most, len(places)), replace=False))]
    return chosen
