"""Regions: means of an estimate and its reference over regions of interest; a region is a label in one slice."""

from dataclasses import dataclass

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.errors import MismatchError
from mrfpipe.maps import Labels, ParameterMaps
from mrfpipe.quantities import Parameter


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegionMeans:
    """The points of a scatter or Bland-Altman plot, sorted by slice and label. Arrays have shape `(regions)`."""

    estimate: Double
    """Mean of the estimate, in the unit of the map in files."""
    reference: Double
    """Mean of the reference, in the unit of the map in files."""


def region_means(maps: ParameterMaps, reference: ParameterMaps, parameter: Parameter, rois: Labels) -> RegionMeans:
    """Average one map and its reference over the regions where it counts; missing voxels are left out of both.

    Parameters
    ----------
    maps
        The maps to evaluate.
    reference
        The maps to compare them with.
    parameter
        Parameter of the map to average.
    rois
        Labels of regions, 0 for none. Shape `(slices, y, x)`.
    """
    labels = reference.counting_regions(parameter, rois)
    inside = maps.mask & (labels != 0)
    _, region, n_voxels = np.unique(
        np.stack([np.nonzero(inside)[0], labels[inside]]), axis=1, return_inverse=True, return_counts=True
    )
    means = [
        np.bincount(region.reshape(-1), weights=m[parameter.name][inside], minlength=n_voxels.size) / n_voxels
        for m in (maps, reference)
    ]
    return RegionMeans(estimate=means[0], reference=means[1])


def check_shapes(maps: ParameterMaps, reference: ParameterMaps, rois: Labels | None) -> None:
    """Refuse to compare maps of different scans.

    Raises
    ------
    MismatchError
        If maps, reference and regions differ in shape, or the maps are of other parameters.
    """
    if tuple(maps) != tuple(reference):
        raise MismatchError(f"The maps are {', '.join(maps)}, but the reference has {', '.join(reference)}.")
    shape = reference.mask.shape
    for name, found in (("maps", maps.mask.shape), ("regions", shape if rois is None else rois.shape)):
        if found != shape:
            raise MismatchError(
                f"The {name} have shape {found} and the reference {shape} (slices, y, x); compare maps of one scan."
            )
