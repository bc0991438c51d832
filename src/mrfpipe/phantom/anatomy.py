"""Bodies drawn from a seed: every seed gives another person, with their own build, disease and fields.

The orientation is that of a patient in supine position, seen from the feet: image columns run to the patient's left,
rows to posterior, slices towards the head. The right limb is on the left of the image.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import ndimage

from mrfpipe.arrays import Bool, Byte, Double, Float
from mrfpipe.maps import ParameterMaps
from mrfpipe.phantom.disease import Traits
from mrfpipe.phantom.limb import Limb, inside, section
from mrfpipe.phantom.person import Person, draw_person
from mrfpipe.phantom.region import Region, load_region
from mrfpipe.phantom.template import MM
from mrfpipe.phantom.tissue import fill
from mrfpipe.phantom.truth import PARAMETERS, Phantom

BODY_FOV = 350 * MM
"""Field of view that bodies are drawn for. In a smaller one, they are scaled down, so that they always fit."""
CLEARANCE = 2 * MM
"""Distance of a region of interest from the border of its muscle; at least one voxel."""
MAPS = (*(p.name for p in PARAMETERS), "m0")


def draw(
    region: Region,
    *,
    matrix: int,
    fov: float,
    n_slices: int,
    slice_spacing: float,
    seed: int,
    traits: Traits | None = None,
) -> Phantom:
    """Draw a region of a person with a neuromuscular disease.

    Shapes and values are functions of position, so that a seed gives the same person at any matrix. Values are
    continuous and not tied to any dictionary grid. Cortical bone and gas give no signal and are outside the mask.

    Parameters
    ----------
    region
        The region of the body to draw.
    matrix
        Voxels along x and along y.
    fov
        Field of view along x and along y in m.
    n_slices
        Number of slices, placed symmetrically about the middle of the region.
    slice_spacing
        Distance from slice to slice in m.
    seed
        Determines the person.
    traits
        Known traits of the person; drawn from the seed if not given.

    Returns
    -------
        The ground truth, and regions of interest within the muscles of both sides.
    """
    if matrix < 2 or n_slices < 1 or not fov > 0 or not slice_spacing > 0:
        raise ValueError(
            f"No phantom of matrix {matrix}, {n_slices} slices, fov {fov:g} m, spacing {slice_spacing:g} m."
        )
    person = draw_person(region, seed, traits)
    scale = max(1.0, BODY_FOV / fov)
    axis: Double = np.asarray((np.arange(matrix) - matrix // 2) * (fov / matrix * scale), np.float64)
    heights = (np.arange(n_slices) - (n_slices - 1) / 2) * slice_spacing
    maps = {name: np.full((n_slices, matrix, matrix), np.nan, np.float32) for name in MAPS}
    rois = np.zeros((n_slices, matrix, matrix), np.uint8)
    for i, height in enumerate(heights):
        labels = _draw_slice(person, axis, float(height), {name: array[i] for name, array in maps.items()})
        rois[i] = _eroded(labels, max(1, round(CLEARANCE / (fov / matrix))))
    mask = np.isfinite(maps["FF"])
    affine = axial(fov / matrix, matrix, slice_spacing, float(heights[0]))
    truth = ParameterMaps.known(PARAMETERS, maps, mask, affine, m0=maps["m0"])
    sides = ("right ", "left ") if region.paired else ("",)
    names = tuple(f"{side}{muscle.name}" for side in sides for muscle in region.template.muscles)
    return Phantom(maps=truth, rois=rois, roi_names=names)


def _draw_slice(person: Person, axis: Double, height: float, maps: dict[str, Float]) -> Byte:
    """Draw one slice into `maps`; return the muscles' labels. Shape `(y, x)`."""
    labels = np.zeros((axis.size, axis.size), np.uint8)
    n_labelled = 0
    for number, (limb, tissue) in enumerate(zip(person.limbs, person.tissues, strict=True)):
        rows, columns = np.nonzero(_box(limb, axis, height))
        place = section(limb, axis[columns], axis[rows], height)
        values, muscle = fill(tissue, limb.template, place, voxel=axis[1] - axis[0])
        values["df"] = person.fields.off_resonance(number, place)
        values["B1"] = person.fields.efficacy(place.x, place.y, height)
        visible = inside(place)
        at = rows[visible], columns[visible]
        for name, array in maps.items():
            array[at] = values[name][visible]
        labels[at] = np.where(muscle > 0, muscle + n_labelled, 0)[visible]
        n_labelled += len(limb.template.muscles)
    return labels


def _box(limb: Limb, axis: Double, height: float) -> Bool:
    """Bounding box of a limb. Shape `(y, x)`."""
    medial, lateral, upright = limb.extent(height)
    x, y = limb.centre(height)
    from_axis = limb.medial * (axis - x)
    box: Bool = np.logical_and.outer(np.abs(axis - y) <= upright, (from_axis <= medial) & (from_axis >= -lateral))
    return box


def _eroded(labels: Byte, by: int) -> Byte:
    """Erode every label: keep voxels that are at least `by` voxels from the label's border voxels."""
    border = (ndimage.maximum_filter(labels, 3) != labels) | (ndimage.minimum_filter(labels, 3) != labels)
    kept: Byte = np.where(ndimage.distance_transform_edt(~border) >= by, labels, 0).astype(np.uint8)
    return kept


def axial(voxel: float, matrix: int, spacing: float, first: float) -> Double:
    """Affine from voxel (x, y, slice) to RAS in mm, with voxel ``matrix // 2`` at the isocentre."""
    affine = np.diag([-voxel / MM, -voxel / MM, spacing / MM, 1.0])
    affine[:2, 3] = voxel / MM * (matrix // 2)
    affine[2, 3] = first / MM
    return affine


REGIONS = {name: load_region(name) for name in ("thigh", "leg", "shoulder", "abdomen", "pelvis")}
"""All regions, by name."""
ANATOMIES: dict[str, Callable[..., Phantom]] = {name: partial(draw, region) for name, region in REGIONS.items()}
"""Functions that draw each region, by name; arguments as for `draw` without the region."""
thigh = ANATOMIES["thigh"]
