"""Field maps: off-resonance of every voxel of a scan, from a result or from an image of another program."""

from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from mrfpipe.arrays import Double, Float
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.files.kinds import MAPS_FILE
from mrfpipe.files.maps import load_maps
from mrfpipe.files.nifti import check_place, read_image
from mrfpipe.files.results import find_maps

_CURE = "give one on the scan's own grid"
_MOST = 5000.0
"""In Hz. Fat is 440 Hz from water at 3 T: what is more than ten times that is in another unit."""


def load_field_map(path: str | Path, shape: tuple[int, ...], affine: Double) -> Float:
    """Read off-resonance in Hz for a scan, in the sense of protocols, in which a fat peak is shifted.

    Parameters
    ----------
    path
        A result with a map of off-resonance, or a NIfTI image as BIDS has them, of the offset of the Larmor frequency
        in Hz: its sign is turned.
    shape, affine
        Of the scan: `(slices, y, x)`, and voxel `(x, y, slice)` to RAS in mm.

    Returns
    -------
        Finite everywhere: where the map is not, it has the value of the nearest voxel that is. Shape `(slices, y, x)`.

    Raises
    ------
    InputError
        If it cannot be read, or holds no off-resonance in Hz.
    MismatchError
        If it has another shape than the scan, or lies elsewhere.
    """
    path = Path(path)
    if ".nii" in path.suffixes:
        if (path.parent / MAPS_FILE).exists():
            raise InputError(
                f"{path} has the sign of a result's map, not of a BIDS field map; give the result, {path.parent}."
            )
        field = -read_image(path, "the scan", shape, affine, _CURE)
    else:
        field = _of_result(path, shape, affine)
    known = np.isfinite(field)
    if not known.any():
        raise InputError(f"{path} holds no finite value; {_CURE}.")
    most = float(np.abs(field[known]).max())
    if most > _MOST:
        raise InputError(f"{path} holds up to {most:.4g} Hz, too much for off-resonance; give a field map in Hz.")
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    filled: Float = field[tuple(nearest)].astype(np.float32)
    return filled


def _of_result(path: Path, shape: tuple[int, ...], affine: Double) -> Double:
    maps = load_maps(find_maps(path))
    names = [p.name for p in maps.parameters if p.quantity.name == "off-resonance"]
    if not names:
        raise InputError(f"{path} has no map of off-resonance, but of {', '.join(maps)}; {_CURE}.")
    if maps.mask.shape != shape:
        sizes = f"{maps.mask.shape[::-1]} and the scan {shape[::-1]} (x, y, slices)"
        raise MismatchError(f"{path} has shape {sizes}; {_CURE}.")
    check_place(path, maps.affine, "the scan", shape, affine, _CURE)
    return np.where(maps.mask, maps.si[names[0]], np.nan)
