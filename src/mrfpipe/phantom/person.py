"""A person, in one region: limbs or trunk, tissue and fields, all drawn from a seed."""

from dataclasses import dataclass, replace

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.phantom.disease import LimbTissue, Traits, draw_severity, draw_tissue
from mrfpipe.phantom.fields import Fields, draw_fields
from mrfpipe.phantom.limb import Limb
from mrfpipe.phantom.region import Region
from mrfpipe.phantom.template import MM, Bone, Muscle, Point, Template
from mrfpipe.phantom.waves import random_waves

WIDEST = 338 * MM
"""Largest width of a body in the field of view that bodies are drawn for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Person:
    """What a phantom of a person is made from."""

    limbs: tuple[Limb, ...]
    """The right and the left limb, or the trunk alone."""
    tissues: tuple[LimbTissue, ...]
    """Tissue of each of them."""
    fields: Fields
    """Off-resonance and relative B1+."""


def draw_person(region: Region, seed: int, traits: Traits | None = None) -> Person:
    """Draw a person: what both sides share, then each side, then the fields.

    Parameters are those of `mrfpipe.phantom.anatomy.draw`.
    """
    shape, disease, right, left, field = np.random.default_rng(seed).spawn(5)
    template = vary_template(shape, region.template, 0.9 * region.variety)
    size, fat = shape.uniform(*region.size), np.exp(shape.uniform(*np.log(region.fat)))
    outline = _near(shape, np.array(region.outline), 0.014 * region.variety)
    fat_outline = _near(shape, np.array(region.fat_outline), 0.10 * region.variety)
    severity, traits = draw_severity(disease, template, region.patterns, traits)
    limbs, tissues = [], []
    for medial, rng in ((1, right), (-1, left)) if region.paired else ((1, right),):
        own = np.clip(severity + rng.normal(0.0, 0.07, severity.size) * (severity > 0.1), 0.0, 1.0)
        limb = _draw_limb(
            rng,
            region,
            template,
            medial=medial,
            size=size * traits.growth,
            fat=fat * traits.growth * traits.fatness,
            outline=outline,
            fat_outline=fat_outline,
            atrophy=0.25 * own * rng.random(own.size),
        )
        limbs.append(limb)
        tissues.append(draw_tissue(rng, own, traits))
    gap = shape.uniform(5 * MM, 25 * MM)
    shift = shape.normal(0.0, 3 * MM, 3)
    placed = _side_by_side(limbs, gap, shift) if region.paired else _in_the_middle(limbs[0], shift)
    return Person(limbs=placed, tissues=tuple(tissues), fields=draw_fields(field, len(placed), trunk=not region.paired))


def vary_template(rng: np.random.Generator, template: Template, amount: float) -> Template:
    """Randomly move and resize the parts of a template; an amount of 1 is the variation between people."""

    def near(point: Point, spread: float) -> Point:
        return float(point[0] + rng.normal(0.0, spread)), float(point[1] + rng.normal(0.0, spread))

    def muscle(m: Muscle) -> Muscle:
        move = near((0.0, 0.0), 0.025 * amount)
        path = tuple(near((u + move[0], v + move[1]), 0.012 * amount) for u, v in m.path)
        return replace(m, path=path, radius=m.radius * float(np.exp(rng.normal(0.0, 0.10 * amount))))

    def bone(b: Bone) -> Bone:
        move = near((0.0, 0.0), 0.015 * amount)
        radius = b.radius * float(np.exp(rng.normal(0.0, 0.04 * amount)))
        return replace(b, path=tuple((u + move[0], v + move[1]) for u, v in b.path), radius=radius)

    return replace(
        template,
        muscles=tuple(muscle(m) for m in template.muscles),
        tubes=tuple(replace(t, centre=near(t.centre, 0.015 * amount * t.looseness)) for t in template.tubes),
        bones=tuple(bone(b) for b in template.bones),
    )


def _near(rng: np.random.Generator, harmonics: Double, spread: float) -> Double:
    """Vary the first three orders; the higher ones keep the characteristic shape of the region."""
    varied = harmonics.copy()
    varied[:3] += rng.normal(0.0, spread, varied[:3].shape)
    return varied


def _draw_limb(
    rng: np.random.Generator,
    region: Region,
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
        template=vary_template(rng, template, 0.5 * region.variety),
        medial=medial,
        inner=0.0,
        height=0.0,
        rotation=np.deg2rad(rng.normal(*region.rotation)),
        size=size * np.exp(rng.normal(0.0, 0.02)),
        taper=rng.uniform(*region.taper),
        outline=_near(rng, outline, 0.008 * region.variety),
        fat=fat * np.exp(rng.normal(0.0, 0.04)),
        fat_outline=_near(rng, fat_outline, 0.05 * region.variety),
        warps=(
            *(random_waves(rng, 60 * MM, 120 * MM) for _ in range(2)),
            *(random_waves(rng, 18 * MM, 40 * MM) for _ in range(2)),
        ),
        warp_sizes=(0.026 * region.variety, 0.014 * region.variety),
        septa=random_waves(rng, 15 * MM, 50 * MM),
        atrophy=atrophy,
    )


def _side_by_side(limbs: list[Limb], gap: float, shift: Double) -> tuple[Limb, ...]:
    """Place a right and a left limb beside each other, both made smaller if they are too wide for the field of view."""
    widest = sum(sum(limb.extent(np.inf)[:2]) for limb in limbs) + gap + 2 * abs(shift[0])
    smaller = min(1.0, WIDEST / widest)
    return tuple(
        replace(
            limb,
            size=limb.size * smaller,
            fat=limb.fat * smaller,
            inner=float(shift[0] - limb.medial * smaller * gap / 2),
            height=float(height),
        )
        for limb, height in zip(limbs, shift[1:], strict=True)
    )


def _in_the_middle(trunk: Limb, shift: Double) -> tuple[Limb, ...]:
    """Place a trunk in the middle of the field of view, made smaller if it is too large."""
    extents = [trunk.extent(z) for z in (-np.inf, np.inf)]
    widest = max(2 * max(extent) for extent in extents) + 2 * float(np.abs(shift[:2]).max())
    smaller = min(1.0, WIDEST / widest)
    placed = replace(trunk, size=trunk.size * smaller, fat=trunk.fat * smaller)
    return (replace(placed, inner=float(shift[0]) + placed.extent(0.0)[0], height=float(shift[1])),)
