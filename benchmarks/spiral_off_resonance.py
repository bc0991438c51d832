"""What off-resonance during spirals costs: errors of T1 and T2, and how far a point spreads.

    python benchmarks/spiral_off_resonance.py SCAN.h5 PROTOCOL.toml

The scan is one of spirals from the centre of k-space, with its truth beside it, such as `tests/independent/brains.py`
writes. Off-resonance, the same everywhere, turns its samples by the time since the spiral began, of which the
reconstruction knows nothing: what 50 Hz do in 6 ms, 100 Hz do in 3 ms. No correction can do better than at 0 Hz.
Subspace, refined; counted are the truth's voxels of T2 below 300 ms. The spread is the width at half maximum of a
point's magnitude, all samples weighted by their area.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from harness import report
from scipy.special import j0

import mrfpipe as mrf
from mrfpipe.acquisition.raw import read_raw
from mrfpipe.arrays import Double
from mrfpipe.files.truth import load_truth
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.density import weights_of
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.matching.match import match_series
from mrfpipe.protocol import load_protocol

DWELL = 4e-6
"""In s."""
OFF_RESONANCES = (0.0, 25.0, 50.0, 100.0)
"""In Hz."""
LONGEST_T2 = 0.3
"""In s."""


def spread(k: Double, areas: Double, turn: Double, matrix: int) -> float:
    """Width of a point in voxels, from distance, area and turn of the samples of a spiral that is turned all around."""
    x = np.linspace(0, 4, 4001)
    seen = np.abs(j0(2 * np.pi * np.outer(x, k) / matrix) @ (areas * turn))
    return float(2 * x[np.argmax(seen < seen.max() / 2)])


def main() -> None:
    """Turn, map, and print the errors."""
    raw, protocol = Path(sys.argv[1]), load_protocol(sys.argv[2])
    truth, rows = load_truth(raw, protocol.parameters), dict[str, float]()
    if truth is None:
        sys.exit(f"{raw} has no truth beside it.")
    scanned, dictionary = read_raw(raw, protocol.sequence), mrf.simulate(protocol)
    imaging = Imaging(recon="subspace", backend="finufft")
    areas = weights_of(scanned.readout)(scanned.trajectory, scanned.matrix)
    counts = truth.mask & (truth.si["T2"] < LONGEST_T2)
    widths = dict[str, float]()
    for df in OFF_RESONANCES:
        turn = np.exp(2j * np.pi * df * DWELL * np.arange(scanned.kspace.shape[-1]))
        turned = replace(scanned, kspace=scanned.kspace * turn.astype(np.complex64))
        series = Reconstruction(turned, protocol.sequence, imaging, basis=dictionary.subspace).series()
        maps, _ = match_series(replace(series, mask=truth.mask), dictionary)
        for name in ("T1", "T2"):
            true = truth.si[name][counts]
            error = maps.si[name][counts] - true
            rows[f"{df:g} Hz, {name}, norm"] = 100 * float(np.linalg.norm(error) / np.linalg.norm(true))
            rows[f"{df:g} Hz, {name}, median"] = 100 * float(np.median(np.abs(error / true)))
            rows[f"{df:g} Hz, {name}, bias"] = 100 * float(np.mean(error / true))
        k = np.linalg.norm(scanned.trajectory[0].astype(float), axis=-1)
        widths[f"{df:g} Hz"] = round(spread(k, areas[0], turn, scanned.matrix), 3)
    readout_ms = 1e3 * DWELL * scanned.kspace.shape[-1]
    report("off-resonance during spirals", rows, "%", readout_ms=readout_ms, voxels_a_point_is_wide=widths)


if __name__ == "__main__":
    main()
