"""Joint estimation of the maps of a slice, starting from matching of its subspace coefficients."""

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
    """Estimate the parameters of a slice from the normal equations of its samples; see `mrfpipe.imaging.joint`.

    Parameters
    ----------
    series
        One slice, with its equations.
    dictionary
        Dictionary of the sequence. The equations of a joint reconstruction are for its leading basis vectors.
    match
        Function that matches coefficients.

    Returns
    -------
        Estimates in the voxels of the mask that have coefficients; parameters in the order of the grid.
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
    # The equations of a joint reconstruction have more of the dictionary's leading vectors than its images.
    known = leading if n_vectors == leading.rank else dictionary.in_basis(dictionary.basis[:, :n_vectors])
    return joint_maps(equations, known, np.stack(list(found.values()), axis=1), images, mask)


def fitted(series: FrameSeries, dictionary: Dictionary, device: torch.device) -> JointMaps:
    """Estimate the parameters of a slice by `joint_estimates` from exact matching on a device."""
    return joint_estimates(series, dictionary, lambda signals, among: match_exact(signals, among, device).entry)
