"""Agreement of two methods over regions, as shown in scatter and Bland-Altman plots.

Section 2.6 and Fig. 4 of Balsiger et al., Med Image Anal 64:101741 (2020): a point is the mean over one region in one
slice. `mrfpipe.maps.ParameterMaps` determines which voxels and regions count.
"""

from dataclasses import dataclass

import numpy as np

from mrfpipe.evaluation.metrics import r2
from mrfpipe.evaluation.regions import RegionMeans, check_shapes, region_means
from mrfpipe.maps import Labels, ParameterMaps
from mrfpipe.quantities import Numbers

COVERAGE = 1.96
"""Half-width, in standard deviations, of the interval that contains 95 % of normally distributed differences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Bland-Altman statistics and regression of an estimate on its reference; undefined values are NaN."""

    n: int
    """Number of pairs."""
    bias: float
    """Mean of estimate minus reference."""
    deviation: float
    """Standard deviation of the differences, with n - 1 degrees of freedom."""
    lower: float
    """Lower 95 % limit of agreement: bias minus 1.96 deviations."""
    upper: float
    """Upper 95 % limit of agreement: bias plus 1.96 deviations."""
    correlation: float
    """Pearson's r."""
    slope: float
    """Slope of the regression line of the estimate on the reference."""
    intercept: float
    """Intercept of the regression line."""
    r2: float
    """Coefficient of determination of the regression."""


def agree(estimate: Numbers, reference: Numbers) -> Agreement:
    """Compare pairs of values; pairs whose estimate is NaN are left out.

    Parameters
    ----------
    estimate, reference
        The values, of equal but arbitrary shape.

    Returns
    -------
        Statistics of the pairs. The bias needs one pair, the limits need two, and the regression needs a reference and
        an estimate that vary; otherwise they are NaN.

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
        The maps to evaluate.
    reference
        The maps to compare them with.
    rois
        Labels of regions, 0 for none. Shape `(slices, y, x)`.

    Returns
    -------
        Points and statistics by the name of the parameter.

    Raises
    ------
    MismatchError
        If maps, reference and regions differ in shape.
    """
    check_shapes(maps, reference, rois)
    agreements = {}
    for parameter in reference.parameters:
        points = region_means(maps, reference, parameter, rois)
        agreements[parameter.name] = points, agree(points.estimate, points.reference)
    return agreements
