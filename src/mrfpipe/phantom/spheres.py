"""Spheres of the ISMRM/NIST system phantom, with published relaxation times, for protocols of T1 and T2.

There are two plates of 14 spheres: the T2 array with manganese chloride, and the T1 array with nickel chloride.
Relaxation times at 3 T and 20 degrees Celsius are those of Stupic et al., Magn Reson Med 86:1194 (2021), supporting
information. Ten spheres of a plate lie on a ring and four within it. Only the spheres give signal: the water that fills
the phantom, with a T2 of seconds, would cause Gibbs ringing within the spheres, because a disc of k-space cannot
resolve their edges, and would bias T1 by up to 2.5 %.
"""

import numpy as np

from mrfpipe.arrays import Byte, Double, Float
from mrfpipe.maps import ParameterMaps
from mrfpipe.phantom.anatomy import axial
from mrfpipe.phantom.tables import load_table
from mrfpipe.phantom.template import MM
from mrfpipe.phantom.truth import Phantom
from mrfpipe.protocol import load_protocol

Filling = tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]
"""T1 and T2 in s of the spheres of both plates."""
PARAMETERS = load_protocol("fisp").parameters
"""Parameters of the maps of the spheres."""
_TABLE = load_table("tables/spheres")
T2_ARRAY, T1_ARRAY = _TABLE["t2_array"], _TABLE["t1_array"]
"""T1 and T2 in s of the spheres of manganese chloride and of nickel chloride, by number from 1."""
FILLED_T1, FILLED_T2 = (0.1, 3.0), (0.01, 0.6)
"""Ranges of T1 and T2 in s of spheres with another, random filling."""
BODY_RADIUS, RING_RADIUS, INNER_RADIUS = 100 * MM, 50 * MM, 22 * MM
"""Radii of the phantom, of the ring of ten spheres and of the ring of four."""
SPHERE_RADIUS = 7.5 * MM
"""Inner radius of a sphere."""
CLEARANCE = 2 * MM
"""Distance of a region of interest from the border of its sphere."""


def spheres(*, matrix: int, fov: float, n_slices: int = 2, slice_spacing: float = 40 * MM, seed: int = 0) -> Phantom:
    """Draw the plates of the system phantom in alternate slices, T2 array first; every sphere has a region of interest.

    Parameters are those of `mrfpipe.phantom.anatomy.draw`. The seed determines the variation of B1, of about 10 %. With
    any seed but 0, the spheres have random fillings.
    """
    axis: Double = np.asarray((np.arange(matrix) - matrix // 2) * (fov / matrix), np.float64)
    y, x = axis[:, None], axis[None, :]
    shape = (n_slices, matrix, matrix)
    t1, t2 = (np.full(shape, np.nan, np.float32) for _ in range(2))
    rois, rng = np.zeros(shape, np.uint8), np.random.default_rng(seed)
    filling = (T2_ARRAY, T1_ARRAY) if seed == 0 else (_other_filling(rng), _other_filling(rng))
    for s in range(n_slices):
        _draw_plate(s, x, y, t1[s], t2[s], rois[s], filling)
    mask = np.isfinite(t1)
    b1 = np.broadcast_to(_b1(x, y, rng), shape)
    si = {"T1": t1, "T2": t2, "B1": np.where(mask, b1, np.nan).astype(np.float32)}
    affine = axial(fov / matrix, matrix, slice_spacing, -slice_spacing * (n_slices - 1) / 2)
    maps = ParameterMaps.known(PARAMETERS, si, mask, affine)
    names = tuple(f"{array} {number}" for array in ("T2", "T1") for number in range(1, 15))
    return Phantom(maps=maps, rois=rois, roi_names=names)


def _draw_plate(s: int, x: Double, y: Double, t1: Float, t2: Float, rois: Byte, filling: Filling) -> None:
    for number, (cx, cy) in enumerate(_centres()):
        distance = np.hypot(x - cx, y - cy)
        t1[distance <= SPHERE_RADIUS], t2[distance <= SPHERE_RADIUS] = filling[s % 2][number]
        rois[distance <= SPHERE_RADIUS - CLEARANCE] = 1 + 14 * (s % 2) + number


def _centres() -> list[tuple[float, float]]:
    """Centres (x, y) of the spheres: ten on the outer ring from +x on, four on the inner."""
    outer, inner = 2 * np.pi * np.arange(10) / 10, 2 * np.pi * (np.arange(4) + 0.5) / 4
    return [
        *((float(RING_RADIUS * np.cos(a)), float(RING_RADIUS * np.sin(a))) for a in outer),
        *((float(INNER_RADIUS * np.cos(a)), float(INNER_RADIUS * np.sin(a))) for a in inner),
    ]


def _other_filling(rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    """Draw T1 and T2 in s of a plate of spheres, T2 shorter than T1."""
    t1 = np.exp(rng.uniform(np.log(FILLED_T1[0]), np.log(FILLED_T1[1]), 14))
    t2 = np.exp(rng.uniform(np.log(FILLED_T2[0]), np.log(np.minimum(FILLED_T2[1], 0.9 * t1))))
    return tuple(zip(t1.tolist(), t2.tolist(), strict=True))


def _b1(x: Double, y: Double, rng: np.random.Generator) -> Double:
    """B1 that falls off smoothly from somewhere near the centre. Shape `(y, x)`."""
    cx, cy = rng.uniform(-20 * MM, 20 * MM, 2)
    away: Double = ((x - cx) ** 2 + 1.3 * (y - cy) ** 2) / BODY_RADIUS**2
    return 1.05 - 0.2 * away
