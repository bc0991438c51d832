"""Off-resonance and flip angle efficacy over the field of view: both smooth, both a person's own."""

from dataclasses import dataclass

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.phantom.limb import Section
from mrfpipe.phantom.template import MM
from mrfpipe.phantom.waves import Waves, random_waves, squashed

MOST_DF = 80.0
LEAST_B1, MOST_B1 = 0.40, 1.0
HALF_WIDTH = 175 * MM
"""Length in which the fields' polynomials are written."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fields:
    """A person's fields, as functions of position in m from the isocentre."""

    shim: Double
    """Off-resonance in Hz of 1, x, y, z, x y, x x - y y, over `HALF_WIDTH`. Shape `(6)`."""
    df: Waves
    """Off-resonance that the shim leaves."""
    edge: Double
    """Off-resonance in Hz below the skin, where it is greatest. Shape `(limbs)`."""
    edge_angle: Double
    """Where around each limb that is, in rad. Shape `(limbs)`."""
    shading: Double
    """Flip angle efficacy of 1, x, y, x y, and its spread by waves. Shape `(5)`."""
    b1: Waves
    """Standing waves of the transmit field."""

    def off_resonance(self, limb: int, place: Section) -> Double:
        """Off-resonance in Hz at points of a limb, counted from 0. Shape `(points)`."""
        x, y, z = place.x, place.y, place.z
        u, v, w = x / HALF_WIDTH, y / HALF_WIDTH, np.full_like(x, z / HALF_WIDTH)
        smooth = self.shim @ np.stack([np.ones_like(x), u, v, w, u * v, u * u - v * v]) + 11.0 * self.df(x, y, z)
        lobe = np.exp(1.8 * (np.cos(place.angle - self.edge_angle[limb]) - 1.0))
        edge = self.edge[limb] * lobe * np.exp(-place.below_skin / (13 * MM))
        return squashed(smooth + edge, -MOST_DF, MOST_DF)

    def efficacy(self, x: Double, y: Double, z: float) -> Double:
        """Flip angle efficacy at points. Shape `(points)`."""
        u, v = x / HALF_WIDTH, y / HALF_WIDTH
        value = self.shading @ np.stack([np.ones_like(x), u, v, u * v, self.b1(x, y, z)])
        return squashed(value, LEAST_B1, MOST_B1)


def draw_fields(rng: np.random.Generator, n_limbs: int) -> Fields:
    """Draw a person's fields.

    At 3 T the wave in the body is about as long as the body is wide: one limb is brighter than the other, and within
    both the shading runs crosswise.
    """
    sign = rng.choice([-1.0, 1.0])
    return Fields(
        shim=rng.normal(0.0, [5.0, 14.0, 18.0, 40.0, 16.0, 14.0]),
        df=random_waves(rng, 90 * MM, 260 * MM),
        edge=rng.uniform(40.0, 110.0, n_limbs) * rng.choice([-1.0, 1.0], n_limbs, p=[0.25, 0.75]),
        edge_angle=np.pi / 2 + rng.normal(0.0, 0.7, n_limbs),
        shading=np.array(
            [rng.uniform(0.66, 0.74), sign * rng.uniform(0.04, 0.12), rng.normal(0.0, 0.08), 0.6 * sign, 0.07]
        ),
        b1=random_waves(rng, 110 * MM, 260 * MM),
    )
