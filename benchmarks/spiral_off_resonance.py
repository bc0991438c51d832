"""Errors of T1 and T2 from off-resonance during spirals, without and with correction.

    python benchmarks/spiral_off_resonance.py PROTOCOL.toml STILL.h5 [OFF.h5 ...]

Scans have spirals that start in the centre of k-space, and their truth beside them, as `tests/independent/brains.py`
writes them. STILL.h5 is on resonance: spatially constant off-resonance is simulated by rotating the phase of its
samples in proportion to the time since the start of the spiral; 50 Hz in 6 ms has the same effect as 100 Hz in 3 ms. No
correction can be much better than the result at 0 Hz. Each OFF.h5 was scanned with spatially varying off-resonance and
has its field map, OFF.field.nii.gz, beside it; it is mapped without the field map, with it, and with its sign inverted.
Maps are from subspace reconstruction and refined matching; voxels whose true T2 is below 300 ms count.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from harness import Stages, report

import mrfpipe as mrf
from mrfpipe.acquisition.raw import read_raw
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.arrays import Float
from mrfpipe.dictionary import Dictionary
from mrfpipe.files.field_map import load_field_map
from mrfpipe.files.truth import load_truth
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.maps import ParameterMaps
from mrfpipe.matching.match import match_series
from mrfpipe.protocol import load_protocol

OFF_RESONANCES = (0.0, 25.0, 50.0, 100.0)
"""Simulated off-resonance in Hz."""
LONGEST_T2 = 0.3
"""Largest T2 of voxels that count, in s."""
SUBSPACE = Imaging(recon="subspace", backend="finufft")


def errors(scan: RawScan, field: Float | None, dictionary: Dictionary, truth: ParameterMaps) -> dict[str, float]:
    """Map a scan; return norm, median and mean of its errors of T1 and T2 in per cent."""
    made = Reconstruction(scan, dictionary.protocol.sequence, SUBSPACE, basis=dictionary.subspace, field=field)
    maps, _ = match_series(replace(made.series(), mask=truth.mask), dictionary)
    counts, found = truth.mask & (truth.si["T2"] < LONGEST_T2), dict[str, float]()
    for name in ("T1", "T2"):
        true = truth.si[name][counts]
        error = maps.si[name][counts] - true
        found[f"{name}, norm"] = 100 * float(np.linalg.norm(error) / np.linalg.norm(true))
        found[f"{name}, median"] = 100 * float(np.median(np.abs(error / true)))
        found[f"{name}, bias"] = 100 * float(np.mean(error / true))
    return found


def known(raw: Path, dictionary: Dictionary) -> tuple[RawScan, ParameterMaps]:
    """Read a scan and its truth."""
    truth = load_truth(raw, dictionary.protocol.parameters)
    if truth is None:
        sys.exit(f"{raw} has no truth beside it.")
    return read_raw(raw, dictionary.protocol.sequence), truth


def main() -> None:
    """Map all scans and print the errors."""
    dictionary, rows, stages = mrf.simulate(load_protocol(sys.argv[1])), dict[str, float](), Stages()

    def add(name: str, scan: RawScan, field: Float | None, truth: ParameterMaps) -> None:
        with stages.time(name):
            found = errors(scan, field, dictionary, truth)
        rows.update({f"{name}, {key}": value for key, value in found.items()})
        print(name, " ".join(f"{value:.2f}" for value in found.values()), file=sys.stderr)

    still, truth = known(Path(sys.argv[2]), dictionary)
    for df in OFF_RESONANCES:
        turn = np.exp(2j * np.pi * df * (still.times - still.times[:, :1])).astype(np.complex64)
        add(f"{df:g} Hz", replace(still, kspace=still.kspace * turn), None, truth)
    for path in map(Path, sys.argv[3:]):
        scan, truth = known(path, dictionary)
        field = load_field_map(path.with_suffix(".field.nii.gz"), truth.mask.shape, scan.affine)
        for how, its in (("left", None), ("corrected", field), ("corrected the wrong way", -field)):
            add(f"{path.stem} {how}", scan, its, truth)
    seconds = {name: round(value, 1) for name, value in stages.seconds.items()}
    report("off-resonance during spirals", rows, "%", seconds_with_matching=seconds)


if __name__ == "__main__":
    main()
