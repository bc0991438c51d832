"""Findings: numbers that describe the quality of a result, with their meaning and normal values."""

from collections.abc import Iterator, Mapping

import numpy as np

from mrfpipe.arrays import Float
from mrfpipe.files.provenance import Provenance
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import in_unit
from mrfpipe.report.images import shown
from mrfpipe.report.quality import edge_shares, share_far

_MEANINGS = {
    "match": "Correlation of a voxel's measured signal with the fingerprint fitted to it: 1 if they are the same "
    "curve but for a factor. Normal in simulated scans: medians of 0.8 to 0.95 from single frames, whose aliasing "
    "lowers it, and above 0.99 from a subspace or joint reconstruction.",
    "far from the fingerprint": "Voxels that differ from their fingerprint more than twice as much as is usual in "
    "this scan. Normal: less than 2 %. They show motion, flow, or tissue that the protocol does not describe; the map "
    "of match shows where.",
    "at the grid limit": "Voxels whose estimate is the least or the largest value that the protocol searches, of "
    "those where the map counts: the true value may lie beyond. Normal: few, and single ones of noisy maps; the least "
    "and the largest value of a fraction are pure tissue.",
    "standard deviation": "How much noise alone scatters the value of a voxel from scan to scan: the median where "
    "the map counts. Aliasing, motion and errors of the signal model are not in it.",
    "gradient delays": "Shifts of the spokes in k-space by gradients that come late, estimated where spokes cross. "
    "Those that are significant have been corrected; there is nothing left to do.",
    "noise of the coils": "Noise of single receive coils over the mean of all, before prewhitening makes it equal. A "
    "coil with many times the noise of the others, or with none, may be broken.",
    "virtual coils": "Coils are combined into fewer virtual ones to save time. Normal: 95 % of the signal or more.",
}
"""Meaning and normal values of each number."""


def findings(maps: ParameterMaps, provenance: Provenance) -> list[tuple[str, str, str]]:
    """Return name, value and meaning of the available numbers; none if the mask is empty."""
    if not maps.mask.any():
        return []
    found = [*_of_maps(maps), *_of_scan(provenance.notes)]
    return [(name, value, _MEANINGS[name]) for name, value in found]


def _of_maps(maps: ParameterMaps) -> Iterator[tuple[str, str]]:
    low, middle, high = np.percentile(maps.match[maps.mask], [5, 50, 95])
    yield "match", f"median {middle:.5f}, 5 to 95 %: {low:.5f} to {high:.5f}"
    yield "far from the fingerprint", f"{share_far(maps):.1%} of the voxels"
    yield "at the grid limit", ", ".join(f"{name} {share:.1%}" for name, share in edge_shares(maps).items())
    if maps.sd is not None:
        yield "standard deviation", ", ".join(_deviations(maps, maps.sd))


def _deviations(maps: ParameterMaps, sd: Mapping[str, Float]) -> Iterator[str]:
    for p in maps.parameters:
        factor, unit = shown(p)
        counts = maps.counts(p)
        if counts.any():
            median = factor * p.scale * float(np.median(sd[p.name][counts]))
            yield in_unit(f"{p.name} {median:.2g}", unit)


def _of_scan(notes: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    delays = _numbers(notes.get("gradient_delays_samples"))
    if delays:
        done = "corrected" if notes.get("gradient_delays_corrected") is True else "too small to correct"
        yield (
            "gradient delays",
            f"{', '.join(f'{axis} {delay:z.2f}' for axis, delay in delays.items())} samples: {done}",
        )
    noise = _numbers(notes.get("noise_of_coils_over_their_mean"))
    if noise.keys() >= {"least", "most", "largest correlation"}:
        correlation = f"largest correlation of two coils {noise['largest correlation']:.2f}"
        yield "noise of the coils", f"{noise['least']:.2f} to {noise['most']:.2f} of their mean, {correlation}"
    energy = notes.get("virtual_coils_energy")
    if isinstance(energy, int | float):
        yield "virtual coils", f"{notes.get('virtual_coils')} keep {energy:.1%} of the signal"


def _numbers(values: object) -> dict[str, float]:
    named = values.items() if isinstance(values, Mapping) else ()
    return {str(name): float(value) for name, value in named if isinstance(value, int | float)}
