"""Joint reconstruction of a slice, from the maps that matching finds in its subspace coefficients."""

from dataclasses import replace

import numpy as np
import torch

from mrfpipe.dictionary import Dictionary
from mrfpipe.imaging.joint import joint_coefficients
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.refine import refine


def joint_series(series: FrameSeries, dictionary: Dictionary, device: torch.device) -> FrameSeries:
    """Improve the coefficients of a slice by the equations of all its samples; see `mrfpipe.imaging.joint`.

    Parameters
    ----------
    series
        One slice, with its equations.
    dictionary
        Whose leading basis vectors the coefficients and the equations are of.
    device
        Where to match.
    """
    equations, basis = series.equations, series.basis
    if equations is None or basis is None or series.n_slices != 1:
        raise ValueError(f"{series!r} is no slice with the equations of its samples.")
    images, mask = series.images[0], series.mask[0] & np.any(series.images[0] != 0, axis=0)
    if not mask.any():
        return replace(series, equations=None)
    leading = dictionary.in_basis(basis)
    coefficients = np.ascontiguousarray(images[:, mask].T)
    found = refine(coefficients, match_exact(coefficients, leading, device).entry, leading).parameters
    improved = joint_coefficients(
        equations,
        dictionary.in_basis(dictionary.basis[:, : len(equations.right)]),
        np.stack(list(found.values()), axis=1),
        images,
        mask,
    )
    return replace(series, images=improved[None], equations=None)
