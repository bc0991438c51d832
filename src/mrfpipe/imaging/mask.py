"""Foreground mask: where there is tissue, estimated from the images themselves."""

import numpy as np
from scipy.ndimage import binary_dilation, binary_fill_holes
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_objects

from mrfpipe.arrays import Bool, Complex, Float, check_shape

N_CONTRASTS = 7
"""Segments of the train that are averaged separately: long enough to be free of undersampling artefacts, short enough
that no tissue is cancelled in all of them, by the inversion or by two components in opposite phase."""
DARKEST = 0.01
"""Lower limit of the brightness, as a share of its 99th percentile: the threshold for tissue then does not depend on
how dark the air is after denoising."""
SMALLEST_ISLAND = 2e-4
"""Islands smaller than this share of the image are not tissue; holes of that size are."""

MARGIN = 6
"""Voxels around bright ones that may have signal, too: off-resonance and the truncation of k-space spread it.

With 4, maps of vials from another simulator scattered half as much again; errors of our own phantoms are the same
within 2 %."""
SIDE = 16
"""The sides of a box are multiples of this, in voxels: transforms are fast, and similar slices have boxes of one
size."""


def tissue_mask(images: Complex, basis: Complex | None = None, within: Bool | None = None) -> Bool:
    """Separate tissue from air.

    The threshold is Otsu's, of the logarithm of the root sum of squares over a few segments of the train, so that dim
    tissue beside bright tissue is kept. Small islands are dropped and small holes filled; cortical bone and
    lungs, without signal, may stay out. Voxels that are zero in all frames are never inside.

    Parameters
    ----------
    images
        Frames of a slice, shape `(frames, y, x)`, or their coefficients, shape `(rank, y, x)`.
    basis
        Basis of the coefficients. Shape `(frames, rank)`.
    within
        Where the images were reconstructed, and the only voxels that the threshold depends on; by default everywhere,
        so that zeros are air. Shape `(y, x)`.

    Returns
    -------
        True where there is tissue. Shape `(y, x)`.
    """
    seen, bright = _seen_and_bright(images, basis, within)
    if bright is None:
        return seen
    smallest = int(SMALLEST_ISLAND * bright.size)
    mask = remove_small_objects(bright, max_size=smallest)
    filled: Bool = ~remove_small_objects(~mask, max_size=smallest) & seen
    return filled


def support(images: Complex, basis: Complex | None = None) -> Bool:
    """Return where there may be signal: voxels as bright as tissue, and `MARGIN` voxels around them.

    Holes are filled and no island is dropped, so that no tissue is lost, however dim or thin. Parameters and shape as
    for `tissue_mask`.
    """
    seen, bright = _seen_and_bright(images, basis, np.ones(images.shape[1:], np.bool_))
    if bright is None:
        return np.ones(seen.shape, np.bool_)
    grown: Bool = binary_fill_holes(binary_dilation(bright, iterations=MARGIN))
    return grown


def _seen_and_bright(images: Complex, basis: Complex | None, within: Bool | None) -> tuple[Bool, Bool | None]:
    """Return where there is any signal, and where it is as bright as tissue; None if all signal is equally bright.

    Parameters as for `tissue_mask`.
    """
    brightness = contrast_sum(images, basis)
    seen = brightness > 0
    if np.unique(brightness[seen]).size < 2:
        return seen, None
    logarithm = np.log(np.maximum(brightness, DARKEST * np.percentile(brightness[seen], 99)))
    where = np.ones_like(seen) if within is None else seen & within
    bright: Bool = seen & (logarithm > threshold_otsu(logarithm[where]))  # type: ignore[no-untyped-call]
    return seen, bright


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
    """Root sum of squares over the means of the segments. Shape `(frames, y, x)` or `(rank, y, x)` to `(y, x)`.

    For coefficients, the mean of the basis is multiplied by them, so that frames need not be computed.
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
