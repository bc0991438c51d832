"""Texture: variation from voxel to voxel that the smooth tissue and fields of a drawn body lack.

A network that has only seen smooth maps takes what varies within a few voxels for noise, and smooths it away. Texture
teaches it to look at the signal first. It is no model of any tissue: each map gets a random field of its own, on
several scales, and from a full strength down to a twentieth of it.
"""

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from mrfpipe.arrays import Double
from mrfpipe.maps import ParameterMaps
from mrfpipe.phantom.truth import Phantom
from mrfpipe.protocol import Grid

SCALES = (0.7, 1.5, 3.0, 6.0, 12.0)
"""Standard deviations in voxels of the Gaussian filters that white noise is seen through."""
STRONGEST = {"FF": 0.10, "T1H2O": 0.200, "T1fat": 0.020, "df": 8.0, "B1": 0.040}
"""Greatest standard deviation of every map's texture, in SI units: some 5 to 15 % of what the grid spans."""
WEAKEST = 0.05
"""Least standard deviation, as a share of the greatest."""


def textured(phantom: Phantom, grid: Grid, *, seed: int) -> Phantom:
    """Add a random field to each map of a body, within the ends of a grid; mask, proton density and regions stay.

    The seed decides the fields and how strong each is.
    """
    rng, maps = np.random.default_rng(seed), phantom.maps
    rough = {}
    for name, smooth in maps.si.items():
        strength = STRONGEST[name] * np.exp(rng.uniform(np.log(WEAKEST), 0.0))
        value = np.clip(smooth + strength * _field(rng, maps), grid[name][0], grid[name][-1])
        rough[name] = np.where(maps.mask, value, np.nan).astype(np.float32)
    return replace(phantom, maps=replace(maps, si=rough))


def _field(rng: np.random.Generator, maps: ParameterMaps) -> Double:
    """Draw a field of mean 0 and variance 1, each slice for itself. Shape `(slices, y, x)`."""
    shares = rng.dirichlet(np.ones(len(SCALES)))
    total = np.zeros(maps.mask.shape)
    for share, scale in zip(shares, SCALES, strict=True):
        # No smoothing across slices.
        smooth = gaussian_filter(rng.standard_normal(total.shape), (0, scale, scale), mode="wrap")
        total += np.sqrt(share) * smooth / smooth.std(axis=(1, 2), keepdims=True)
    return total
