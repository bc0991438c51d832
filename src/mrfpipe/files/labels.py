"""Labels: regions that somebody drew on the maps of a scan, from a NIfTI image."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from mrfpipe.arrays import Double, Int
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.maps import ParameterMaps

_CURE = "draw the regions on one of the result's own images"
_NEAR = 0.01
"""By how much, in parts of a voxel's smallest side, corners of the two images may lie apart: NIfTI keeps affines in
float32, and a viewer may keep them as angles."""


def load_labels(path: str | Path, maps: ParameterMaps) -> Int:
    """Read the labels of regions, 0 for none, drawn on `maps`: a NIfTI image of whole numbers with axes (x, y, slice).

    Shape `(slices, y, x)`. InputError if it is no such image, or holds no region; MismatchError if it has another shape
    or lies elsewhere than the maps.
    """
    path = Path(path)
    try:
        image: Any = nib.load(path)
        values = np.asanyarray(image.dataobj)
    except FileNotFoundError as e:
        raise InputError(f"{path} does not exist; give a label image, {_CURE}.") from e
    except (nib.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as e:
        raise InputError(f"{path} cannot be read as NIfTI: {str(e).partition(chr(10))[0]}; {_CURE}.") from e
    shape = maps.mask.shape
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    values = values[..., None] if values.ndim == 2 else values
    if values.shape != shape[::-1]:
        raise MismatchError(f"{path} has shape {values.shape} and the maps {shape[::-1]} (x, y, slices); {_CURE}.")
    check_place(path, np.asarray(image.affine, np.float64), maps, _CURE)
    labels = np.asarray(values.transpose(2, 1, 0), np.float64)
    if not np.all(np.isfinite(labels)) or not np.array_equal(labels, np.round(labels)):
        raise InputError(f"{path} does not hold whole numbers; {_CURE}.")
    if not np.any(labels[maps.mask] > 0) or labels.min() < 0:
        raise InputError(f"{path} holds no region, or a negative number, where the maps are; {_CURE}.")
    return labels.astype(np.int64)


def check_place(path: Path, affine: Double, maps: ParameterMaps, cure: str) -> None:
    """Check that what a file holds lies where `maps` do, to a hundredth of a voxel.

    MismatchError if it lies elsewhere; the error ends with the cure.
    """
    n_slices, n_y, n_x = maps.mask.shape
    corners = np.array([[x, y, s, 1] for x in (0, n_x - 1) for y in (0, n_y - 1) for s in (0, n_slices - 1)]).T
    apart = float(np.linalg.norm(((affine - maps.affine) @ corners)[:3], axis=0).max())
    if not apart <= _NEAR * float(np.linalg.norm(maps.affine[:3, :3], axis=0).min()):
        raise MismatchError(
            f"{path} lies elsewhere than the maps: corners of the two images are up to {apart:.3g} mm apart; {cure}."
        )
