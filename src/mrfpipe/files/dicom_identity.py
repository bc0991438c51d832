"""Whom a result is of, in DICOM: patient, study and frame of reference.

They are those of the scan's own header (`mrfpipe.acquisition.identity`), or of another DICOM image of the same
examination; the two are not mixed. Where no patient and no study is named, the patient is called what the scan is
called. UIDs that are not known follow from what the scan is called and its file's content: all maps of a scan belong to
one study and one frame of reference, whatever made them. What else is not known is left empty.
"""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, uuid5

from mrfpipe.acquisition.identity import Identity, read_identity
from mrfpipe.errors import InputError
from mrfpipe.files.provenance import Provenance
from mrfpipe.files.schemas import FRAMES, schema_of

if TYPE_CHECKING:
    import pydicom

ANONYMOUS: Identity = {}
"""Of a scan that does not say of whom it is."""
LONG_STRING = 64
"""Bytes of a value of VR LO, and of a component of PN."""
_DELIMITERS = str.maketrans("\\^=", "___")
_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_STUDY = ("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName")
_PLACE = ("FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition")
_KNOWN = (*_PATIENT, *_STUDY, *_PLACE, "IssuerOfPatientID", "PatientSize", "PatientWeight", "StudyDescription")
"""What is taken over; all but the last four must be there, if only empty."""


def identity_of_scan(path: str | Path) -> Identity:
    """Read whom a raw scan says that it is of; a frames file does not say it. Errors as of `read_identity`."""
    return ANONYMOUS if schema_of(Path(path)) == FRAMES.name else read_identity(path)


def identity_of_image(path: str | Path) -> Identity:
    """Read patient, study and frame of reference of a DICOM file, of any kind of image.

    Raises
    ------
    InputError
        If the file cannot be read, is not DICOM, or is of no study.
    """
    image = _read(Path(path))
    identity = {element.keyword: str(element.value) for element in image if element.value and element.keyword in _KNOWN}
    if "StudyInstanceUID" not in identity:
        raise InputError(f"{path} names no study; give a DICOM image of the scan's examination.")
    return identity


def _read(path: Path) -> "pydicom.Dataset":
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they tell the value that they are of
            image = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*_KNOWN])
            image.decode()
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror or e}; check the path and its permissions.") from e
    except (InvalidDicomError, ValueError, TypeError, LookupError, NotImplementedError) as e:
        raise InputError(f"{path} is not a DICOM image that can be read; give one of the scan's examination.") from e
    return image


def check_identity(identity: Identity, path: str | Path) -> None:
    """Raise InputError if DICOM cannot hold a value; the error names file and attribute, and not the value."""
    from pydicom import DataElement
    from pydicom.config import RAISE
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    for keyword, text in identity.items():
        tag = tag_for_keyword(keyword)
        try:
            element = DataElement(tag or 0, dictionary_VR(tag or 0), text, validation_mode=RAISE)
            holds = element.VM == 1 and text.isprintable()
        except ValueError:
            holds = False
        if not holds:
            raise InputError(
                f"{path} has a {keyword} that DICOM cannot hold; correct it, or take patient and study from an image "
                "of the same examination with --like."
            )


def describe_identity(identity: Identity, name: str, provenance: Provenance) -> "pydicom.Dataset":
    """Make the attributes of patient, study and frame of reference of a result.

    Parameters
    ----------
    identity
        What is known of them.
    name
        What the scan is called.
    provenance
        How the maps were made.
    """
    from pydicom import Dataset

    label, own = _label(name), study_uid(name, provenance)
    values = dict.fromkeys((*_PATIENT, *_STUDY, *_PLACE), "")
    if not {"PatientName", "PatientID", "StudyInstanceUID"} & set(identity):
        values |= {"PatientName": f"{cut(label, LONG_STRING - 1)}^", "PatientID": label}  # a family name alone
    if "StudyInstanceUID" not in identity:
        values |= {"StudyInstanceUID": own, "StudyDescription": label}
    values["FrameOfReferenceUID"] = uid("frame of reference", own)
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword, text in (values | dict(identity)).items():
        setattr(dataset, keyword, text)
    return dataset


def holds_dicom_of(folder: Path, described: "pydicom.Dataset") -> bool:
    """Return whether DICOM files that were written are there, and of patient, study and frame of reference described.

    InputError if they cannot be read.
    """
    path = next(folder.glob("*.dcm"), None)
    if path is None:
        return False
    written = _read(path)
    return all(written.get(element.keyword) == element.value for element in described)


def study_uid(name: str, provenance: Provenance) -> str:
    """Return the UID of a scan's study: of its name and its file's content, or of all inputs' if none is named so."""
    own = [sha256 for path, sha256 in provenance.inputs.items() if Path(path).name.startswith(f"{name}.")]
    return uid("study", name, *sorted(own or provenance.inputs.values()))


def uid(*of: str) -> str:
    """Make a UID of what it stands for, by way of a UUID (PS3.5, B.2)."""
    return f"2.25.{uuid5(NAMESPACE_OID, json.dumps(['mrfpipe', *of])).int}"


def cut(text: str, n_bytes: int) -> str:
    """Cut a text to so many bytes of UTF-8."""
    return text.encode()[:n_bytes].decode(errors="ignore")


def _label(name: str) -> str:
    return cut(name.translate(_DELIMITERS), LONG_STRING)
