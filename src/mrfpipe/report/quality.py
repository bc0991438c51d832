"""Quality: what a reader must know before trusting a result, in plain words."""

from collections.abc import Mapping

import numpy as np

from mrfpipe.files.provenance import Provenance
from mrfpipe.imaging.reconstruction import UNSTATED
from mrfpipe.maps import PARAMETERS, ParameterMaps

_MUCH_AT_EDGE = 0.05
"""Share of voxels at an end of a grid that is worth a warning."""
_GOOD_MATCH = 0.9
_MUCH_BELOW = 0.01
"""Share of voxels below a good match that is worth a warning."""
_ENOUGH_ENERGY = 0.95
"""Share of the signal that virtual coils should keep."""


def edge_shares(maps: ParameterMaps) -> dict[str, float]:
    """Return the share of voxels at an end of each parameter's grid, by the parameter's name."""
    inside = maps.edge[maps.mask]
    return {p.name: float(np.mean(inside >> bit & 1 > 0)) if inside.size else 0.0 for bit, p in enumerate(PARAMETERS)}


def warnings_of(maps: ParameterMaps, provenance: Provenance) -> list[str]:
    """Say in plain words what speaks against a result; nothing if nothing does."""
    if not maps.mask.any():
        return ["No voxel lies inside the mask: there is nothing to show."]
    said = []
    for name, share in edge_shares(maps).items():
        if name != "FF" and share >= _MUCH_AT_EDGE:  # an FF of 0 or 1 is a pure tissue, not a value cut off
            said.append(
                f"{share:.0%} of the voxels lie at an end of the {name} grid: their true {name} may be beyond it."
            )
    below = float(np.mean(maps.match[maps.mask] < _GOOD_MATCH))
    if below >= _MUCH_BELOW:
        said.append(
            f"{below:.0%} of the voxels match worse than {_GOOD_MATCH}: noise, aliasing left in the frames, motion, "
            "flow, or a protocol that is not the scan's."
        )
    return said + _of_notes(provenance.notes)


def _of_notes(notes: Mapping[str, object]) -> list[str]:
    said = []
    delays = notes.get("gradient_delays_samples")
    if notes.get("gradient_delays_corrected") is True and isinstance(delays, Mapping):
        found = ", ".join(f"{axis} {delay:.2f}" for axis, delay in delays.items() if isinstance(delay, int | float))
        said.append(f"Gradient delays were found and corrected, in samples: {found}.")
    unstated = notes.get(UNSTATED)
    if unstated is not None:
        said.append(f"Nothing has checked that these are the protocol's, as the scan does not list them: {unstated}.")
    energy = notes.get("virtual_coils_energy")
    if isinstance(energy, int | float) and energy < _ENOUGH_ENERGY:
        said.append(f"The virtual coils keep only {energy:.1%} of the signal: more of them would lower the noise.")
    return said


def account(provenance: Provenance) -> list[tuple[str, str]]:
    """Return how the result came to be, as pairs of what and its value."""
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
