"""Bodies drawn from a seed: every seed is another person, with other limbs, another disease and other fields.

Orientation is that of a patient on the back, seen from the feet: image columns run to the patient's left, rows to
posterior, slices towards the head. The right limb is on the left of the image.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from mrfpipe.arrays import Bool, Byte, Double, Float
from mrfpipe.maps import PARAMETERS, ParameterMaps
from mrfpipe.phantom.disease import LimbTissue, draw_severity, draw_tissue
from mrfpipe.phantom.fields import Fields, draw_fields
from mrfpipe.phantom.limb import Limb, draw_limb, inside, section, vary_template
from mrfpipe.phantom.template import MM, THIGH
from mrfpipe.phantom.tissue import fill
from mrfpipe.phantom.truth import Phantom

BODY_FOV = 350 * MM
"""Field of view the bodies are drawn for; in a smaller one they are drawn smaller, so that they always fit."""
WIDEST = 338 * MM
"""Greatest width of the body in that field of view."""
CLEARANCE = 2 * MM
"""How far a region of interest stays from the muscle's border, at least one voxel."""
MAPS = (*(p.field for p in PARAMETERS), "m0")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Person:
    limbs: tuple[Limb, ...]
    tissues: tuple[LimbTissue, ...]
    fields: Fields


def thigh(*, matrix: int, fov: float, n_slices: int, slice_spacing: float, seed: int) -> Phantom:
    """Draw the thighs of a person with a neuromuscular disease.

    Shapes and values are functions of position, so that a seed is the same person at any matrix. They are continuous
    and lie off any grid. Cortical bone gives no signal and is outside the mask.

    Parameters
    ----------
    matrix
        Voxels along x and along y.
    fov
        Field of view along x and along y in m.
    n_slices
        Number of slices, placed symmetrically about the middle of the thigh.
    slice_spacing
        Distance from slice to slice in m.
    seed
        Which person.

    Returns
    -------
        The truth, and regions of interest within the thirteen muscles of either thigh.
    """
    if matrix < 2 or n_slices < 1 or not fov > 0 or not slice_spacing > 0:
        raise ValueError(
            f"No phantom of matrix {matrix}, {n_slices} slices, fov {fov:g} m, spacing {slice_spacing:g} m."
        )
    person = _draw_thighs(seed)
    scale = max(1.0, BODY_FOV / fov)
    axis: Double = np.asarray((np.arange(matrix) - matrix // 2) * (fov / matrix * scale), np.float64)
    heights = (np.arange(n_slices) - (n_slices - 1) / 2) * slice_spacing
    maps = {name: np.full((n_slices, matrix, matrix), np.nan, np.float32) for name in MAPS}
    rois = np.zeros((n_slices, matrix, matrix), np.uint8)
    for i, height in enumerate(heights):
        labels = _draw_slice(person, axis, float(height), {name: array[i] for name, array in maps.items()})
        rois[i] = _eroded(labels, max(1, round(CLEARANCE / (fov / matrix))))
    mask = np.isfinite(maps["ff"])
    truth = ParameterMaps(
        **maps,
        phase=np.where(mask, np.float32(0), np.float32(np.nan)),
        match=np.where(mask, np.float32(1), np.float32(np.nan)),
        edge=np.zeros(mask.shape, np.uint8),
        mask=mask,
        affine=_axial(fov / matrix, matrix, slice_spacing, float(heights[0])),
    )
    names = tuple(f"{side} {muscle.name}" for side in ("right", "left") for muscle in THIGH.muscles)
    return Phantom(maps=truth, rois=rois, roi_names=names)


def _draw_thighs(seed: int) -> _Person:
    """Draw the person: what both thighs share, then each thigh, then the fields."""
    shape, disease, right, left, field = np.random.default_rng(seed).spawn(5)
    template = vary_template(shape, THIGH, 0.9)
    size, fat = shape.uniform(53 * MM, 64 * MM), np.exp(shape.uniform(np.log(5 * MM), np.log(21 * MM)))
    outline = np.array([[0.055, 0.0], [0.01, -0.015], [0.0, 0.0]]) + shape.normal(0.0, 0.014, (3, 2))
    fat_outline = np.array([[0.35, 0.08], [-0.10, 0.05]]) + shape.normal(0.0, 0.10, (2, 2))
    severity = draw_severity(disease, template)
    limbs, tissues = [], []
    for medial, rng in ((1, right), (-1, left)):
        own = np.clip(severity + rng.normal(0.0, 0.07, severity.size) * (severity > 0.1), 0.0, 1.0)
        limb = draw_limb(
            rng,
            template,
            medial=medial,
            size=size,
            fat=fat,
            outline=outline,
            fat_outline=fat_outline,
            atrophy=0.25 * own * rng.random(own.size),
        )
        limbs.append(limb)
        tissues.append(draw_tissue(rng, own))
    placed = _side_by_side(limbs, gap=shape.uniform(5 * MM, 25 * MM), shift=shape.normal(0.0, 3 * MM, 3))
    return _Person(limbs=placed, tissues=tuple(tissues), fields=draw_fields(field, len(placed)))


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


def _draw_slice(person: _Person, axis: Double, height: float, maps: dict[str, Float]) -> Byte:
    """Draw one slice into `maps`; return the muscles' labels. Shape `(y, x)`."""
    labels = np.zeros((axis.size, axis.size), np.uint8)
    n_labelled = 0
    for number, (limb, tissue) in enumerate(zip(person.limbs, person.tissues, strict=True)):
        rows, columns = np.nonzero(_box(limb, axis, height))
        place = section(limb, axis[columns], axis[rows], height)
        values, muscle = fill(tissue, limb.template, place, voxel=axis[1] - axis[0])
        values["df"] = person.fields.off_resonance(number, place)
        values["b1"] = person.fields.efficacy(place.x, place.y, height)
        visible = inside(place)
        at = rows[visible], columns[visible]
        for name, array in maps.items():
            array[at] = values[name][visible]
        labels[at] = np.where(muscle > 0, muscle + n_labelled, 0)[visible]
        n_labelled += len(limb.template.muscles)
    return labels


def _box(limb: Limb, axis: Double, height: float) -> Bool:
    """Voxels that may be within a limb. Shape `(y, x)`."""
    medial, lateral, upright = limb.extent(height)
    x, y = limb.centre(height)
    from_axis = limb.medial * (axis - x)
    box: Bool = np.logical_and.outer(np.abs(axis - y) <= upright, (from_axis <= medial) & (from_axis >= -lateral))
    return box


def _eroded(labels: Byte, by: int) -> Byte:
    """Keep of every label what is at least so many voxels inside its border voxels."""
    border = (ndimage.maximum_filter(labels, 3) != labels) | (ndimage.minimum_filter(labels, 3) != labels)
    kept: Byte = np.where(ndimage.distance_transform_edt(~border) >= by, labels, 0).astype(np.uint8)
    return kept


def _axial(voxel: float, matrix: int, spacing: float, first: float) -> Double:
    """Affine from voxel (x, y, slice) to RAS in mm, with voxel ``matrix // 2`` at the isocentre."""
    affine = np.diag([-voxel / MM, -voxel / MM, spacing / MM, 1.0])
    affine[:2, 3] = voxel / MM * (matrix // 2)
    affine[2, 3] = first / MM
    return affine


ANATOMIES: dict[str, Callable[..., Phantom]] = {"thigh": thigh}
"""Every body there is, by name; each is called as `thigh` is."""
