"""Spheres of the ISMRM/NIST system phantom, whose relaxation times were measured by others, for protocols of T1 and T2.

A plate holds 14 spheres: the T2 array, of manganese chloride, and the T1 array, of nickel chloride. Relaxation times at
3 T and 20 degrees Celsius are those of Stupic et al., Magn Reson Med 86:1194 (2021), supporting information. Ten
spheres of a plate lie on a ring and four within; the water that fills the phantom is drawn around them, so that it
aliases into them as in a scan, and the walls of the spheres give no signal.
"""

import numpy as np

from mrfpipe.arrays import Byte, Double, Float
from mrfpipe.maps import ParameterMaps
from mrfpipe.phantom.anatomy import axial
from mrfpipe.phantom.template import MM
from mrfpipe.phantom.truth import Phantom
from mrfpipe.protocol import load_protocol

PARAMETERS = load_protocol("fisp").parameters
"""What the spheres have maps of."""
T2_ARRAY = (
    (2.480, 0.5813),
    (2.173, 0.4035),
    (1.907, 0.2781),
    (1.604, 0.19094),
    (1.332, 0.13327),
    (1.044, 0.09689),
    (0.8017, 0.06407),
    (0.6086, 0.04642),
    (0.4584, 0.03197),
    (0.3365, 0.02256),
    (0.2442, 0.01581),
    (0.1769, 0.01124),
    (0.1269, 0.00791),
    (0.0909, 0.00559),
)
"""T1 and T2 in s of the spheres of manganese chloride, by number from 1."""
T1_ARRAY = (
    (1.989, 1.465),
    (1.454, 1.077),
    (0.9841, 0.7179),
    (0.7060, 0.5101),
    (0.4967, 0.3596),
    (0.3515, 0.2555),
    (0.24713, 0.1808),
    (0.1753, 0.1273),
    (0.1259, 0.0903),
    (0.0890, 0.0643),
    (0.0627, 0.0457),
    (0.04453, 0.03186),
    (0.03084, 0.02238),
    (0.021719, 0.01583),
)
"""The same of the spheres of nickel chloride."""
WATER = (2.8, 1.9)
"""T1 and T2 in s of the water between them, assumed."""
BODY_RADIUS, RING_RADIUS, INNER_RADIUS = 100 * MM, 50 * MM, 22 * MM
"""Of the phantom, of the ring of ten spheres and of that of four."""
SPHERE_RADIUS, WALL = 7.5 * MM, 1.5 * MM
"""Inside of a sphere, and thickness of its wall."""
CLEARANCE = 2 * MM
"""How far a region of interest stays from a sphere's wall."""


def spheres(*, matrix: int, fov: float, n_slices: int = 2, slice_spacing: float = 40 * MM, seed: int = 0) -> Phantom:
    """Draw the plates of the system phantom, the T2 array first, in turns.

    Parameters
    ----------
    matrix
        Voxels along x and along y.
    fov
        Field of view along x and along y in m.
    n_slices
        Plates.
    slice_spacing
        Distance from plate to plate in m.
    seed
        Of how B1 varies, by about 10 %.

    Returns
    -------
        The truth, and a region of interest within every sphere.
    """
    axis: Double = np.asarray((np.arange(matrix) - matrix // 2) * (fov / matrix), np.float64)
    y, x = axis[:, None], axis[None, :]
    shape = (n_slices, matrix, matrix)
    t1, t2 = (np.full(shape, np.nan, np.float32) for _ in range(2))
    rois = np.zeros(shape, np.uint8)
    for s in range(n_slices):
        _draw_plate(s, x, y, t1[s], t2[s], rois[s])
    mask = np.isfinite(t1)
    one = np.where(mask, np.float32(1), np.float32(np.nan))
    b1 = np.broadcast_to(_b1(x, y, np.random.default_rng(seed)), shape)
    maps = ParameterMaps(
        parameters=PARAMETERS,
        si={"T1": t1, "T2": t2, "B1": np.where(mask, b1, np.nan).astype(np.float32)},
        m0=one,
        phase=0 * one,
        match=one,
        edge=np.zeros(shape, np.uint8),
        mask=mask,
        affine=axial(fov / matrix, matrix, slice_spacing, -slice_spacing * (n_slices - 1) / 2),
    )
    names = tuple(f"{array} {number}" for array in ("T2", "T1") for number in range(1, 15))
    return Phantom(maps=maps, rois=rois, roi_names=names)


def _draw_plate(s: int, x: Double, y: Double, t1: Float, t2: Float, rois: Byte) -> None:
    """Draw the water and the spheres of a plate."""
    array, first = ((T2_ARRAY, 1), (T1_ARRAY, 15))[s % 2]
    body = np.hypot(x, y) <= BODY_RADIUS
    t1[body], t2[body] = WATER
    for number, (sphere, (cx, cy)) in enumerate(zip(array, _centres(), strict=True)):
        distance = np.hypot(x - cx, y - cy)
        wall = (distance > SPHERE_RADIUS) & (distance <= SPHERE_RADIUS + WALL)
        t1[wall], t2[wall] = np.nan, np.nan
        t1[distance <= SPHERE_RADIUS], t2[distance <= SPHERE_RADIUS] = sphere
        rois[distance <= SPHERE_RADIUS - CLEARANCE] = first + number


def _centres() -> list[tuple[float, float]]:
    """Centres (x, y) of the spheres: ten on the outer ring from +x on, four on the inner."""
    outer, inner = 2 * np.pi * np.arange(10) / 10, 2 * np.pi * (np.arange(4) + 0.5) / 4
    return [
        *((float(RING_RADIUS * np.cos(a)), float(RING_RADIUS * np.sin(a))) for a in outer),
        *((float(INNER_RADIUS * np.cos(a)), float(INNER_RADIUS * np.sin(a))) for a in inner),
    ]


def _b1(x: Double, y: Double, rng: np.random.Generator) -> Double:
    """B1 that falls off smoothly from somewhere near the centre. Shape `(y, x)`."""
    cx, cy = rng.uniform(-20 * MM, 20 * MM, 2)
    away: Double = ((x - cx) ** 2 + 1.3 * (y - cy) ** 2) / BODY_RADIUS**2
    return 1.05 - 0.2 * away
