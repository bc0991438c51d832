"""Counting: where a map is compared with a reference, by the reference's fat fraction.

T1 of water counts in voxels of at most 0.7 fat and not in regions that are more on average, as in section 2.6 of
Balsiger et al., Med Image Anal 64:101741 (2020): there is hardly any water to measure. T1 of fat, for which the paper
has no rule, counts in voxels of more than 0.3 fat. All else counts everywhere.
"""

from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import Bool
from mrfpipe.maps import Parameter, ParameterMaps

if TYPE_CHECKING:
    from torch import Tensor

Numbers = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]

MOST_FAT_FOR_WATER = 0.7
"""T1 of water counts where the reference FF is at most this."""
LEAST_FAT_FOR_FAT = 0.3
"""T1 of fat counts where the reference FF is above this."""
RULE = (
    f"T1H2O counts where the reference FF is at most {MOST_FAT_FOR_WATER}, T1fat where it is above {LEAST_FAT_FOR_FAT}"
)
"""The rule for readers of tables and pages."""


@overload
def enough(parameter: Parameter, ff: Numbers, *, most_fat: float = ...) -> Bool: ...
@overload
def enough(parameter: Parameter, ff: "Tensor", *, most_fat: float = ...) -> "Tensor": ...
def enough(parameter: Parameter, ff: "Numbers | Tensor", *, most_fat: float = MOST_FAT_FOR_WATER) -> "Bool | Tensor":
    """Return where a fat fraction leaves enough of what a parameter belongs to; of arrays and tensors alike.

    Parameters
    ----------
    parameter
        Which.
    ff
        The fat fraction. Any shape.
    most_fat
        Above which there is too little water; a training may choose another limit than comparisons have.
    """
    low, high = {"t1w": (-np.inf, most_fat), "t1f": (LEAST_FAT_FOR_FAT, np.inf)}.get(parameter.field, (-np.inf, np.inf))
    return (ff > low) & (ff <= high)


def counting_voxels(reference: ParameterMaps, parameter: Parameter) -> Bool:
    """Return the voxels in which a parameter counts, all in the reference's mask. Shape `(slices, y, x)`."""
    return reference.mask & enough(parameter, reference.ff)


def counting_regions(reference: ParameterMaps, parameter: Parameter, rois: Labels) -> Labels:
    """Return the labels of regions where a parameter counts, 0 elsewhere.

    Parameters
    ----------
    reference
        What maps are compared with.
    parameter
        Which.
    rois
        Labels of regions, 0 for none. A region is its label in one slice. Shape `(slices, y, x)`.

    Returns
    -------
        Labels in the voxels that count; for T1 of water none of a region whose mean FF, over all its voxels in the
        mask, is too high. Shape `(slices, y, x)`.
    """
    counts = np.where(counting_voxels(reference, parameter), rois, 0)
    if parameter.field != "t1w":
        return counts
    for kept, ff, mask, labels in zip(counts, reference.ff, reference.mask, rois, strict=True):
        for label in np.unique(kept[kept != 0]):
            region = labels == label
            if not enough(parameter, ff[region & mask].mean(dtype=np.float64)):
                kept[region] = 0
    return counts
