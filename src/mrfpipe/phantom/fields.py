"""Off-resonance and relative B1+ over the field of view: smooth, and individual for each person."""

from dataclasses import dataclass

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.phantom.limb import Section
from mrfpipe.phantom.template import MM
from mrfpipe.phantom.waves import Waves, random_waves, squashed

MOST_DF = 80.0
MOST_TRUNK_DF = 110.0
LEAST_B1, MOST_B1 = 0.40, 1.0
HALF_WIDTH = 175 * MM
"""Unit of length of the fields' polynomials."""
GAS_REACH = 25 * MM
"""Radius of a gas pocket, outside of which the field falls with the cube of the distance, as for a sphere."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fields:
    """A person's fields, as functions of position in m from the isocentre."""

    shim: Double
    """Off-resonance in Hz: coefficients of 1, x, y, z, x y, x x - y y, in units of `HALF_WIDTH`. Shape `(6)`."""
    df: Waves
    """Residual off-resonance after shimming."""
    edge: Double
    """Largest off-resonance in Hz below the skin of each limb. Shape `(limbs)`."""
    edge_angle: Double
    """Angle around each limb where it is largest, in rad. Shape `(limbs)`."""
    gas: float
    """Off-resonance in Hz at the surface of gas, whose susceptibility differs from tissue's by 9.4 ppm."""
    most_df: float
    """Greatest off-resonance in Hz."""
    shading: Double
    """Relative B1+: coefficients of 1, x, y, x y, x x + y y, and of the waves `b1`. Shape `(6)`."""
    b1: Waves
    """Standing waves of the transmit field."""

    def off_resonance(self, limb: int, place: Section) -> Double:
        """Off-resonance in Hz at points of a limb, counted from 0. Shape `(points)`."""
        x, y, z = place.x, place.y, place.z
        u, v, w = x / HALF_WIDTH, y / HALF_WIDTH, np.full_like(x, z / HALF_WIDTH)
        smooth = self.shim @ np.stack([np.ones_like(x), u, v, w, u * v, u * u - v * v]) + 11.0 * self.df(x, y, z)
        lobe = np.exp(1.8 * (np.cos(place.angle - self.edge_angle[limb]) - 1.0))
        edge = self.edge[limb] * lobe * np.exp(-place.below_skin / (13 * MM))
        gas = self.gas / (1.0 + place.from_gas / GAS_REACH) ** 3
        return squashed(smooth + edge + gas, -self.most_df, self.most_df)

    def efficacy(self, x: Double, y: Double, z: float) -> Double:
        """Relative B1+ at points. Shape `(points)`."""
        u, v = x / HALF_WIDTH, y / HALF_WIDTH
        value = self.shading @ np.stack([np.ones_like(x), u, v, u * v, u * u + v * v, self.b1(x, y, z)])
        return squashed(value, LEAST_B1, MOST_B1)


def draw_fields(rng: np.random.Generator, n_limbs: int, *, trunk: bool) -> Fields:
    """Draw a person's fields.

    At 3 T, the wavelength in the body is about the width of the body. Of two limbs, one has a higher B1+ than the
    other, and the shading within each runs diagonally; a trunk has low B1+ in the middle and higher B1+ at two
    opposite corners.
    """
    sign = rng.choice([-1.0, 1.0])
    shim = rng.normal(0.0, [5.0, 14.0, 18.0, 40.0, 16.0, 14.0])
    df = random_waves(rng, 90 * MM, 260 * MM)
    edge = rng.uniform(40.0, 110.0, n_limbs) * rng.choice([-1.0, 1.0], n_limbs, p=[0.25, 0.75])
    edge_angle = np.pi / 2 + rng.normal(0.0, 0.7, n_limbs)
    base, tilt, slope = rng.uniform(0.66, 0.74), sign * rng.uniform(0.04, 0.12), rng.normal(0.0, 0.08)
    shading = [base, tilt, slope, 0.6 * sign, 0.0, 0.07]
    if trunk:
        shading = [base - 0.08, 0.5 * tilt, 0.5 * slope, 0.5 * sign, 0.22, 0.07]
    return Fields(
        shim=shim,
        df=df,
        edge=edge,
        edge_angle=edge_angle,
        gas=rng.uniform(40.0, 110.0) * rng.choice([-1.0, 1.0]) if trunk else 0.0,
        most_df=MOST_TRUNK_DF if trunk else MOST_DF,
        shading=np.array(shading),
        b1=random_waves(rng, 110 * MM, 260 * MM),
    )
