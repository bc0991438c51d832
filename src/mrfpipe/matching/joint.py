"""Joint estimation of the maps of a slice, from those that matching finds in its subspace coefficients."""

from collections.abc import Callable

import numpy as np
import torch

from mrfpipe.arrays import Complex, Int
from mrfpipe.dictionary import Dictionary
from mrfpipe.imaging.joint import JointMaps, joint_maps
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.refine import refine

Match = Callable[[Complex, Dictionary], Int]
"""Finds the entries of coefficients `(voxels, rank)` in a dictionary of their basis."""


def joint_estimates(series: FrameSeries, dictionary: Dictionary, match: Match) -> JointMaps:
    """Estimate the parameters of a slice by the equations of all its samples; see `mrfpipe.imaging.joint`.

    Parameters
    ----------
    series
        One slice, with its equations.
    dictionary
        Of the sequence. A joint reconstruction has equations in its leading basis vectors.
    match
        How to match.

    Returns
    -------
        Of the voxels of the mask that have coefficients, in the order of the grid.
    """
    equations, basis = series.equations, series.basis
    if equations is None or basis is None or series.n_slices != 1:
        raise ValueError(f"{series!r} is no slice with the equations of its samples.")
    images, mask = series.images[0], series.mask[0] & np.any(series.images[0] != 0, axis=0)
    if not mask.any():
        nothing = np.empty((0, len(dictionary.protocol.grid)))
        return JointMaps(parameters=nothing, deviations=nothing)
    leading = dictionary.in_basis(basis)
    coefficients = np.ascontiguousarray(images[:, mask].T)
    found = refine(coefficients, match(coefficients, leading), leading).parameters
    n_vectors = len(equations.right)
    # A joint reconstruction has more vectors than its images have: the leading ones of the dictionary.
    known = leading if n_vectors == leading.rank else dictionary.in_basis(dictionary.basis[:, :n_vectors])
    return joint_maps(equations, known, np.stack(list(found.values()), axis=1), images, mask)


def fitted(series: FrameSeries, dictionary: Dictionary, device: torch.device) -> JointMaps:
    """Estimate the parameters of a slice by `joint_estimates` from exact matching on a device."""
    return joint_estimates(series, dictionary, lambda signals, among: match_exact(signals, among, device).entry)
