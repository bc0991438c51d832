"""Agreement: how two ways to the same maps agree over regions, as scatter and Bland-Altman plots show it.

Section 2.6 and Fig. 4 of Balsiger et al., Med Image Anal 64:101741 (2020): a point is the mean over one region in one
slice. For T1 of water, voxels and whole regions with a reference FF above 0.7 are left out.
"""

from dataclasses import dataclass

import numpy as np

from mrfpipe.arrays import Bool, Double, Int
from mrfpipe.errors import MismatchError
from mrfpipe.evaluation.metrics import Labels, Numbers, counting_voxels, r2
from mrfpipe.maps import MOST_FAT_FOR_WATER, PARAMETERS, Parameter, ParameterMaps

COVERAGE = 1.96
"""Standard deviations on either side of the bias that hold 95 % of normally distributed differences."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegionMeans:
    """The points of a scatter or Bland-Altman plot, by slice and then by label. Arrays have shape `(regions)`."""

    slice: Int
    """Number of the slice."""
    region: Int
    """Label of the region."""
    n_voxels: Int
    """Voxels that the means are over."""
    estimate: Double
    """Mean of the estimate, in the map's unit in files."""
    reference: Double
    """Mean of the reference, in the map's unit in files."""

    @property
    def difference(self) -> Double:
        """Estimate minus reference: the ordinate of a Bland-Altman plot."""
        return self.estimate - self.reference

    @property
    def middle(self) -> Double:
        """Mean of estimate and reference: the abscissa of a Bland-Altman plot."""
        return (self.estimate + self.reference) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Bland-Altman statistics and regression of an estimate on its reference. What is not defined is NaN."""

    n: int
    """Pairs of values."""
    bias: float
    """Mean of estimate minus reference."""
    deviation: float
    """Standard deviation of the differences, with n - 1."""
    lower: float
    """Lower 95 % limit of agreement: bias minus 1.96 deviations."""
    upper: float
    """Upper 95 % limit of agreement: bias plus 1.96 deviations."""
    correlation: float
    """Pearson's r."""
    slope: float
    """Slope of the regression line of the estimate on the reference."""
    intercept: float
    """Its value where the reference is 0."""
    r2: float
    """Its coefficient of determination."""


def agree(estimate: Numbers, reference: Numbers) -> Agreement:
    """Compare pairs of values; pairs whose estimate is NaN are left out.

    Parameters
    ----------
    estimate, reference
        The values. Equal shapes, of any kind.

    Returns
    -------
        Bias and limits need two pairs, the regression a reference and an estimate that vary; NaN otherwise, but for the
        bias of a single pair.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    Bland and Altman, Lancet 327:307 (1986).
    """
    determination = r2(estimate, reference)
    there = ~np.isnan(estimate)
    x, y = reference[there].astype(np.float64), estimate[there].astype(np.float64)
    bias = float(np.mean(y - x)) if x.size else np.nan
    deviation = float(np.std(y - x, ddof=1)) if x.size > 1 else np.nan
    slope = np.nan
    if not np.isnan(determination):
        slope = float((x - x.mean()) @ (y - y.mean()) / np.sum((x - x.mean()) ** 2))
    return Agreement(
        n=x.size,
        bias=bias,
        deviation=deviation,
        lower=bias - COVERAGE * deviation,
        upper=bias + COVERAGE * deviation,
        correlation=float(np.sign(slope) * np.sqrt(determination)),
        slope=slope,
        intercept=np.nan if np.isnan(slope) else float(y.mean() - slope * x.mean()),
        r2=determination,
    )


def region_agreement(
    maps: ParameterMaps, reference: ParameterMaps, rois: Labels
) -> dict[str, tuple[RegionMeans, Agreement]]:
    """Average every map over every region of every slice, and compare the means.

    Parameters
    ----------
    maps
        The maps to judge.
    reference
        What they are compared with.
    rois
        Labels of regions, 0 for none. Shape `(slices, y, x)`.

    Returns
    -------
        Points and statistics by the parameter's name in files. Voxels count as in `metrics.evaluate`; of a region that
        is more than 0.7 fat there is no point for T1H2O.

    Raises
    ------
    MismatchError
        If maps, reference and regions differ in shape.
    """
    shape = reference.mask.shape
    for name, found in (("maps", maps.mask.shape), ("regions", rois.shape)):
        if found != shape:
            raise MismatchError(
                f"The {name} have shape {found} and the reference {shape} (slices, y, x); compare maps of one scan."
            )
    agreements = {}
    for parameter in PARAMETERS:
        points = _points(maps, reference, parameter, rois)
        agreements[parameter.name] = points, agree(points.estimate, points.reference)
    return agreements


def _points(maps: ParameterMaps, reference: ParameterMaps, parameter: Parameter, rois: Labels) -> RegionMeans:
    counts = counting_voxels(reference, parameter)
    if parameter.field == "t1w":
        counts = counts & ~_fatty(reference, rois)
    inside = counts & maps.mask & (rois != 0)
    keys, region, n_voxels = np.unique(
        np.stack([np.nonzero(inside)[0], rois[inside]]), axis=1, return_inverse=True, return_counts=True
    )
    means = [
        np.bincount(region.reshape(-1), weights=m.in_file_units(parameter)[inside], minlength=n_voxels.size) / n_voxels
        for m in (maps, reference)
    ]
    return RegionMeans(slice=keys[0], region=keys[1], n_voxels=n_voxels, estimate=means[0], reference=means[1])


def _fatty(reference: ParameterMaps, rois: Labels) -> Bool:
    """Where the region, in its slice, is on average more fat than T1 of water is compared at."""
    fatty = np.zeros(rois.shape, np.bool_)
    for found, ff, mask, labels in zip(fatty, reference.ff, reference.mask, rois, strict=True):
        for label in np.unique(labels[mask & (labels != 0)]):
            region = labels == label
            found[region] = ff[region & mask].mean(dtype=np.float64) > MOST_FAT_FOR_WATER
    return fatty
