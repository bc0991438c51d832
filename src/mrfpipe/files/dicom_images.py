"""DICOM for viewers without parametric maps: every slice of every map as a plain MR image of 16-bit integers.

Each map is a series, with one file per slice. The value in the unit of the other files is the stored number times the
rescale slope plus the rescale intercept; both are chosen for all slices together, so that the rounding error of a value
is less than 1/130,000 of their range. Maps of integers are kept as they are. Outside the mask, pixels have the padding
value, the smallest integer, which no voxel inside has.

MR images have no attributes for the meaning of their values. As scanners do, it is added: the rescale, with the unit as
its type, and the codes of unit and quantity, as in parametric maps.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mrfpipe.acquisition.identity import Identity
from mrfpipe.arrays import Byte, Float
from mrfpipe.files.dicom import comments, decimal, meaning, plane, require_highdicom, value_range
from mrfpipe.files.dicom_identity import ANONYMOUS, describe_identity, uid
from mrfpipe.files.provenance import Provenance
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import UCUM, Parameter, Quality
from mrfpipe.version import __version__

if TYPE_CHECKING:
    import pydicom

IMAGES_FOLDER = "dicom-int16"
"""Folder within a result that holds the images."""

_PADDING, _LARGEST = -32768, 32767
_DIGITS = 1e-8
"""Relative rounding error of a number with nine digits."""
_FIRST_SERIES = 101
"""First series number; the series of parametric maps are counted from 1."""


def write_dicom_images(
    maps: ParameterMaps, folder: str | Path, *, name: str, provenance: Provenance, identity: Identity = ANONYMOUS
) -> None:
    """Write every slice of every map to ``NAME-001.dcm`` and so on; for parameters and errors, see `write_dicom`."""
    require_highdicom()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    described = describe_identity(identity, name, provenance)
    for number, (one, values) in enumerate(maps.images(), start=_FIRST_SERIES):
        of = (described.to_json(), provenance.to_json(), one.name)
        slope, intercept = _rescale(values, maps)
        stored = np.rint((values.astype(np.float64) - intercept) / slope)
        pixels = np.where(maps.mask, stored, _PADDING).astype("<i2")
        for s in range(len(pixels)):
            image = plane(maps, described, s)
            _describe(image, one, provenance)
            image.SeriesInstanceUID, image.SeriesNumber = uid("images", *of), number
            image.SOPInstanceUID, image.InstanceNumber = uid("image", *of, str(s)), s + 1
            image.RescaleSlope, image.RescaleIntercept, image.RescaleType = slope, intercept, UCUM[one.unit][0]
            image.RealWorldValueMappingSequence = [meaning(one, (-_LARGEST, _LARGEST), slope, intercept)]
            _window(image, *value_range(values, maps))
            _fill(image, pixels[s])
            image.save_as(folder / f"{one.name}-{s + 1:03d}.dcm", enforce_file_format=True)


def _rescale(values: Float | Byte, maps: ParameterMaps) -> tuple[float, float]:
    """Return slope and intercept that map the values inside the mask to all integers except the padding value.

    Both are rounded to nine digits; the range is widened by this rounding error and by one step to allow for it.
    """
    if values.dtype == np.uint8:
        return 1.0, 0.0
    low, high = value_range(values, maps)
    width = (high - low) + _DIGITS * max(abs(low), abs(high))
    return decimal(width / (2 * _LARGEST - 1) or 1.0), decimal((low + high) / 2)


def _describe(image: "pydicom.Dataset", one: Parameter | Quality, provenance: Provenance) -> None:
    """Set the attributes that describe a map; those on how it was measured may be empty in an MR image."""
    image.SeriesDescription = f"{one.name} ({one.unit})"
    image.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    image.ImageComments = comments(one, provenance)
    image.DerivationDescription = image.ImageComments
    image.Manufacturer = image.ManufacturerModelName = "mrfpipe"
    image.SoftwareVersions = __version__
    image.Laterality = ""
    image.ScanningSequence, image.SequenceVariant, image.MRAcquisitionType = "RM", "NONE", "2D"
    image.ScanOptions = image.EchoTime = image.RepetitionTime = image.EchoTrainLength = ""


def _window(image: "pydicom.Dataset", low: float, high: float) -> None:
    """Set the window to the values from low to high.

    Only `LINEAR_EXACT` allows a width below 1, and simple viewers may not know it. Such maps get no window, and viewers
    choose one from the values.
    """
    if high - low >= 1:
        image.WindowCenter, image.WindowWidth = decimal((low + high) / 2), decimal(high - low)
        image.VOILUTFunction = "LINEAR_EXACT"


def _fill(image: "pydicom.Dataset", pixels: np.ndarray) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.PixelPaddingValue = _PADDING
    image.PixelData = pixels.tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
