"""Apart: where the maps of a network contradict the measured signals, or the maps of matching.

A network interpolates from what it has learned. Where a scan has something that no phantom had, it may be wrong and
sure of it. Its fingerprints then leave more of the signals than they do elsewhere; or matching, which knows nothing but
the signal of the voxel, finds other maps.
"""

import numpy as np

from mrfpipe.dictionary import Dictionary
from mrfpipe.interpolation import interpolated
from mrfpipe.limit import deviations
from mrfpipe.maps import Fingerprints, ParameterMaps
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.refine import refine

N_VOXELS = 2000
"""Voxels that are looked at, at most."""
FAR = 8.0
"""Standard deviations of both together that are too many. Matching errs by aliasing and blurring, too, which its own
deviation does not have and the network corrects."""
MUCH_APART = 0.1
"""Share of voxels so far apart that is worth a warning. With the network by which it was chosen it was 0.042 at most on
fourteen phantoms; with today's, 0.004 on eight; on real anatomy 0."""
LEFT = 10.0
"""Times the median of the scan that a fingerprint may leave of a signal."""
MUCH_LEFT = 0.02
"""Share of voxels of which more is left that is worth a warning. On the same scans it was 0.012 and 0.010 at most, and
0.042, by an earlier network, on a thigh with a metal nail, whose field is up to 1,500 Hz."""


def apart(maps: ParameterMaps, fingerprints: Fingerprints, dictionary: Dictionary) -> dict[str, float]:
    """Match some of the voxels of a network's maps, and return the share of them that are far apart, map by map.

    Parameters
    ----------
    maps, fingerprints
        The maps, with standard deviations, and what they were made of.
    dictionary
        To match with.
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
    # A fit of n parameters and a complex scale takes n / 2 + 1 of the complex numbers of a signal.
    noise = np.median(left) / max(dictionary.rank - at.shape[1] / 2 - 1, 1)
    own = deviations(made, slopes) * np.sqrt(noise) / np.abs(scale)[:, None]
    shares = {}
    for number, p in enumerate(maps.parameters):
        network, sd, counts = (image[maps.mask][some] for image in (maps.si[p.name], known[p.name], maps.counts(p)))
        far = np.abs(network - at[:, number]) > FAR * np.hypot(sd, own[:, number])
        shares[p.name] = float(far[counts].mean()) if counts.any() else 0.0
    return shares


def unexplained(fingerprints: Fingerprints) -> float:
    """Return the share of voxels of which a network's fingerprints leave more than `LEFT` times the median."""
    left = np.linalg.norm(fingerprints.measured - fingerprints.fitted, axis=1)
    return float(np.mean(left > LEFT * np.median(left))) if left.size else 0.0


def doubt_of(maps: ParameterMaps, fingerprints: Fingerprints, dictionary: Dictionary) -> str:
    """Say in a line what a network may not have seen before, by `unexplained` and `apart`; nothing if all is well."""
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
