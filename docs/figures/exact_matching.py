"""Draw how exact matching leaves most of the dictionary out: ``python docs/figures/exact_matching.py SCAN.h5``.

Takes a scan of a phantom as `mrfpipe phantom --seed 3` writes it, matches some of its voxels, and draws for one of them
the bound of every group and the best score found, and for all of them how many groups could hold a better entry.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mrfpipe.acquisition.raw import read_raw
from mrfpipe.arrays import Complex, Double
from mrfpipe.dictionary import build_dictionary
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.layout import Groups, lay_out
from mrfpipe.matching.score import unit_signals
from mrfpipe.protocol import load_protocol

N_VOXELS = 2000
RANK = 12
PICTURE = Path(__file__).parents[1] / "exact-matching.png"


def bounds_of(signals: Complex, groups: Groups) -> Double:
    """Bound the score of every group, as the docstring of `mrfpipe.matching.exact` derives it. `(voxels, groups)`."""
    space = groups.space[..., 0] + 1j * groups.space[..., 1]
    u = np.einsum("gdr,vr->vgd", space.conj(), signals)
    length = np.sum(np.abs(u) ** 2, axis=2)
    projected = np.sqrt((length + np.abs(np.sum(u**2, axis=2))) / 2)
    bound: Double = (projected + groups.remainder) ** 2
    return bound


def main() -> None:
    """Match voxels of the scan and draw."""
    protocol = load_protocol("t1ff")
    dictionary = build_dictionary(protocol, rank=RANK)
    (series,) = Reconstruction(read_raw(Path(sys.argv[1]), protocol.sequence), protocol.sequence)
    voxels = series.images[0][:, series.mask[0]].T
    chosen = np.random.default_rng(0).choice(len(voxels), N_VOXELS, replace=False)
    signals = unit_signals(dictionary.compress(voxels[chosen]))
    best = match_exact(signals, dictionary).score
    bounds = bounds_of(signals, lay_out(dictionary).groups)
    visited = np.sum(bounds >= best[:, None], axis=1)
    typical = int(np.argmin(np.abs(visited - np.median(visited))))
    draw(np.sort(bounds[typical])[::-1], float(best[typical]), visited)
    print(f"groups that could hold a better entry: median {np.median(visited):.0f}, mean {visited.mean():.1f}")
    print(f"of {bounds.shape[1]}; most {visited.max()}; no bound below its voxel's best: {bool(visited.min() >= 1)}")


def draw(bounds: Double, best: float, visited: Double) -> None:
    """Draw one voxel's bounds, highest first, and all voxels' counts."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    rank = np.arange(1, bounds.size + 1)
    inside = bounds >= best
    left.plot(rank[~inside], bounds[~inside], ".", ms=4, color="0.65", label="left out: cannot hold a better one")
    left.plot(rank[inside], bounds[inside], ".", ms=6, color="C1", label="visited")
    left.axhline(best, color="C0", lw=1.2, label="best score found")
    left.set(xscale="log", xlabel="groups, highest bound first", ylabel="score", title="one voxel")
    left.legend(frameon=False, fontsize=8)
    right.hist(visited, bins=np.arange(0.5, np.percentile(visited, 99) + 1.5), color="C1")
    right.set(
        xlabel=f"groups, of {bounds.size}, whose bound reaches the best score",
        ylabel="voxels",
        title=f"{visited.size:,} voxels",
    )
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, dpi=130)


if __name__ == "__main__":
    main()
