"""Labels: regions that somebody drew on the maps of a scan, from a NIfTI image."""

from pathlib import Path

import numpy as np

from mrfpipe.arrays import Int
from mrfpipe.errors import InputError
from mrfpipe.files.nifti import read_image
from mrfpipe.maps import ParameterMaps

_CURE = "draw the regions on one of the result's own images"


def load_labels(path: str | Path, maps: ParameterMaps) -> Int:
    """Read the labels of regions, 0 for none, drawn on `maps`: a NIfTI image of whole numbers with axes (x, y, slice).

    Shape `(slices, y, x)`. InputError if it is no such image, or holds no region; MismatchError if it has another shape
    or lies elsewhere than the maps.
    """
    path = Path(path)
    labels = read_image(path, "the maps", maps.mask.shape, maps.affine, _CURE)
    if not np.all(np.isfinite(labels)) or not np.array_equal(labels, np.round(labels)):
        raise InputError(f"{path} does not hold whole numbers; {_CURE}.")
    if not np.any(labels[maps.mask] > 0) or labels.min() < 0:
        raise InputError(f"{path} holds no region, or a negative number, where the maps are; {_CURE}.")
    return labels.astype(np.int64)
