"""One person's limb: the template of a cross-section, deformed to an individual shape and evaluated at points."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mrfpipe.arrays import Bool, Double, Int
from mrfpipe.phantom.template import MM, Bone, Muscle, Point, Template, Tube
from mrfpipe.phantom.waves import Waves

DRIFT_LENGTH = 100 * MM
"""Length along the limb over which a template's parts shift and grow; farther out, they stay constant."""
THIN_SEPTUM, THICK_SEPTUM = 0.25 * MM, 0.75 * MM
"""Half the thickness of the fat between muscles of the same group, and of different groups."""
THINNEST_FAT = 2.5 * MM
REACH = 3.0 * MM
"""A muscle extends this far beyond its nominal radius, to fill the compartment; farther from all muscles is fat."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Limb:
    """A limb along z. Lengths in m; angles from medial towards posterior, about the compartment's centre."""

    template: Template
    """The parts of this limb: those of an atlas, each moved and resized a little."""
    medial: int
    """+1 if medial is towards +x in the image (the patient's right limb), -1 if towards -x."""
    inner: float
    """Position along x of the most medial point of the skin, the same in all slices."""
    height: float
    """Position along y of the centre of the muscle compartment."""
    rotation: float
    """Rotation of the limb about its axis, in rad."""
    size: float
    """Mean radius of the muscle compartment at z = 0."""
    taper: float
    """Relative growth of that radius over `DRIFT_LENGTH` towards the trunk."""
    outline: Double
    """Relative cosine and sine parts of the fascia's radius, from the second harmonic on. Shape `(harmonics, 2)`."""
    fat: float
    """Mean thickness of the subcutaneous fat."""
    fat_outline: Double
    """As `outline`, for the fat's thickness, from the first harmonic on. Shape `(harmonics, 2)`."""
    warps: tuple[Waves, ...]
    """Displacements within the compartment: coarse along both axes, then fine along both."""
    warp_sizes: tuple[float, float]
    """Standard deviation of the coarse and the fine displacement, in units of the compartment's radius."""
    septa: Waves
    """Spatial variation of the thickness of the septa."""
    atrophy: Double
    """Relative loss of radius of every muscle. Shape `(muscles)`."""

    def centre(self, z: float) -> Point:
        """Centre (x, y) of the muscle compartment."""
        return self.inner - self.medial * self.extent(z)[0], self.height

    def extent(self, z: float) -> tuple[float, float, float]:
        """Distances from the centre to the furthest skin: medial, lateral, and anterior or posterior."""
        angle = np.linspace(-np.pi, np.pi, 361)
        skin = self.fascia_radius(angle, z) + self.fat_thickness(angle, z)
        along, across = skin * np.cos(angle + self.rotation), skin * np.sin(angle + self.rotation)
        return float(along.max()), float(-along.min()), float(np.abs(across).max())

    def fascia_radius(self, angle: Double, z: float) -> Double:
        """Radius of the deep fascia at angles about the axis."""
        return self.size * (1 + self.taper * _drift(z)) * (1 + _harmonics(self.outline, angle, 2))

    def fat_thickness(self, angle: Double, z: float) -> Double:
        """Thickness of skin and subcutaneous fat at angles about the axis."""
        return self.fat * (1 + 0.5 * self.taper * _drift(z)) * np.exp(_harmonics(self.fat_outline, angle, 1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Section:
    """Position of points of a slice within a limb. All lengths in m, of shape `(points)`."""

    x: Double
    """Position to the patient's left, from the isocentre."""
    y: Double
    """Position to posterior, from the isocentre."""
    z: float
    """Position of the slice, towards the trunk."""
    below_skin: Double
    """Depth below the skin's surface; negative outside the limb."""
    below_fascia: Double
    """Depth below the deep fascia; negative in the subcutaneous fat and outside."""
    angle: Double
    """Angle about the limb's axis, from medial towards posterior, in rad."""
    bone: Int
    """Number of the nearest bone in the template."""
    from_bone: Double
    """Distance from that bone's surface; negative within it."""
    from_marrow: Double
    """Distance from the surface of the marrow cavity; negative within it."""
    muscle: Int
    """Number of the nearest muscle in the template."""
    from_septum: Double
    """Distance from the middle of the nearest septum."""
    septum: Double
    """Half the thickness of that septum."""
    into_muscle: Double
    """Depth below the outermost extent of the muscle; negative in the fat beyond all muscles."""
    tubes: Double
    """Distance from the surface of each vessel, nerve and organ; negative within. Shape `(tubes, points)`."""
    from_gas: Double
    """Distance from the surface of the nearest gas, infinite without any; negative within."""


def _drift(z: float) -> float:
    """Relative position of z along the limb, from -1 to 1, with 0 in the middle."""
    return float(np.tanh(z / DRIFT_LENGTH))


def _harmonics(parts: Double, angle: Double, first: int) -> Double:
    value = np.zeros_like(angle)
    for order, (cosine, sine) in enumerate(parts, first):
        value += cosine * np.cos(order * angle) + sine * np.sin(order * angle)
    return value


def section(limb: Limb, x: Double, y: Double, z: float) -> Section:
    """Compute where points `(points)` lie within a limb; positions are as in `Section`."""
    centre = limb.centre(z)
    towards_medial, towards_back = limb.medial * (x - centre[0]), y - centre[1]
    cosine, sine = np.cos(limb.rotation), np.sin(limb.rotation)
    medial, posterior = cosine * towards_medial + sine * towards_back, cosine * towards_back - sine * towards_medial
    radius, angle = np.hypot(medial, posterior), np.arctan2(posterior, medial)
    fascia = limb.fascia_radius(angle, z)
    unit = limb.size * (1 + limb.taper * _drift(z))
    coarse, fine = limb.warp_sizes
    nominal = 1 + _harmonics(np.array(limb.template.outline), angle, 2)
    u, v = (
        position * nominal / fascia + coarse * limb.warps[axis](x, y, z) + fine * limb.warps[axis + 2](x, y, z)
        for axis, position in enumerate((medial, posterior))
    )
    bone, from_bone, from_marrow = _bones(limb.template, medial / unit, posterior / unit)
    tubes = np.stack([_tube_distance(tube, u, v, z) * unit for tube in limb.template.tubes])
    gas = [number for number, tube in enumerate(limb.template.tubes) if tube.kind == "gas"]
    muscle, from_septum, septum, into_muscle = _muscles(limb, u, v, z, unit)
    below_skin = fascia + limb.fat_thickness(angle, z) - radius
    return Section(
        x=x,
        y=y,
        z=z,
        below_skin=below_skin,
        below_fascia=np.minimum((1.0 - np.hypot(u, v) / nominal) * fascia, below_skin - THINNEST_FAT),
        angle=angle,
        bone=bone,
        from_bone=from_bone * unit,
        from_marrow=from_marrow * unit,
        muscle=muscle,
        from_septum=from_septum,
        septum=septum * np.exp(0.6 * limb.septa(x, y, z)),
        into_muscle=into_muscle,
        tubes=tubes,
        from_gas=tubes[gas].min(axis=0, initial=np.inf),
    )


def _muscles(limb: Limb, u: Double, v: Double, z: float, unit: float) -> tuple[Int, Double, Double, Double]:
    """Nearest muscle, distance from its septum to the next, half that septum's thickness, depth below its extent."""
    muscles = limb.template.muscles
    beyond = np.stack([_beyond_muscle(m, u, v, z, 1.0 - loss) for m, loss in zip(muscles, limb.atrophy, strict=True)])
    first = np.argmin(beyond, axis=0)
    groups = np.unique([m.group for m in muscles], return_inverse=True)[1]
    points = np.arange(u.size)
    nearest = beyond[first, points]
    beyond[first, points] = np.inf
    second = np.argmin(beyond, axis=0)
    same = groups[first] == groups[second]
    into_muscle = REACH - nearest * unit - 12 * MM * limb.atrophy[first]
    return first, (beyond[second, points] - nearest) * unit / 2, np.where(same, THIN_SEPTUM, THICK_SEPTUM), into_muscle


def _beyond_muscle(muscle: Muscle, u: Double, v: Double, z: float, size: float) -> Double:
    """Distance from a muscle's path minus its radius, in units of the compartment's radius."""
    drift = _drift(z)
    distance = np.hypot(*_off_path(np.array(muscle.path) + drift * np.array(muscle.shift), u, v))
    return distance - size * (muscle.radius + drift * muscle.growth)


def _off_path(path: Double, u: Double, v: Double) -> tuple[Double, Double]:
    """Vector to points from the nearest place on a path of one point or more."""
    du, dv = u - path[0, 0], v - path[0, 1]
    for start, end in pairwise(path):
        along = end - start
        share = np.clip(((u - start[0]) * along[0] + (v - start[1]) * along[1]) / (along @ along), 0.0, 1.0)
        other_u, other_v = u - start[0] - share * along[0], v - start[1] - share * along[1]
        nearer = np.hypot(other_u, other_v) < np.hypot(du, dv)
        du, dv = np.where(nearer, other_u, du), np.where(nearer, other_v, dv)
    return du, dv


def _bones(template: Template, medial: Double, posterior: Double) -> tuple[Int, Double, Double]:
    """Nearest bone, distance outside it and outside its marrow, in units of the compartment's radius."""
    distances = np.stack([_bone_distance(bone, medial, posterior) for bone in template.bones])
    nearest = np.argmin(distances[:, 0], axis=0)
    points = np.arange(medial.size)
    return nearest, distances[nearest, 0, points], distances[nearest, 1, points]


def _bone_distance(bone: Bone, medial: Double, posterior: Double) -> Double:
    """Distance outside a bone and outside its marrow. Shape `(2, points)`.

    The bone is round except for its ridge: the linea aspera of a femur, the anterior crest of a tibia.
    """
    du, dv = _off_path(np.array(bone.path), medial, posterior)
    radius, angle = np.hypot(du, dv), np.arctan2(dv, du)
    away = np.arctan2(np.sin(angle - bone.ridge_angle), np.cos(angle - bone.ridge_angle))
    ridge = bone.ridge * np.exp(-((away / 0.35) ** 2))
    outer = bone.radius * (1 + 0.05 * np.cos(2 * angle) + ridge)
    inner = bone.radius * bone.marrow_share * (1 + 0.06 * np.sin(angle + 1) - 0.3 * ridge)
    return np.stack([radius - outer, radius - inner])


def _tube_distance(tube: Tube, u: Double, v: Double, z: float) -> Double:
    drift = _drift(z)
    du, dv = u - tube.centre[0] - drift * tube.shift[0], v - tube.centre[1] - drift * tube.shift[1]
    width, height = tube.radii
    return (np.hypot(du / width, dv / height) - 1.0) * min(width, height)


def inside(section: Section) -> Bool:
    """Return which points give a signal: those below the skin except cortical bone and gas. Shape `(points)`."""
    cortex = (section.from_bone < 0) & (section.from_marrow > 0)
    visible: Bool = (section.below_skin > 0) & ~cortex & (section.from_gas > 0)
    return visible
