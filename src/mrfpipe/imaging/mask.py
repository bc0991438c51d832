"""Foreground mask: where there is tissue, told from the frames themselves."""

import numpy as np
from scipy.ndimage import binary_dilation, binary_fill_holes
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_objects

from mrfpipe.arrays import Bool, Complex, Float, check_shape

N_CONTRASTS = 7
"""Stretches of the train that are averaged each by itself: long enough to be free of undersampling, short enough that
no tissue is cancelled by the inversion or by two components in opposite phase in all of them."""
DARKEST = 0.01
"""Share of the brightest percentile below which nothing is told apart: how dark air is, from which denoising takes
everything, does not decide where tissue ends."""
SMALLEST_ISLAND = 2e-4
"""Islands smaller than this share of the image are not tissue; holes of that size are."""

MARGIN = 6
"""Voxels around what is bright that may hold something, too: off-resonance and the ends of k-space spread signals.

Vials of another simulator scattered half as much again with 4; errors of our own phantoms are the same within 2 %."""
SIDE = 16
"""Voxels that the sides of a box are multiples of: transforms are fast, and boxes of alike slices of one size."""


def tissue_mask(images: Complex, basis: Complex | None = None) -> Bool:
    """Separate tissue from air.

    The root sum of squares over a few stretches of the train is split by Otsu's threshold of its logarithm, so that
    dim tissue beside bright counts as well. Small islands are dropped and small holes filled; cortical bone and
    lungs, without signal, may stay out. Voxels that are zero in all frames are never inside.

    Parameters
    ----------
    images
        Frames of a slice, shape `(frames, y, x)`, or their coefficients, shape `(rank, y, x)`.
    basis
        Basis of the coefficients. Shape `(frames, rank)`.

    Returns
    -------
        True where there is tissue. Shape `(y, x)`.
    """
    brightness = contrast_sum(images, basis)
    seen = brightness > 0
    if np.unique(brightness[seen]).size < 2:
        return seen
    logarithm = np.log(np.maximum(brightness, DARKEST * np.percentile(brightness[seen], 99)))
    mask = seen & (logarithm > threshold_otsu(logarithm[seen]))  # type: ignore[no-untyped-call]
    smallest = int(SMALLEST_ISLAND * mask.size)
    mask = remove_small_objects(mask, max_size=smallest)
    filled: Bool = ~remove_small_objects(~mask, max_size=smallest) & seen
    return filled


def support(images: Complex, basis: Complex | None = None) -> Bool:
    """Return where there may be anything but the air around the body: what is as bright as tissue, and `MARGIN` around.

    Holes are filled and nothing is too small, so that no tissue is lost, however dim or thin. Parameters and shape as
    for `tissue_mask`.
    """
    brightness = contrast_sum(images, basis)
    seen = brightness > 0
    if np.unique(brightness[seen]).size < 2:
        return np.ones(brightness.shape, np.bool_)
    logarithm = np.log(np.maximum(brightness, DARKEST * np.percentile(brightness[seen], 99)))
    bright = logarithm > threshold_otsu(logarithm[seen])  # type: ignore[no-untyped-call]
    grown: Bool = binary_fill_holes(binary_dilation(bright, iterations=MARGIN))
    return grown


def box_of(mask: Bool) -> tuple[slice, slice]:
    """Return a box around a mask, along y and x. Its sides are multiples of `SIDE`, or those of the image."""
    return _side(np.any(mask, axis=1)), _side(np.any(mask, axis=0))


def _side(inside: Bool) -> slice:
    """Return the side of a box along one axis."""
    places, n = np.flatnonzero(inside), inside.size
    size = min(n, -(-(int(np.ptp(places)) + 1) // SIDE) * SIDE)
    first = min(int(places[0]), n - size)
    return slice(first, first + size)


def contrast_sum(images: Complex, basis: Complex | None = None) -> Float:
    """Root sum of squares over the means of the stretches. Shape `(frames, y, x)` or `(rank, y, x)` to `(y, x)`.

    The mean of frames is the mean of the basis times the coefficients, so that no frame is made of those.
    """
    if basis is None:
        check_shape("images", images, "frames y x")
    else:
        check_shape("images", images, "rank y x", check_shape("basis", basis, "frames rank"))
    train = images if basis is None else basis
    means = [stretch.mean(0) for stretch in np.array_split(train, min(N_CONTRASTS, len(train)))]
    if basis is not None:
        means = [np.tensordot(mean, images, 1) for mean in means]
    total: Float = np.sqrt(sum(np.abs(mean) ** 2 for mean in means)).astype(np.float32)
    return total
