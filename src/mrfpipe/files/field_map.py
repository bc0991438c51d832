"""Field maps: off-resonance in every voxel of a scan, from a result or from an image of another program."""

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
"""Largest plausible off-resonance in Hz. At 3 T, fat is 440 Hz from water; ten times more must be in another unit."""


def load_field_map(path: str | Path, shape: tuple[int, ...], affine: Double) -> Float:
    """Read the off-resonance for a scan in Hz, with the sign of protocols, in which the shifts of fat peaks are given.

    Parameters
    ----------
    path
        A result with an off-resonance map, or a BIDS field map (NIfTI) of the offset of the Larmor frequency in Hz,
        whose sign is inverted.
    shape, affine
        Shape `(slices, y, x)` of the scan, and its affine from voxel `(x, y, slice)` to RAS in mm.

    Returns
    -------
        Off-resonance, finite everywhere: undefined voxels have the value of the nearest defined one. Shape
        `(slices, y, x)`.

    Raises
    ------
    InputError
        If it cannot be read, or holds no off-resonance in Hz.
    MismatchError
        If its shape or position differs from the scan.
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
