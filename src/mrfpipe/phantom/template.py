"""The cross-section of a part of the body, as in an atlas: its parts and their positions.

Positions are (medial, posterior); in a trunk, (left, posterior). Their unit is the mean radius of the deep fascia. A
part may move, grow or shrink towards the head. A muscle is the region around a path: all points whose distance from the
path, minus the muscle's radius, is less than for any other muscle. `mrfpipe.phantom.limb` deforms this template to a
person's limb.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

MM = 1e-3

Point = tuple[float, float]
Harmonics = tuple[Point, ...]
"""Cosine and sine coefficients of a radius, relative to its mean, order by order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Muscle:
    """A muscle of a cross-section."""

    name: str
    """Name for display."""
    group: str
    """Group of muscles that lie close and are similarly affected by disease; between groups there is more fat."""
    path: tuple[Point, ...]
    """Line through the middle of the muscle."""
    radius: float
    """Half its thickness."""
    shift: Point = (0.0, 0.0)
    """How the path moves over 10 cm towards the head."""
    growth: float = 0.0
    """How the radius changes over 10 cm towards the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tube:
    """A vessel, nerve or hollow organ, an ellipse in a sheath of fat."""

    kind: str
    """One of `mrfpipe.phantom.tissue.TUBES`, or ``gas``, which gives no signal and disturbs the field around it."""
    centre: Point
    """Position of its centre."""
    radii: tuple[float, float]
    """Half its width and height."""
    shift: Point = (0.0, 0.0)
    """How the centre moves over 10 cm towards the head."""
    looseness: float = 1.0
    """Variation of its position between people, relative to that of a vessel; large for a bowel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bone:
    """A bone: a bent rod with a ridge along one side, of cortex around marrow."""

    path: tuple[Point, ...]
    """Line through its middle."""
    radius: float
    """Half its thickness."""
    marrow_share: float
    """Radius of the marrow cavity, relative to that of the bone."""
    ridge: float = 0.0
    """Height of the ridge, relative to the radius."""
    ridge_angle: float = np.pi / 2
    """Angle of the ridge, from medial towards posterior, in rad."""
    marrow_ff: float = 0.95
    """Fat fraction of the marrow: high in the limbs, lower in red marrow."""


Part = Muscle | Tube | Bone


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """All parts of a cross-section."""

    muscles: tuple[Muscle, ...]
    """In the order of their labels."""
    tubes: tuple[Tube, ...]
    """Vessels, nerves and organs; later ones are painted over earlier ones."""
    bones: tuple[Bone, ...]
    """In any order."""
    outline: Harmonics = ()
    """The deep fascia in these coordinates, from the second harmonic on; a circle if empty."""


def both_sides(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Parts of both halves of a trunk, from those of the left half."""
    left = tuple(parts)
    right = tuple(_mirrored(part) for part in left)
    return right + tuple(replace(part, name=f"left {part.name}") if isinstance(part, Muscle) else part for part in left)


def _mirrored(part: Part) -> Part:
    def across(point: Point) -> Point:
        return -point[0], point[1]

    if isinstance(part, Tube):
        return replace(part, centre=across(part.centre), shift=across(part.shift))
    path = tuple(map(across, part.path))
    if isinstance(part, Bone):
        return replace(part, path=path, ridge_angle=np.pi - part.ridge_angle)
    return replace(part, path=path, name=f"right {part.name}", shift=across(part.shift))


def outline_through(points: tuple[Point, ...], n_harmonics: int = 9) -> Harmonics:
    """Harmonics, from the second on, of a mirror-symmetric outline through these points of its left half.

    Points run from anterior to posterior and should be centred so that the outline has no first harmonic, which would
    shift it as a whole.
    """
    half = np.array(points)
    angle, radius = np.arctan2(half[:, 1], half[:, 0]), np.hypot(half[:, 0], half[:, 1])
    turn = np.linspace(-np.pi, np.pi, 720, endpoint=False)
    folded = np.arctan2(np.sin(turn), np.abs(np.cos(turn)))
    value = np.interp(folded, angle, radius)
    value /= value.mean()
    orders = range(2, n_harmonics + 1)
    soft = np.exp(-0.5 * (np.arange(2, n_harmonics + 1) / (0.8 * n_harmonics)) ** 2)
    return tuple(
        (float(2 * s * np.mean(value * np.cos(n * turn))), float(2 * s * np.mean(value * np.sin(n * turn))))
        for n, s in zip(orders, soft, strict=True)
    )
