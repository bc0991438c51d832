"""Geometry of a scan: conversion of slice positions and directions to an affine, and back.

For every acquisition, the head gives the centre of the slice in mm and three directions, in LPS patient coordinates
(+x to the left, +y to the back, +z to the head). The centre is voxel ``matrix // 2``; x runs along the read direction
and y along the phase direction. The affine maps voxel (x, y, slice) to RAS in mm.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrfpipe.acquisition.heads import Heads
from mrfpipe.arrays import Double, Int
from mrfpipe.errors import InputError

_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
_ORTHONORMAL = 1e-2  # scanners round directions to few digits
_PARALLEL = 1e-3
_SAME_PLACE_MM = 1e-2
_EVEN = 2e-2  # of the slice spacing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """A stack of parallel slices, in the conventions of the heads."""

    positions: Double
    """Centre of each slice in LPS, mm. Shape `(slices, 3)`."""
    directions: Double
    """Read, phase and slice direction in LPS, unit vectors. Shape `(3, 3)`."""
    spacing_mm: float
    """Distance between the centres of neighbouring slices."""


def in_order_of_place(imaging: Heads) -> Heads:
    """Renumber slices along their normal if they are in another order, for example interleaved.

    Slices that are already numbered along the normal, up or down, keep their numbers, as do slices without positions.
    """
    first = np.unique(imaging["slice"], return_index=True)[1]
    place = imaging["position"][first] @ imaging["slice_dir"][first[0]]
    steps = np.diff(place)
    if np.all(steps >= 0) or np.all(steps <= 0):
        return imaging
    renumbered = imaging.copy()
    renumbered["slice"] = np.argsort(np.argsort(place))[imaging["slice"]]
    return renumbered


def affine_of(imaging: Heads, matrix: int, fov_mm: float, thickness_mm: float, path: Path) -> Double:
    """Compute the affine of a scan.

    Parameters
    ----------
    imaging
        Heads of its readouts; slices are numbered from 0 without gaps.
    matrix, fov_mm
        Number of voxels along x and y, and the field of view that they span.
    thickness_mm
        Slice thickness, used as the slice spacing if the positions do not give it.
    path
        The file, for errors.

    Returns
    -------
        Affine from voxel (x, y, slice) to RAS in mm. Shape `(4, 4)`.

    Raises
    ------
    InputError
        If directions are not orthonormal, or slices are not parallel, evenly spaced and stacked along their normal.
    """
    directions_of_all = np.stack([imaging[name] for name in ("read_dir", "phase_dir", "slice_dir")], axis=1)
    first = np.unique(imaging["slice"], return_index=True)[1]
    _check_steady(imaging, directions_of_all, first, path)
    directions, positions = directions_of_all[first], imaging["position"][first]
    is_unset = not directions.any()
    read, phase, normal = np.eye(3) if is_unset else _orthonormal(directions, path)
    step = thickness_mm * normal
    if len(positions) > 1 and not (is_unset and not positions.any()):
        step = _step(positions, normal, path)
    voxel_mm = fov_mm / matrix
    columns = np.stack([read * voxel_mm, phase * voxel_mm, step], axis=1)
    affine = np.eye(4)
    affine[:3, :3] = _LPS_TO_RAS[:, None] * columns
    affine[:3, 3] = _LPS_TO_RAS * (positions[0] - (matrix // 2) * (columns[:, 0] + columns[:, 1]))
    return affine + 0.0  # turns -0 into 0


def stack_of(affine: Double, matrix: int, n_slices: int) -> Stack:
    """Compute positions and directions from an affine: the inverse of `affine_of`.

    Raises
    ------
    ValueError
        If the axes of the affine are not at right angles.
    """
    columns = _LPS_TO_RAS[:, None] * affine[:3, :3]
    sizes = np.linalg.norm(columns, axis=0)
    directions = (columns / sizes).T
    if not np.allclose(directions @ directions.T, np.eye(3), atol=_ORTHONORMAL):
        raise ValueError("affine has axes that are not at right angles.")
    centre = _LPS_TO_RAS * affine[:3, 3] + (matrix // 2) * (columns[:, 0] + columns[:, 1])
    positions = centre + np.arange(n_slices)[:, None] * columns[:, 2]
    return Stack(positions=positions, directions=directions, spacing_mm=float(sizes[2]))


def _check_steady(imaging: Heads, directions: Double, first: Int, path: Path) -> None:
    """Check that all readouts of a slice have the position and directions of its first one."""
    of_slice = first[imaging["slice"]]
    moved = np.abs(imaging["position"] - imaging["position"][of_slice]).max(axis=1) > _SAME_PLACE_MM
    turned = np.abs(directions - directions[of_slice]).max(axis=(1, 2)) > _PARALLEL
    wrong = np.flatnonzero(moved | turned)
    if wrong.size:
        head = imaging[wrong[0]]
        raise InputError(
            f"{path}: slice {head['slice']} changes its position or "
            f"directions at readout {head['kspace_encode_step_1']}; mrfpipe needs slices that do not move."
        )


def _orthonormal(directions: Double, path: Path) -> Double:
    """Return the read, phase and slice directions that all slices share; `directions` has shape `(slices, 3, 3)`."""
    for s, axes in enumerate(directions):
        if not np.abs(axes @ axes.T - np.eye(3)).max() <= _ORTHONORMAL:
            raise InputError(
                f"{path}: read, phase and slice directions of slice {s} are not unit vectors at right angles; "
                "convert the scan again."
            )
        if np.abs(axes - directions[0]).max() > _PARALLEL:
            raise InputError(f"{path}: slice {s} is not parallel to slice 0; mrfpipe needs parallel slices.")
    axes = directions[0]
    unit: Double = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    return unit


def _step(positions: Double, normal: Double, path: Path) -> Double:
    """Return the step from slice to slice, after checking that it is constant and along the normal."""
    n_slices = len(positions)
    step: Double = (positions[-1] - positions[0]) / (n_slices - 1)
    spacing = float(np.linalg.norm(step))
    even = positions[0] + np.arange(n_slices)[:, None] * step
    if spacing < _SAME_PLACE_MM or np.abs(positions - even).max() > _EVEN * spacing:
        raise InputError(f"{path}: slices are not evenly spaced; mrfpipe needs evenly spaced slices.")
    if np.linalg.norm(step - normal * (normal @ step)) > _EVEN * spacing:
        raise InputError(f"{path}: slices are not stacked along their normal; mrfpipe needs a stack of slices.")
    return step
