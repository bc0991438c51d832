"""DICOM: every map as a parametric map object, for viewers and archives of hospitals.

One multi-frame object and one series a map, a frame a slice; values are the 32-bit floats of the other files, in the
same unit, which is stated by its UCUM code. Where DICOM has a code for the quantity (`mrfpipe.quantities`) it is
stated, too. M0 is proton density times receive gain, and is not called proton density.

Outside the mask a map is NaN, which DICOM allows in float pixel data (PS3.5, section 8): zero would be a value, as no
off-resonance. The window is that of the values inside.

A raw scan does not say whose it is, so the patient is called what the scan is called, study date and referrer are left
empty, and the content is qualified as research. UIDs follow from what they stand for: all maps of a scan belong to one
study and one frame of reference, whatever made them.

The only user of highdicom, an extra: it is imported when it is asked for.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from mrfpipe.acquisition.geometry import stack_of
from mrfpipe.arrays import Byte, Double, Float
from mrfpipe.errors import ResourceError
from mrfpipe.files.provenance import Provenance
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import UCUM, Parameter, Quality
from mrfpipe.version import __version__

if TYPE_CHECKING:
    import highdicom
    import pydicom

DICOM_FOLDER = "dicom"
"""Folder of a result that the objects lie in."""

_LONG_STRING = 64  # bytes of a value of VR LO, and of a component of PN
_DELIMITERS = str.maketrans("\\^=", "___")


def require_highdicom() -> None:
    """Raise ResourceError unless highdicom is installed."""
    try:
        import highdicom  # noqa: F401 - to see whether it is there
    except ImportError as e:
        raise ResourceError("--dicom needs highdicom, which is not installed; pip install 'mrfpipe[dicom]'.") from e


def write_dicom(maps: ParameterMaps, folder: str | Path, *, name: str, provenance: Provenance) -> None:
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
    scan = _scan(maps, name, provenance)
    known: list[tuple[Parameter | Quality, Float | Byte]] = [(p, maps[p.name]) for p in maps.parameters]
    known += [(quality, maps.quality_map(quality)) for quality in maps.quality]
    for number, (one, values) in enumerate(known, start=1):
        dataset = _parametric_map(one, values, maps, scan, number, provenance)
        dataset.save_as(folder / f"{one.name}.dcm", enforce_file_format=True)


def study_uid(name: str, provenance: Provenance) -> str:
    """Return the UID of a scan's study: of its name and its file's content, or of all inputs' if none is named so."""
    own = [sha256 for path, sha256 in provenance.inputs.items() if Path(path).name.startswith(f"{name}.")]
    return _uid("study", name, *sorted(own or provenance.inputs.values()))


def _uid(*of: str) -> str:
    """Make a UID of what it stands for, by way of a UUID (PS3.5, B.2)."""
    return f"2.25.{uuid5(NAMESPACE_OID, json.dumps(['mrfpipe', *of])).int}"


def _scan(maps: ParameterMaps, name: str, provenance: Provenance) -> "pydicom.Dataset":
    """Make up an image of the scan, its first slice: patient, study and frame of reference are taken from it."""
    from pydicom import Dataset

    scan, label = Dataset(), _cut(name.translate(_DELIMITERS), _LONG_STRING)
    scan.SpecificCharacterSet = "ISO_IR 192"
    scan.PatientID = label
    scan.PatientName = f"{_cut(label, _LONG_STRING - 1)}^"  # a family name alone
    scan.PatientBirthDate = scan.PatientSex = scan.AccessionNumber = scan.StudyID = ""
    scan.StudyDate = scan.StudyTime = scan.ReferringPhysicianName = ""
    scan.StudyDescription = label
    scan.StudyInstanceUID = study_uid(name, provenance)
    scan.FrameOfReferenceUID = _uid("frame of reference", scan.StudyInstanceUID)
    scan.PositionReferenceIndicator = ""
    scan.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"  # MR image
    scan.Modality = "MR"
    scan.SeriesInstanceUID = _uid("scan", scan.StudyInstanceUID)
    scan.SOPInstanceUID = _uid("image of scan", scan.StudyInstanceUID)
    _, scan.Rows, scan.Columns = maps.mask.shape
    place = _place(maps.affine, 1)
    scan.ImagePositionPatient = place["plane_positions"][0][0].ImagePositionPatient
    scan.ImageOrientationPatient = place["plane_orientation"][0].ImageOrientationPatient
    scan.PixelSpacing = place["pixel_measures"][0].PixelSpacing
    scan.SliceThickness = place["pixel_measures"][0].SliceThickness
    return scan


def _parametric_map(
    one: Parameter | Quality,
    values: Float | Byte,
    maps: ParameterMaps,
    scan: "pydicom.Dataset",
    number: int,
    provenance: Provenance,
) -> "highdicom.pm.ParametricMap":
    import highdicom

    inside = values[maps.mask].astype(float)
    low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 1.0)
    width = high - low or 1.0
    of = (scan.StudyInstanceUID, provenance.to_json(), one.name)
    made = highdicom.pm.ParametricMap(
        source_images=[scan],
        pixel_array=np.where(maps.mask, values, np.float32(np.nan)).astype(np.float32),
        series_instance_uid=_uid("series", *of),
        series_number=number,
        sop_instance_uid=_uid("map", *of),
        instance_number=1,
        manufacturer="mrfpipe",
        manufacturer_model_name="mrfpipe",
        software_versions=__version__,
        device_serial_number="none",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[_meaning(one, low, high)],
        voi_lut_transformations=[highdicom.VOILUTTransformation(_decimal((low + high) / 2), _decimal(width))],
        content_description=_cut(one.title, _LONG_STRING),
        content_label=one.name.upper(),
        series_description=f"{one.name} ({one.unit})",
        **_place(maps.affine, len(maps.mask)),
    )
    made.ImageComments = f"{one.title}, in {one.unit}. {provenance.method}. Protocol {provenance.protocol_name}."
    # The scan is no DICOM image: nothing is to refer to one.
    del made.ReferencedSeriesSequence
    for frame in made.PerFrameFunctionalGroupsSequence:
        if "DerivationImageSequence" in frame:
            del frame.DerivationImageSequence
    return made


def _meaning(one: Parameter | Quality, low: float, high: float) -> "highdicom.pm.RealWorldValueMapping":
    """Say what the values of a map are: its quantity and its unit."""
    from highdicom.pm import RealWorldValueMapping
    from highdicom.sr import CodedConcept

    code, meaning = UCUM[one.unit]
    quantity = one.quantity.dicom if isinstance(one, Parameter) else None
    return RealWorldValueMapping(
        lut_label=one.name,
        lut_explanation=_cut(one.title, _LONG_STRING),
        unit=CodedConcept(code, "UCUM", meaning),
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
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
            pixel_spacing=[_decimal(dy), _decimal(dx)],
            slice_thickness=_decimal(stack.spacing_mm),
            spacing_between_slices=_decimal(stack.spacing_mm),
        ),
        "plane_orientation": highdicom.PlaneOrientationSequence(
            "PATIENT", [_decimal(cosine) for cosine in (*along_x, *along_y)]
        ),
        "plane_positions": [
            highdicom.PlanePositionSequence("PATIENT", [_decimal(coordinate) for coordinate in position])
            for position in stack.positions
        ],
    }


def _cut(text: str, n_bytes: int) -> str:
    """Cut a text to so many bytes of UTF-8."""
    return text.encode()[:n_bytes].decode(errors="ignore")


def _decimal(value: float) -> float:
    """Round to what the 16 characters of a decimal string (VR DS) hold with sign and exponent."""
    return float(f"{value:.9g}") + 0.0
