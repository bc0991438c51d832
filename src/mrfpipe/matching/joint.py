"""Joint estimation of the maps of a slice, from those that matching finds in its subspace coefficients."""

from collections.abc import Callable

import numpy as np

from mrfpipe.arrays import Complex, Double, Int
from mrfpipe.dictionary import Dictionary
from mrfpipe.imaging.joint import joint_parameters
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.matching.refine import refine

Match = Callable[[Complex, Dictionary], Int]
"""Finds the entries of coefficients `(voxels, rank)` in a dictionary of their basis."""


def joint_estimates(series: FrameSeries, dictionary: Dictionary, match: Match) -> Double:
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
        Parameters in SI units, in the order of the grid, of the voxels of the mask that have coefficients. Shape
        `(voxels, parameters)`.
    """
    equations, basis = series.equations, series.basis
    if equations is None or basis is None or series.n_slices != 1:
        raise ValueError(f"{series!r} is no slice with the equations of its samples.")
    images, mask = series.images[0], series.mask[0] & np.any(series.images[0] != 0, axis=0)
    if not mask.any():
        return np.empty((0, len(dictionary.protocol.grid)))
    leading = dictionary.in_basis(basis)
    coefficients = np.ascontiguousarray(images[:, mask].T)
    found = refine(coefficients, match(coefficients, leading), leading).parameters
    n_vectors = len(equations.right)
    # A joint reconstruction has more vectors than its images have: the leading ones of the dictionary.
    known = leading if n_vectors == leading.rank else dictionary.in_basis(dictionary.basis[:, :n_vectors])
    return joint_parameters(equations, known, np.stack(list(found.values()), axis=1), images, mask)
