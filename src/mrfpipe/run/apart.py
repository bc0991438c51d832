"""Apart: where the maps of a network leave those of matching by more than both may err.

A network interpolates from what it has learned. Where a scan has something that no phantom had, it may be wrong and
sure of it, and matching, which knows nothing but the signal of the voxel, says so.
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
MUCH = 0.01
"""Share of voxels so far apart that is worth a warning. On nine phantoms and on real anatomy it was 0.0035 at most."""


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


def apart_line(shares: dict[str, float]) -> str:
    """Say which maps are far apart in many voxels, in a line; nothing if none is."""
    many = ", ".join(f"{name} in {share:.0%} of the voxels" for name, share in shares.items() if share >= MUCH)
    if not many:
        return ""
    return (
        f"The network and matching differ by more than {FAR:g} standard deviations ({many}): the scan may hold "
        "something that its training data lack; compare with mrfpipe match --recon subspace."
    )
