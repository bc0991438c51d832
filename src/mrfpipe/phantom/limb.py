"""One person's limb: the template of its cross-section, bent to an individual shape, asked for at points in a slice."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from mrfpipe.arrays import Bool, Double, Int
from mrfpipe.phantom.template import MM, Muscle, Point, Template, Tube
from mrfpipe.phantom.waves import Waves, random_waves

DRIFT_LENGTH = 100 * MM
"""Length along the limb over which a template's parts make their shifts and growths; further out they stay."""
THIN_SEPTUM, THICK_SEPTUM = 0.25 * MM, 0.75 * MM
"""Half the fat between muscles of one group, and of two."""
THINNEST_FAT = 2.5 * MM
REACH = 3.0 * MM
"""A muscle reaches so far beyond its nominal radius to fill the compartment; what is further from all is fat."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Limb:
    """A limb along z. Lengths in m; angles from medial towards posterior, about the compartment's centre."""

    template: Template
    """The limb's own parts: those of an atlas, each moved and resized a little."""
    medial: int
    """+1 if medial is towards +x in the image (the patient's right limb), -1 if towards -x."""
    inner: float
    """Position along x of the skin where the limb is nearest to the body's middle, the same in all slices."""
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
    """How thick the septa are from place to place."""
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
    """Where points of a slice lie within a limb. All lengths in m, of shape `(points)`."""

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
    from_bone: Double
    """Distance from the bone's surface; negative within it."""
    from_marrow: Double
    """Distance from the surface of the marrow cavity; negative within it."""
    muscle: Int
    """Number of the nearest muscle in the template."""
    from_septum: Double
    """Distance from the middle of the nearest septum."""
    septum: Double
    """Half the thickness of that septum."""
    into_muscle: Double
    """Depth below the muscle's furthest reach; negative in the fat that no muscle reaches."""
    tubes: Double
    """Distance from the surface of each vessel and nerve; negative within. Shape `(tubes, points)`."""


def _drift(z: float) -> float:
    """How far z has gone from the middle of the limb, -1 to 1."""
    return float(np.tanh(z / DRIFT_LENGTH))


def _harmonics(parts: Double, angle: Double, first: int) -> Double:
    value = np.zeros_like(angle)
    for order, (cosine, sine) in enumerate(parts, first):
        value += cosine * np.cos(order * angle) + sine * np.sin(order * angle)
    return value


def section(limb: Limb, x: Double, y: Double, z: float) -> Section:
    """Find where points lie within a limb.

    Parameters
    ----------
    limb
        The limb.
    x, y
        Positions in m from the isocentre, to the patient's left and to posterior. Shape `(points)`.
    z
        Position of the slice in m, towards the trunk.
    """
    centre = limb.centre(z)
    towards_medial, towards_back = limb.medial * (x - centre[0]), y - centre[1]
    cosine, sine = np.cos(limb.rotation), np.sin(limb.rotation)
    medial, posterior = cosine * towards_medial + sine * towards_back, cosine * towards_back - sine * towards_medial
    radius, angle = np.hypot(medial, posterior), np.arctan2(posterior, medial)
    fascia = limb.fascia_radius(angle, z)
    unit = limb.size * (1 + limb.taper * _drift(z))
    coarse, fine = limb.warp_sizes
    u, v = (
        position / fascia + coarse * limb.warps[axis](x, y, z) + fine * limb.warps[axis + 2](x, y, z)
        for axis, position in enumerate((medial, posterior))
    )
    bone = _bone_radius(limb.template, medial / unit, posterior / unit)
    muscle, from_septum, septum, into_muscle = _muscles(limb, u, v, z, unit)
    below_skin = fascia + limb.fat_thickness(angle, z) - radius
    return Section(
        x=x,
        y=y,
        z=z,
        below_skin=below_skin,
        below_fascia=np.minimum((1.0 - np.hypot(u, v)) * fascia, below_skin - THINNEST_FAT),
        angle=angle,
        from_bone=bone[0] * unit,
        from_marrow=bone[1] * unit,
        muscle=muscle,
        from_septum=from_septum,
        septum=septum * np.exp(0.6 * limb.septa(x, y, z)),
        into_muscle=into_muscle,
        tubes=np.stack([_tube_distance(tube, u, v, z) * unit for tube in limb.template.tubes]),
    )


def _muscles(limb: Limb, u: Double, v: Double, z: float, unit: float) -> tuple[Int, Double, Double, Double]:
    """Nearest muscle, distance from the septum to the next, half that septum's thickness, depth below its reach."""
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
    """Distance from a muscle's path less its radius, in units of the compartment's radius."""
    drift = _drift(z)
    path = np.array(muscle.path) + drift * np.array(muscle.shift)
    distance = np.full(u.size, np.inf)
    for start, end in pairwise(path):
        along = end - start
        share = np.clip(((u - start[0]) * along[0] + (v - start[1]) * along[1]) / (along @ along), 0.0, 1.0)
        distance = np.minimum(distance, np.hypot(u - start[0] - share * along[0], v - start[1] - share * along[1]))
    return distance - size * (muscle.radius + drift * muscle.growth)


def _bone_radius(template: Template, medial: Double, posterior: Double) -> tuple[Double, Double]:
    """Distance outside the bone and outside its marrow, in units of the compartment's radius.

    The bone is round, with a ridge towards posterior where the adductors insert (the linea aspera of the femur).
    """
    du, dv = medial - template.bone_centre[0], posterior - template.bone_centre[1]
    radius, angle = np.hypot(du, dv), np.arctan2(dv, du)
    ridge = 0.16 * np.exp(-(((angle - np.pi / 2) / 0.35) ** 2))
    bone = template.bone_radius * (1 + 0.05 * np.cos(2 * angle) + ridge)
    marrow = template.bone_radius * template.marrow_share * (1 + 0.06 * np.sin(angle + 1) - 0.3 * ridge)
    return radius - bone, radius - marrow


def _tube_distance(tube: Tube, u: Double, v: Double, z: float) -> Double:
    drift = _drift(z)
    du, dv = u - tube.centre[0] - drift * tube.shift[0], v - tube.centre[1] - drift * tube.shift[1]
    width, height = tube.radii
    return (np.hypot(du / width, dv / height) - 1.0) * min(width, height)


def draw_limb(
    rng: np.random.Generator,
    template: Template,
    *,
    medial: int,
    size: float,
    fat: float,
    outline: Double,
    fat_outline: Double,
    atrophy: Double,
) -> Limb:
    """Draw one of a person's limbs, with the small differences between left and right."""
    return Limb(
        template=vary_template(rng, template, 0.5),
        medial=medial,
        inner=0.0,
        height=0.0,
        rotation=np.deg2rad(rng.normal(6.0, 5.0)),
        size=size * np.exp(rng.normal(0.0, 0.02)),
        taper=rng.uniform(0.08, 0.16),
        outline=outline + rng.normal(0.0, 0.008, outline.shape),
        fat=fat * np.exp(rng.normal(0.0, 0.04)),
        fat_outline=fat_outline + rng.normal(0.0, 0.05, fat_outline.shape),
        warps=(
            *(random_waves(rng, 60 * MM, 120 * MM) for _ in range(2)),
            *(random_waves(rng, 18 * MM, 40 * MM) for _ in range(2)),
        ),
        warp_sizes=(0.026, 0.014),
        septa=random_waves(rng, 15 * MM, 50 * MM),
        atrophy=atrophy,
    )


def vary_template(rng: np.random.Generator, template: Template, amount: float) -> Template:
    """Move and resize the parts of a template; an amount of 1 is the difference between two people."""

    def near(point: Point, spread: float) -> Point:
        return float(point[0] + rng.normal(0.0, spread)), float(point[1] + rng.normal(0.0, spread))

    def muscle(m: Muscle) -> Muscle:
        move = near((0.0, 0.0), 0.025 * amount)
        path = tuple(near((u + move[0], v + move[1]), 0.012 * amount) for u, v in m.path)
        return replace(m, path=path, radius=m.radius * float(np.exp(rng.normal(0.0, 0.10 * amount))))

    return replace(
        template,
        muscles=tuple(muscle(m) for m in template.muscles),
        tubes=tuple(replace(t, centre=near(t.centre, 0.015 * amount)) for t in template.tubes),
        bone_centre=near(template.bone_centre, 0.015 * amount),
        bone_radius=template.bone_radius * float(np.exp(rng.normal(0.0, 0.04 * amount))),
    )


def inside(section: Section) -> Bool:
    """Tell which points give a signal: those below the skin but for cortical bone. Shape `(points)`."""
    visible: Bool = (section.below_skin > 0) & ~((section.from_bone < 0) & (section.from_marrow > 0))
    return visible
