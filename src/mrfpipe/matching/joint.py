"""Joint reconstruction of a slice, from the maps that matching finds in its subspace coefficients."""

from dataclasses import replace

import numpy as np
import torch

from mrfpipe.arrays import Int
from mrfpipe.dictionary import Dictionary
from mrfpipe.imaging.joint import joint_coefficients
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.refine import refine


def joint_series(
    series: FrameSeries, dictionary: Dictionary, device: torch.device, entries: Int | None = None
) -> tuple[FrameSeries, Int]:
    """Improve the coefficients of a slice by the equations of all its samples; see `mrfpipe.imaging.joint`.

    Parameters
    ----------
    series
        One slice, with its equations.
    dictionary
        Whose leading basis vectors the coefficients and the equations are of.
    device
        Where to match.
    entries
        Entries that the coefficients are near to, where they are known: they are not matched. Shape `(y, x)`.

    Returns
    -------
        The slice with better coefficients and without equations, and the entries nearest to its parameters, zero
        outside of its mask. Shape `(y, x)`.
    """
    equations, basis = series.equations, series.basis
    if equations is None or basis is None or series.n_slices != 1:
        raise ValueError(f"{series!r} is no slice with the equations of its samples.")
    images, mask = series.images[0], series.mask[0] & np.any(series.images[0] != 0, axis=0)
    nearest = np.zeros(mask.shape, np.int64)
    if not mask.any():
        return replace(series, equations=None), nearest
    leading = dictionary.in_basis(basis)
    coefficients = np.ascontiguousarray(images[:, mask].T)
    start = match_exact(coefficients, leading, device).entry if entries is None else entries[mask]
    found = refine(coefficients, start, leading).parameters
    improved, at = joint_coefficients(
        equations,
        dictionary.in_basis(dictionary.basis[:, : len(equations.right)]),
        np.stack(list(found.values()), axis=1),
        images,
        mask,
    )
    nearest[mask] = dictionary.nearest(dict(zip(found, at.T, strict=True)))
    return replace(series, images=improved[None], equations=None), nearest
