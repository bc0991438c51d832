"""DICOM for viewers that show nothing else: every slice of every map as a plain MR image, in whole numbers of 16 bits.

One series a map, a file a slice. The value is the stored number times the rescale slope plus the rescale intercept, in
the unit of the other files; both are chosen for the values of all slices, so that a value is off by less than 1/130,000
of their range. A map of whole numbers is kept as it is. Outside the mask lies the padding value, the least number there
is, which no voxel inside has.

MR images have no place for the meaning of their values, so it is added to them, as scanners do: the rescale, with the
unit for its type, and unit and quantity by their codes, as parametric maps have them.
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
"""Folder of a result that the images lie in."""

_PADDING, _LARGEST = -32768, 32767
_DIGITS = 1e-8
"""By how much a number of nine digits may be off, relative."""
_FIRST_SERIES = 101
"""Their series are counted from here, those of parametric maps from 1."""


def write_dicom_images(
    maps: ParameterMaps, folder: str | Path, *, name: str, provenance: Provenance, identity: Identity = ANONYMOUS
) -> None:
    """Write every slice of every map to ``NAME-001.dcm`` and so on; parameters and errors as of `write_dicom`."""
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
    """Return slope and intercept that spread the values inside the mask over all whole numbers but the padding.

    Both have nine digits. What that leaves out has room: the range is taken wider by it, and by one step.
    """
    if values.dtype == np.uint8:
        return 1.0, 0.0
    low, high = value_range(values, maps)
    width = (high - low) + _DIGITS * max(abs(low), abs(high))
    return decimal(width / (2 * _LARGEST - 1) or 1.0), decimal((low + high) / 2)


def _describe(image: "pydicom.Dataset", one: Parameter | Quality, provenance: Provenance) -> None:
    """Say what a map is; how it was measured, an MR image may leave empty."""
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
    """Show the values from low to high.

    A width below 1 is for `LINEAR_EXACT` alone, which the viewers that this is for may not know: they get none, and
    show the values that they find.
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
