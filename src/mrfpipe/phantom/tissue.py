"""Tissue in every voxel of a limb: tissues are painted over each other, by the share of the voxel that each occupies.

A voxel is a mixture of tissues. The quantities that are mixed are additive: water, fat, and water times its T1.
"""

import numpy as np

from mrfpipe.arrays import Byte, Double, Int
from mrfpipe.phantom.disease import LimbTissue, MuscleState
from mrfpipe.phantom.limb import Section
from mrfpipe.phantom.tables import load_table
from mrfpipe.phantom.template import MM, Template
from mrfpipe.phantom.waves import squashed

Value = float | Double
EVERYWHERE = slice(None)

LEAST_FF, MOST_FF = 0.004, 0.995
LEAST_T1_WATER, MOST_T1_WATER = 0.56, 1.95
LEAST_T1_FAT, MOST_T1_FAT = 0.25, 0.38
SKIN = 1.3 * MM
FASCIA = 0.8 * MM
SHEATH = 1.5 * MM
BLUR = 0.4
"""Standard deviation, in voxels, of the blur of fine texture by the size of a voxel."""
TUBES: dict[str, tuple[float, float, float]] = load_table("tables/tubes")
"""Proton density, fat fraction and T1 of water in s of vessels, nerves and organs."""


def coverage(depth: Double, voxel: float) -> Double:
    """Share of a voxel below a surface, at a depth below it: 0 well above, 1 well below, smooth in between."""
    share = np.clip(depth / (1.4 * voxel) + 0.5, 0.0, 1.0)
    smooth: Double = share * share * (3.0 - 2.0 * share)
    return smooth


class Mixture:
    """Tissues painted over each other, by the share of each voxel that they occupy."""

    def __init__(self, n_points: int) -> None:
        self.amounts = np.zeros((3, n_points))

    def paint(self, share: Double, at: Int | slice = EVERYWHERE, *, density: Value, ff: Value, t1w: Value) -> None:
        """Replace a share of the tissue at these points by another tissue."""
        fat = density * np.clip(ff, LEAST_FF, MOST_FF)
        water = density - fat
        for amount, tissue in zip(self.amounts, (water, fat, water * t1w), strict=True):
            amount[at] += share * (tissue - amount[at])

    def values(self) -> dict[str, Double]:
        """Proton density `m0`, fat fraction `FF` and T1 of water `T1H2O`; shape `(points)` each."""
        water, fat, water_t1 = self.amounts
        return {
            "m0": water + fat,
            "FF": fat / (water + fat),
            "T1H2O": np.clip(water_t1 / water, LEAST_T1_WATER, MOST_T1_WATER),
        }


def fill(tissue: LimbTissue, template: Template, place: Section, voxel: float) -> tuple[dict[str, Double], Byte]:
    """Fill a limb's section with tissue; surfaces are blurred by partial volume for a voxel size in m.

    Return the values of all maps except the fields, by name, in SI units, with proton density `m0`, and the number of
    the muscle, from 1, or 0. Shape `(points)` each.
    """
    mixture = Mixture(place.x.size)
    water = tissue.water(place.x, place.y, place.z)
    _paint_fat(mixture, tissue, place, voxel, water)
    _paint_marrow(mixture, template, place, water)
    share = _muscle_share(place, voxel)
    for number, muscle in enumerate(tissue.muscles):
        _paint_muscle(mixture, muscle, place, voxel, share * (place.muscle == number), water)
    _paint_tubes(mixture, template, place, voxel)
    _paint_covers(mixture, place, voxel)
    values = mixture.values()
    values["m0"] = np.clip(values["m0"] + 0.015 * tissue.density(place.x, place.y, place.z), 0.7, 1.0)
    values["T1fat"] = _t1_fat(tissue, place)
    free = (place.tubes > SHEATH).all(axis=0) & (place.from_bone > 0)
    return values, np.where((share > 0.5) & free, place.muscle + 1, 0).astype(np.uint8)


def _t1_fat(tissue: LimbTissue, place: Section) -> Double:
    """T1 of fat, which varies slowly and is longer in the muscle compartment than below the skin."""
    within = coverage(place.below_fascia, 12 * MM)
    slow = tissue.fat(place.x, place.y, place.z)
    return squashed(0.285 + 0.03 * within + 0.022 * slow, LEAST_T1_FAT, MOST_T1_FAT)


def _paint_fat(mixture: Mixture, tissue: LimbTissue, place: Section, voxel: float, water: Double) -> None:
    """Subcutaneous fat with its strands, and the fat between the muscles."""
    strands = np.exp(-((tissue.strands(place.x, place.y, place.z, BLUR * voxel) / 0.12) ** 2))
    ff = 0.978 + 0.006 * water - 0.022 * strands
    everywhere = np.ones_like(water)
    mixture.paint(everywhere, density=0.91, ff=np.maximum(ff, 0.95), t1w=0.82 + 0.065 * water)
    within = coverage(place.below_fascia, voxel)
    mixture.paint(within, density=0.90, ff=0.93 + 0.01 * water, t1w=1.05 + 0.06 * water)


def _paint_marrow(mixture: Mixture, template: Template, place: Section, water: Double) -> None:
    """Marrow, yellow or red."""
    share = (place.from_marrow < 0).astype(np.float64)
    ff = np.array([bone.marrow_ff for bone in template.bones])[place.bone]
    mixture.paint(share, density=0.86, ff=ff + 0.24 * (1.0 - ff) * water, t1w=1.10 + 0.08 * water)


def _muscle_share(place: Section, voxel: float) -> Double:
    """Share of muscle in every voxel: without septa, fat beyond the muscles, fascia and bone."""
    septum = coverage(place.from_septum + place.septum, voxel) - coverage(place.from_septum - place.septum, voxel)
    share: Double = (1.0 - septum) * coverage(place.into_muscle, voxel)
    share *= coverage(place.below_fascia - FASCIA, voxel) * coverage(place.from_bone - 0.5 * MM, voxel)
    return share


def _paint_muscle(
    mixture: Mixture, muscle: MuscleState, place: Section, voxel: float, share: Double, water: Double
) -> None:
    """One muscle: streaks and patches of fat, and water whose T1 is raised by oedema, away from the fat."""
    at = np.flatnonzero(share)
    x, y = place.x[at], place.y[at]
    streaks, patches = muscle.streaks(x, y, place.z, BLUR * voxel), muscle.patches(x, y, place.z, BLUR * voxel)
    logit = np.log(muscle.ff / (1 - muscle.ff)) + muscle.streakiness * streaks + muscle.patchiness * patches
    oedema = np.clip(0.3 + 0.5 * water[at] - 0.25 * patches, 0.0, 1.0)
    mixture.paint(
        share[at],
        at,
        density=0.82,
        ff=1 / (1 + np.exp(-logit)),
        t1w=squashed(muscle.t1w + 0.02 * patches + 0.012 * streaks + muscle.oedema * oedema, 1.0, 1.8),
    )


def _paint_tubes(mixture: Mixture, template: Template, place: Section, voxel: float) -> None:
    """Vessels, nerves and organs, each in its sheath of fat."""
    beside_bone = (place.from_bone > 0).astype(np.float64)
    sheath = beside_bone * coverage(SHEATH - place.tubes.min(axis=0), voxel)
    mixture.paint(sheath, density=0.90, ff=0.92, t1w=1.05)
    for tube, distance in zip(template.tubes, place.tubes, strict=True):
        if tube.kind != "gas":
            density, ff, t1w = TUBES[tube.kind]
            mixture.paint(beside_bone * coverage(-distance, voxel), density=density, ff=ff, t1w=t1w)


def _paint_covers(mixture: Mixture, place: Section, voxel: float) -> None:
    """Deep fascia, thicker on the lateral side (iliotibial tract), and skin."""
    thickness = FASCIA * (1.0 + 1.2 * np.exp(2.5 * (-np.cos(place.angle) - 1.0)))
    fascia = coverage(place.below_fascia, voxel) - coverage(place.below_fascia - thickness, voxel)
    mixture.paint(fascia, density=0.75, ff=0.30, t1w=1.0)
    skin = 1.0 - coverage(place.below_skin - SKIN, voxel)
    mixture.paint(skin, density=0.77, ff=0.22, t1w=0.95)
