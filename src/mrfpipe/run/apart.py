"""Apart: where the maps of a network contradict the measured signals, or the maps of matching.

A network interpolates from its training data. Where a scan has something that no phantom had, the network may be wrong
with great confidence. Then the fingerprints of its maps explain less of the signals than they do elsewhere, or
matching, which uses nothing but the signal of the voxel, finds other values.
"""

import numpy as np

from mrfpipe.dictionary import Dictionary
from mrfpipe.interpolation import interpolated
from mrfpipe.limit import deviations
from mrfpipe.maps import Fingerprints, ParameterMaps
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.refine import refine

N_VOXELS = 2000
"""Largest number of voxels that are compared."""
FAR = 8.0
"""Difference, in combined standard deviations, that counts as far. It is this large because matching also has errors
from aliasing and blurring, which its own standard deviation does not include and the network corrects."""
MUCH_APART = 0.1
"""Fraction of voxels that differ by more than `FAR` from which a warning is given. For the network that it was chosen
with, the fraction was at most 0.042 on fourteen phantoms; for the current one 0.064 on eight, and 0 on real anatomy."""
LEFT = 10.0
"""Residual of a fingerprint, relative to the median over the scan, that counts as large."""
MUCH_LEFT = 0.02
"""Fraction of voxels with a residual above `LEFT` from which a warning is given. On the same scans it was at most 0.012
and 0.0195; with an earlier network it was 0.042 on a thigh with a metal nail, where the field is off by up to 1,500 Hz.
"""


def apart(maps: ParameterMaps, fingerprints: Fingerprints, dictionary: Dictionary) -> dict[str, float]:
    """Match some voxels of a network's maps and return, for each map, the fraction where both are far apart.

    Parameters
    ----------
    maps, fingerprints
        The network's maps, with standard deviations, and the fingerprints they were estimated from.
    dictionary
        Dictionary to match with.
    """
    known = maps.sd
    if known is None or not maps.mask.any():
        return {}
    n_voxels = int(maps.mask.sum())
    some = np.sort(np.random.default_rng(0).choice(n_voxels, min(n_voxels, N_VOXELS), replace=False))
    signals, dictionary = fingerprints.measured[some], dictionary.in_basis(fingerprints.basis)
    found = refine(signals, match_exact(signals, dictionary).entry, dictionary)
    at = np.stack(list(found.parameters.values()), axis=1)
    made, slopes = interpolated(dictionary, at)
    scale = np.sum(made.conj() * signals, axis=1) / np.sum(np.abs(made) ** 2, axis=1)
    left = np.sum(np.abs(signals - scale[:, None] * made) ** 2, axis=1)
    # Fitting n real parameters and a complex scale uses up n / 2 + 1 complex degrees of freedom of a signal.
    noise = np.median(left) / max(dictionary.rank - at.shape[1] / 2 - 1, 1)
    own = deviations(made, slopes) * np.sqrt(noise) / np.abs(scale)[:, None]
    shares = {}
    for number, p in enumerate(maps.parameters):
        network, sd, counts = (image[maps.mask][some] for image in (maps.si[p.name], known[p.name], maps.counts(p)))
        far = np.abs(network - at[:, number]) > FAR * np.hypot(sd, own[:, number])
        shares[p.name] = float(far[counts].mean()) if counts.any() else 0.0
    return shares


def unexplained(fingerprints: Fingerprints) -> float:
    """Return the fraction of voxels whose residual exceeds `LEFT` times the median residual."""
    left = np.linalg.norm(fingerprints.measured - fingerprints.fitted, axis=1)
    return float(np.mean(left > LEFT * np.median(left))) if left.size else 0.0


def doubt_of(maps: ParameterMaps, fingerprints: Fingerprints, dictionary: Dictionary) -> str:
    """Return a one-line warning if `unexplained` or `apart` suggest that such scans are new to the network."""
    shares, left = apart(maps, fingerprints, dictionary), unexplained(fingerprints)
    found = [
        f"{name} differs from matching by more than {FAR:g} standard deviations in {share:.0%} of the voxels"
        for name, share in shares.items()
        if share >= MUCH_APART
    ]
    if left >= MUCH_LEFT:
        found.append(f"{left:.0%} of the voxels leave more than {LEFT:g} times the usual residual")
    if not found:
        return ""
    return (
        f"The network may not have seen the like of this scan: {', and '.join(found)}. Compare with mrfpipe match, and "
        "trust neither where the residual is large."
    )
