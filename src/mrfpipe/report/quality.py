"""Quality: the warnings and the provenance on the page of a result.

A warning is about something that the reader can examine or change, and says what to do.
"""

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import uniform_filter

from mrfpipe.arrays import Bool, Double
from mrfpipe.files.provenance import Provenance
from mrfpipe.imaging.reconstruction import UNSTATED
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import Parameter, in_unit

DOUBT = "doubt"
"""Name of the note on why the maps may be wrong: a signal model that explains the scan better, or disagreement between
network and matching."""
_NEIGHBOURHOOD = 7
"""Side of a neighbourhood in voxels. Noise drives single voxels to an end of the grid; a true value beyond the grid
drives the whole neighbourhood there."""
_MUCH_AT_END = 0.1
"""Share of neighbourhoods at an end of a grid from which a warning is given. In phantoms of five regions of the body,
aliasing alone, with eight spokes per frame, causes at most 0.034 in one map, and less in all others."""
_LEAST_EXPLAINED = 1 / 3
"""Smallest share of the signal energy that a fingerprint should explain. In a basis of 12, the best fingerprint
explains 0.21 of pure noise, and 0.5 to 0.8 of signals with the aliasing of eight spokes per frame."""
_GOOD_MATCH = 0.9
_FAR = 2.0
"""A voxel is far from its fingerprint if its deviation is this many times the median of the scan. Noise and aliasing
are similar everywhere: in the about ten complex dimensions of a basis that a fingerprint leaves, they scatter by a
fifth, and only 0.006 of the voxels are beyond twice the median."""
_MUCH_FAR = 0.02
"""Share of voxels far from their fingerprint from which a warning is given."""
_ENOUGH_ENERGY = 0.95
"""Smallest share of the signal that virtual coils should retain."""


def edge_shares(maps: ParameterMaps) -> dict[str, float]:
    """Return, by parameter name, the share of voxels at an end of the grid, among those where the parameter counts."""
    both = {p.name: (maps.counts(p), maps.at_edge(p)) for p in maps.parameters}
    return {name: float(np.mean(at_end[counts])) if counts.any() else 0.0 for name, (counts, at_end) in both.items()}


def warnings_of(maps: ParameterMaps, provenance: Provenance) -> list[str]:
    """Return the warnings about a result, each as a sentence.

    There are no warnings about effects of undersampling alone, which lowers the match and scatters the estimates in
    every scan.
    """
    return warnings_of_maps(maps) + (_of_notes(provenance.notes) if maps.mask.any() else [])


def warnings_of_maps(maps: ParameterMaps) -> list[str]:
    """Return the warnings that the maps alone give rise to: estimates at the grid limit, and a poor match."""
    if not maps.mask.any():
        return ["The mask is empty: there are no maps to show."]
    said = [
        f"{p.name} and most of its neighbourhood are at the grid limit, {in_unit(_worded(end), p.unit)}, in "
        f"{share:.0%} of the scored voxels: the true value may lie beyond. Widen its range in the protocol, or leave "
        "these voxels out."
        for p in maps.parameters
        if p.quantity.window != "bounds"  # a fraction of 0 or 1 is a pure tissue, not a value cut off
        for end, share in _crowded_ends(maps, p).items()
        if share >= _MUCH_AT_END
    ]
    return said + _of_match(maps)


def _crowded_ends(maps: ParameterMaps, p: Parameter) -> dict[float, float]:
    """Return, for each end of the grid, the share of voxels with most of their neighbourhood at that end.

    Only voxels and neighbours where the parameter counts are considered. The keys are the values at the ends.
    """
    counts = maps.counts(p)
    at_end, values = counts & maps.at_edge(p), maps[p.name]
    if not at_end.any():
        return {}
    low, high = float(values[at_end].min()), float(values[at_end].max())
    upper = values > (low + high) / 2
    ends = {low: at_end & ~upper} | ({high: at_end & upper} if high > low else {})
    most = _neighbours(counts) / 2
    return {end: float(np.mean((_neighbours(there) > most)[counts])) for end, there in ends.items()}


def _neighbours(chosen: Bool) -> Double:
    """Count the chosen voxels in the neighbourhood of every voxel within its slice. Shape `(slices, y, x)`."""
    share = uniform_filter(chosen.astype(np.float64), (0, _NEIGHBOURHOOD, _NEIGHBOURHOOD), mode="constant")
    found: Double = np.rint(_NEIGHBOURHOOD**2 * share)
    return found


def _of_match(maps: ParameterMaps) -> list[str]:
    match = maps.match[maps.mask].astype(np.float64)
    said = []
    if np.median(match) ** 2 < _LEAST_EXPLAINED:
        said.append(
            "In most voxels the fingerprint explains less than a third of the signal energy (median match "
            f"{np.median(match):.2f}): too few readouts or coils, high noise, or not the protocol of the scan. Check "
            "the protocol first."
        )
    far = share_far(maps)
    if far >= _MUCH_FAR:
        said.append(
            f"In {far:.0%} of the voxels the residual exceeds {_FAR:g} times the median of the scan: motion, flow, or "
            "tissue that the protocol does not describe. Look at the map of match before you use the maps there."
        )
    return said


def share_far(maps: ParameterMaps) -> float:
    """Return the share of voxels with a poor match that deviate from their fingerprint more than usual in the scan."""
    match, scale = (values[maps.mask].astype(np.float64) for values in (maps.match, maps.m0))
    deviation = scale * np.sqrt(1 - np.minimum(match, 1) ** 2) / np.maximum(match, np.finfo(np.float32).tiny)
    return float(np.mean((match < _GOOD_MATCH) & (deviation > _FAR * np.median(deviation))))


def _of_notes(notes: Mapping[str, object]) -> list[str]:
    said = []
    unstated = notes.get(UNSTATED)
    if unstated is not None:
        said.append(f"The scan does not state {unstated}: check that the protocol has the scanner's values.")
    doubt = notes.get(DOUBT)
    if doubt is not None:
        said.append(str(doubt))
    energy = notes.get("virtual_coils_energy")
    if isinstance(energy, int | float) and energy < _ENOUGH_ENERGY:
        said.append(f"The virtual coils retain only {energy:.1%} of the signal: use more of them to lower the noise.")
    return said


def account(provenance: Provenance) -> list[tuple[str, str]]:
    """Return the provenance of the result as pairs of label and value."""
    rows = [
        ("Command", " ".join(provenance.command)),
        ("Method", provenance.method),
        ("Protocol", f"{provenance.protocol_name}, hash {provenance.protocol_hash}"),
        ("Started", provenance.started),
        ("Time taken", f"{provenance.duration_s:.1f} s on {provenance.device}"),
    ]
    if provenance.seed is not None:
        rows.append(("Seed", str(provenance.seed)))
    rows += [(f"sha256 of {path}", digest) for path, digest in provenance.inputs.items()]
    rows.append(("Versions", ", ".join(f"{name} {number}" for name, number in provenance.versions.items())))
    return rows + [(name.replace("_", " "), _worded(value)) for name, value in provenance.notes.items()]


def _worded(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_worded(part)}" for name, part in value.items())
    return str(value)
