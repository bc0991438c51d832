"""DICOM: every map as a parametric map object, for viewers and archives of hospitals.

One multi-frame object and one series a map, a frame a slice; values are the 32-bit floats of the other files, in the
same unit, which is stated by its UCUM code. Where DICOM has a code for the quantity (`mrfpipe.quantities`) it is
stated, too. M0 is proton density times receive gain, and is not called proton density.

Outside the mask a map is NaN, which DICOM allows in float pixel data (PS3.5, section 8): zero would be a value, as no
off-resonance. The window is that of the values inside.

Whom they are of, `mrfpipe.files.dicom_identity` says; the content is qualified as research.

The only user of highdicom, an extra: it is imported when it is asked for.
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
"""Folder of a result that the objects lie in."""


def require_highdicom() -> None:
    """Raise ResourceError unless highdicom is installed."""
    try:
        import highdicom  # noqa: F401 - to see whether it is there
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
        What to write.
    folder
        Where to; made if it is missing.
    name
        What the scan is called.
    provenance
        How the maps were made.
    identity
        Whom they are of.

    Raises
    ------
    ResourceError
        If highdicom is not installed.
    ValueError
        If the maps' axes are not at right angles.
    OSError
        If the disk does not take the files.
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
            # The linear window of old has no width below 1.
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
    # The scan is no DICOM image: nothing is to refer to one.
    del made.ReferencedSeriesSequence
    for frame in made.PerFrameFunctionalGroupsSequence:
        if "DerivationImageSequence" in frame:
            del frame.DerivationImageSequence
    return made


def plane(maps: ParameterMaps, described: "pydicom.Dataset", s: int) -> "pydicom.Dataset":
    """Make the attributes of an MR image of a slice, but for its pixels: of whom it is, and where it lies."""
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
    """Return the least and the greatest value inside the mask; 0 and 1 if there is none."""
    inside = values[maps.mask]
    return (float(inside.min()), float(inside.max())) if inside.size else (0.0, 1.0)


def comments(one: Parameter | Quality, provenance: Provenance) -> str:
    """Say for people what a map is and how it was made."""
    return f"{one.title}, in {one.unit}. {provenance.method}. Protocol {provenance.protocol_name}."


def meaning(
    one: Parameter | Quality, mapped: tuple[float, float] | tuple[int, int], slope: float, intercept: float
) -> "highdicom.pm.RealWorldValueMapping":
    """Say what the numbers of a map mean that lie in the range that is mapped: its quantity and its unit."""
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
    """Say where the frames lie. Rows of a frame run along y and columns along x, in LPS as everything in DICOM."""
    import highdicom

    stack = stack_of(affine, 0, n_slices)  # the first voxel in place of the centre
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
    """Round to what the 16 characters of a decimal string (VR DS) hold with sign and exponent."""
    return float(f"{value:.9g}") + 0.0
