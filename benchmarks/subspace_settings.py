"""Subspace settings: rank, number of iterations and block size of the denoising that give the best maps of phantoms.

    python benchmarks/subspace_settings.py [REGION...]

The rank of the T1-FF protocols, and `N_ITERATIONS` and `BLOCK` of `mrfpipe.imaging`, were chosen from its results. The
phantoms are persons of a cohort that the bundled networks were not trained on, one per region of the body, each scanned
twice: with the scanner's usual noise and with four times as much. Every setting is matched, with refinement, with a
dictionary of its rank, in the same voxels. It takes two hours on two cores, mostly for the iterations of high ranks.
Coil maps are estimated once per scan; estimates of mask and delays are not used. Basis vectors have one value per
frame here, as those of `--recon subspace` had when these settings were chosen.
"""

import argparse
import json
from collections.abc import Iterator
from functools import partial
from itertools import islice, product

import numpy as np
from harness import machine
from torch import Tensor

from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.arrays import Float
from mrfpipe.dictionary import Dictionary, build_dictionary
from mrfpipe.evaluation.metrics import rmse
from mrfpipe.imaging.coils import estimate_coil_maps, prewhiten
from mrfpipe.imaging.density import ramp_weights
from mrfpipe.imaging.lowrank import denoise_low_rank
from mrfpipe.imaging.normal import apply_normal, conjugate_gradients
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.imaging.subspace import normal_equations, subspace_kernels
from mrfpipe.matching.match import match_series
from mrfpipe.phantom.cohort import Subject, draw_cohort, draw_unseen
from mrfpipe.phantom.scanner import scan
from mrfpipe.phantom.truth import PARAMETERS, Phantom
from mrfpipe.protocol import load_protocol

COHORT = 11
"""Seed of the cohort, used nowhere else."""
RANKS = (5, 6, 8, 10, 12)
ITERATIONS = (8, 16, 24, 32)
BLOCKS = (0, 4, 5, 7)
"""Side lengths of a block in voxels; 0 for no denoising."""
SNRS = (4000.0, 1000.0)
EVERY = 17
"""Every 17th voxel of the mask is matched."""
REGIONS = ("thigh", "shoulder", "leg", "pelvis")

Setting = tuple[int, int, int]
"""Rank, number of iterations and block size."""


def subjects() -> dict[str, Subject]:
    """Return the first person of the cohort for each region."""
    people = (*draw_cohort(20, seed=COHORT).subjects, *draw_unseen(1, seed=COHORT))
    return {region: next(person for person in people if person.region == region) for region in REGIONS}


def equations(raw: RawScan, dictionary: Dictionary, kernels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coil maps of a scan's only slice and the right-hand side of its normal equations."""
    sequence = dictionary.protocol.sequence
    kspace = prewhiten(raw.kspace[0], raw.noise)
    coils = estimate_coil_maps(kspace, raw.trajectory, sequence.matrix, backend="finufft")
    equations = normal_equations(
        kspace,
        raw.trajectory,
        ramp_weights(raw.trajectory, sequence.matrix),
        coils,
        np.repeat(dictionary.basis, sequence.readouts_per_frame, axis=0),
        sequence.readouts_per_frame,
        kernels=kernels,
        backend="finufft",
    )
    return equations.maps, equations.right


def solutions(coils: Tensor, right: Tensor, kernels: Tensor, rank: int) -> Iterator[tuple[int, Tensor]]:
    """Yield the leading coefficients after each of `ITERATIONS`; their equations are part of those of a higher rank."""
    operator = partial(apply_normal, maps=coils, kernels=kernels[:rank, :rank].contiguous())
    found = islice(conjugate_gradients(operator, right[:rank]), max(ITERATIONS))
    return ((n, solution) for n, solution in enumerate(found, start=1) if n in ITERATIONS)


def errors(coefficients: Tensor, dictionary: Dictionary, phantom: Phantom) -> list[float]:
    """Return the RMSE of every refined map, where it counts, over some voxels of the phantom."""
    truth = phantom.maps
    mask = np.zeros_like(truth.mask)
    mask.ravel()[np.flatnonzero(truth.mask)[::EVERY]] = True
    series = FrameSeries(
        name="phantom",
        images=coefficients.numpy()[None],
        mask=mask,
        affine=truth.affine,
        sequence_hash=dictionary.protocol.sequence.hash,
        basis=dictionary.basis,
    )
    maps = match_series(series, dictionary, refined=True)[0]
    some = [mask & truth.counts(p) for p in PARAMETERS]
    return [rmse(maps[p.name][at], truth[p.name][at]) for p, at in zip(PARAMETERS, some, strict=True)]


def compared(tables: dict[str, dict[Setting, list[float]]]) -> dict[Setting, float]:
    """Return the geometric mean, over scans and maps, of the RMSE relative to the best setting; best setting first."""
    settings = list(next(iter(tables.values())))
    logarithms: Float = np.log([[table[setting] for setting in settings] for table in tables.values()])
    behind = np.exp((logarithms - logarithms.min(axis=1, keepdims=True)).mean(axis=(0, 2)))
    return dict(sorted(zip(settings, behind.tolist(), strict=True), key=lambda item: item[1]))


def print_table(tables: dict[str, dict[Setting, list[float]]], title: str, settings: list[Setting]) -> None:
    """Print the factors of some settings, over all scans and for each scan."""
    print(f"{title}\n  rank iterations block   all  " + " ".join(f"{name:>13}" for name in tables))
    alone = {name: compared({name: table}) for name, table in tables.items()}
    together = compared(tables)
    for setting in settings:
        each = " ".join(f"{alone[name][setting]:13.3f}" for name in tables)
        print(f"  {setting[0]:4} {setting[1]:10} {setting[2]:5} {together[setting]:6.3f} {each}", flush=True)


def main() -> None:
    """Try all settings on all scans and print how they compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("regions", nargs="*", metavar="REGION", help=f"some of {', '.join(REGIONS)}; all if none")
    regions = parser.parse_args().regions or REGIONS
    protocol = load_protocol("t1ff")
    sequence, full = protocol.sequence, build_dictionary(protocol, rank=max(RANKS))
    trajectory = golden_angle_spokes(sequence)
    kernels = subspace_kernels(
        trajectory,
        ramp_weights(trajectory, sequence.matrix),
        np.repeat(full.basis, sequence.readouts_per_frame, axis=0),
        sequence.readouts_per_frame,
        sequence.matrix,
        backend="finufft",
    )
    tables: dict[str, dict[Setting, list[float]]] = {}
    for region, snr in product(regions, SNRS):
        subject = subjects()[region]
        phantom = subject.phantom(
            matrix=sequence.matrix, fov=sequence.fov, slice_spacing=1.5 * sequence.slice_thickness, n_slices=1
        )
        coils, right = equations(scan(phantom, protocol, snr=snr, seed=subject.seed), full, kernels)
        table = tables.setdefault(f"{region}/{snr:.0f}", {})
        for rank in RANKS:
            dictionary = full.in_basis(full.basis[:, :rank])
            for (n, solution), block in product(solutions(coils, right, kernels, rank), BLOCKS):
                images = denoise_low_rank(solution, block) if block else solution
                table[rank, n, block] = errors(images, dictionary, phantom)
                found = " ".join(f"{p.name} {e:.4g}" for p, e in zip(PARAMETERS, table[rank, n, block], strict=True))
                print(f"{region} SNR {snr:.0f} rank {rank} iterations {n} block {block}: {found}", flush=True)
        print_table(tables, "So far, best first", list(compared(tables))[:12])
    print_table(tables, "RMSE over that of the best setting, mean over maps and scans", list(compared(tables)))
    rows = {f"{name}, rank {r}, {n}, block {b}": e for name, t in tables.items() for (r, n, b), e in t.items()}
    print(json.dumps({"title": "Subspace settings", "rows": rows, **machine()}))


if __name__ == "__main__":
    main()
