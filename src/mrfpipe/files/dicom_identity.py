"""Identity of a result in DICOM: patient, study and frame of reference.

The identity is taken from the header of the scan (`mrfpipe.acquisition.identity`), or from another DICOM image of the
same examination; the two are never mixed. If neither patient nor study is known, the patient gets the name of the scan.
Unknown UIDs are derived from the name of the scan and the content of its file, so that all maps of a scan belong to one
study and one frame of reference, however they were made. All other unknown attributes are left empty.
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
"""Identity of a scan without information on patient and study."""
LONG_STRING = 64
"""Most bytes of a value of VR LO, and of a component of PN."""
_DELIMITERS = str.maketrans("\\^=", "___")
_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_STUDY = ("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName")
_PLACE = ("FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition")
_KNOWN = (*_PATIENT, *_STUDY, *_PLACE, "IssuerOfPatientID", "PatientSize", "PatientWeight", "StudyDescription")
"""Attributes that are copied; all but the last four are always written, empty if unknown."""


def identity_of_scan(path: str | Path) -> Identity:
    """Read the identity from a raw scan; frames files hold none. For the errors, see `read_identity`."""
    return ANONYMOUS if schema_of(Path(path)) == FRAMES.name else read_identity(path)


def identity_of_image(path: str | Path) -> Identity:
    """Read patient, study and frame of reference from a DICOM file of any kind.

    Raises
    ------
    InputError
        If the file cannot be read, is not DICOM, or names no study.
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
            warnings.simplefilter("ignore")  # warnings would show the values
            image = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*_KNOWN])
            image.decode()
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror or e}; check the path and its permissions.") from e
    except (InvalidDicomError, ValueError, TypeError, LookupError, NotImplementedError) as e:
        raise InputError(f"{path} is not a DICOM image that can be read; give one of the scan's examination.") from e
    return image


def check_identity(identity: Identity, path: str | Path) -> None:
    """Raise InputError if DICOM cannot hold a value; the error names file and attribute, but not the value."""
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
    """Return the DICOM attributes of patient, study and frame of reference for a result.

    Parameters
    ----------
    identity
        Known values.
    name
        Name of the scan.
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
    """Return whether a folder holds DICOM files with the described patient, study and frame of reference.

    Only the first file found is read. InputError if it cannot be read.
    """
    path = next(folder.glob("*.dcm"), None)
    if path is None:
        return False
    written = _read(path)
    return all(written.get(element.keyword) == element.value for element in described)


def study_uid(name: str, provenance: Provenance) -> str:
    """Derive a study UID from the name of a scan and its file's content, or all inputs if none has that name."""
    own = [sha256 for path, sha256 in provenance.inputs.items() if Path(path).name.startswith(f"{name}.")]
    return uid("study", name, *sorted(own or provenance.inputs.values()))


def uid(*of: str) -> str:
    """Derive a UID from texts, by way of a UUID (PS3.5, B.2)."""
    return f"2.25.{uuid5(NAMESPACE_OID, json.dumps(['mrfpipe', *of])).int}"


def cut(text: str, n_bytes: int) -> str:
    """Truncate a text to a number of bytes in UTF-8."""
    return text.encode()[:n_bytes].decode(errors="ignore")


def _label(name: str) -> str:
    return cut(name.translate(_DELIMITERS), LONG_STRING)
