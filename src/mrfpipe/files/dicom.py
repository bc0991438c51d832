"""DICOM: every map as a parametric map object, for the viewers and archives of hospitals.

Each map is one multi-frame object and one series, with one frame per slice. Values are 32-bit floats in the same unit
as in the other files; the unit is stated by its UCUM code, and the quantity by its DICOM code if there is one
(`mrfpipe.quantities`). M0 is proton density times receive gain, and is not called proton density.

Outside the mask a map is NaN, which DICOM allows in float pixel data (PS3.5, section 8); zero would be a valid value,
for example of off-resonance. The window spans the values inside the mask.

Patient and study are described in `mrfpipe.files.dicom_identity`; the content is qualified as research.

This is the only module that needs highdicom, an optional dependency, which is imported on demand.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mrfpipe.acquisition.geometry import stack_of
from mrfpipe.acquisition.identity import Identity
from mrfpipe.arrays import Byte, Double, Float
from mrfpipe.errors import ResourceError
from mrfpipe.files.dicom_identity import ANONYMOUS, LONG_STRING, cut, describe_identity, uid
from mrfpipe.files.provenance import Provenance
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import UCUM, Parameter, Quality
from mrfpipe.version import __version__

if TYPE_CHECKING:
    import highdicom
    import pydicom

DICOM_FOLDER = "dicom"
"""Folder within a result that holds the objects."""


def require_highdicom() -> None:
    """Raise ResourceError unless highdicom is installed."""
    try:
        import highdicom  # noqa: F401 - only to check that it is installed
    except ImportError as e:
        raise ResourceError("DICOM needs highdicom, which is not installed; pip install 'mrfpipe[dicom]'.") from e


def write_dicom(
    maps: ParameterMaps, folder: str | Path, *, name: str, provenance: Provenance, identity: Identity = ANONYMOUS
) -> None:
    """Write every map to ``NAME.dcm``, NaN outside the mask.

    Not atomic by itself; see `results.save_result`.

    Parameters
    ----------
    maps
        The maps to write.
    folder
        Folder to write to; created if it is missing.
    name
        Name of the scan.
    provenance
        How the maps were made.
    identity
        Patient, study and frame of reference.

    Raises
    ------
    ResourceError
        If highdicom is not installed.
    ValueError
        If the axes of the maps are not at right angles.
    OSError
        If the files cannot be written to the disk.
    """
    require_highdicom()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    described = describe_identity(identity, name, provenance)
    for number, (one, values) in enumerate(maps.images(), start=1):
        dataset = _parametric_map(one, values, maps, described, number, provenance)
        dataset.save_as(folder / f"{one.name}.dcm", enforce_file_format=True)


def _parametric_map(
    one: Parameter | Quality,
    values: Float | Byte,
    maps: ParameterMaps,
    described: "pydicom.Dataset",
    number: int,
    provenance: Provenance,
) -> "highdicom.pm.ParametricMap":
    import highdicom

    low, high = value_range(values, maps)
    of = (described.to_json(), provenance.to_json(), one.name)
    made = highdicom.pm.ParametricMap(
        source_images=[plane(maps, described, 0)],
        pixel_array=np.where(maps.mask, values, np.float32(np.nan)).astype(np.float32),
        series_instance_uid=uid("series", *of),
        series_number=number,
        sop_instance_uid=uid("map", *of),
        instance_number=1,
        manufacturer="mrfpipe",
        manufacturer_model_name="mrfpipe",
        software_versions=__version__,
        device_serial_number="none",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[meaning(one, (low, high), 1.0, 0.0)],
        voi_lut_transformations=[
            # The older LINEAR window function does not allow a width below 1.
            highdicom.VOILUTTransformation(
                decimal((low + high) / 2), decimal(high - low or 1.0), voi_lut_function="LINEAR_EXACT"
            )
        ],
        content_description=cut(one.title, LONG_STRING),
        content_label=one.name.upper(),
        series_description=f"{one.name} ({one.unit})",
        **_place(maps.affine, len(maps.mask)),
    )
    made.update(described)
    made.Laterality = ""
    made.ImageComments = comments(one, provenance)
    # The scan is not a DICOM image, so nothing may refer to it as one.
    del made.ReferencedSeriesSequence
    for frame in made.PerFrameFunctionalGroupsSequence:
        if "DerivationImageSequence" in frame:
            del frame.DerivationImageSequence
    return made


def plane(maps: ParameterMaps, described: "pydicom.Dataset", s: int) -> "pydicom.Dataset":
    """Return the attributes of the MR image of a slice without its pixels: patient, study and geometry."""
    from pydicom import Dataset

    image, place = Dataset(), _place(maps.affine, len(maps.mask))
    image.update(described)
    image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"  # MR image
    image.Modality = "MR"
    image.SeriesInstanceUID = uid("scan", described.StudyInstanceUID)
    image.SOPInstanceUID = uid("image of scan", described.StudyInstanceUID)
    _, image.Rows, image.Columns = maps.mask.shape
    image.ImagePositionPatient = place["plane_positions"][s][0].ImagePositionPatient
    image.ImageOrientationPatient = place["plane_orientation"][0].ImageOrientationPatient
    image.PixelSpacing = place["pixel_measures"][0].PixelSpacing
    image.SliceThickness = place["pixel_measures"][0].SliceThickness
    return image


def value_range(values: Float | Byte, maps: ParameterMaps) -> tuple[float, float]:
    """Return the smallest and the largest value inside the mask; 0 and 1 if the mask is empty."""
    inside = values[maps.mask]
    return (float(inside.min()), float(inside.max())) if inside.size else (0.0, 1.0)


def comments(one: Parameter | Quality, provenance: Provenance) -> str:
    """Return a comment for readers: what a map is and how it was made."""
    return f"{one.title}, in {one.unit}. {provenance.method}. Protocol {provenance.protocol_name}."


def meaning(
    one: Parameter | Quality, mapped: tuple[float, float] | tuple[int, int], slope: float, intercept: float
) -> "highdicom.pm.RealWorldValueMapping":
    """Return the real-world value mapping of stored values in the range `mapped`: quantity, unit and scaling."""
    from highdicom.pm import RealWorldValueMapping
    from highdicom.sr import CodedConcept

    code, meaning = UCUM[one.unit]
    quantity = one.quantity.dicom if isinstance(one, Parameter) else None
    return RealWorldValueMapping(
        lut_label=one.name,
        lut_explanation=cut(one.title, LONG_STRING),
        unit=CodedConcept(code, "UCUM", meaning),
        value_range=mapped,
        slope=slope,
        intercept=intercept,
        quantity_definition=CodedConcept(quantity[0], "DCM", quantity[1]) if quantity else None,
    )


def _place(affine: Double, n_slices: int) -> dict[str, Any]:
    """Return the geometry of the frames in LPS: the row index of a frame runs along y, its column index along x."""
    import highdicom

    stack = stack_of(affine, 0, n_slices)  # matrix 0: positions of the first voxel instead of the centre
    along_x, along_y, _ = stack.directions
    dx, dy, _ = np.linalg.norm(affine[:3, :3], axis=0)
    return {
        "pixel_measures": highdicom.PixelMeasuresSequence(
            pixel_spacing=[decimal(dy), decimal(dx)],
            slice_thickness=decimal(stack.spacing_mm),
            spacing_between_slices=decimal(stack.spacing_mm),
        ),
        "plane_orientation": highdicom.PlaneOrientationSequence(
            "PATIENT", [decimal(cosine) for cosine in (*along_x, *along_y)]
        ),
        "plane_positions": [
            highdicom.PlanePositionSequence("PATIENT", [decimal(coordinate) for coordinate in position])
            for position in stack.positions
        ],
    }


def decimal(value: float) -> float:
    """Round to nine digits: with sign and exponent, they fit the 16 characters of a decimal string (VR DS)."""
    return float(f"{value:.9g}") + 0.0
