"""Who was scanned, and when: what the header of an ISMRMRD file says of patient, study and frame of reference.

It is read by itself and for DICOM alone: nothing else that is read from a scan holds it, so that no name, message or
record can have it by accident. Of a Twix file it is not read.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import h5py

from mrfpipe.acquisition.ismrmrd_file import open_ismrmrd
from mrfpipe.errors import InputError

Identity = Mapping[str, str]
"""Patient, study and frame of reference by the keywords of DICOM, written as there; without what is not known."""


def _as_it_is(text: str) -> str:
    return text


def _date(text: str) -> str:
    return text[:10].replace("-", "")  # without a time zone


def _time(text: str) -> str:
    return re.split("[Z+-]", text)[0].replace(":", "")[:13]  # without a time zone, and to 1 us


_ELEMENTS: dict[str, tuple[str, Callable[[str], str]]] = {
    "PatientName": ("subjectInformation/patientName", _as_it_is),
    "PatientID": ("subjectInformation/patientID", _as_it_is),
    "PatientBirthDate": ("subjectInformation/patientBirthdate", _date),
    "PatientSex": ("subjectInformation/patientGender", _as_it_is),
    "PatientSize": ("subjectInformation/patientHeight_m", _as_it_is),
    "PatientWeight": ("subjectInformation/patientWeight_kg", _as_it_is),
    "StudyInstanceUID": ("studyInformation/studyInstanceUID", _as_it_is),
    "StudyID": ("studyInformation/studyID", _as_it_is),
    "StudyDate": ("studyInformation/studyDate", _date),
    "StudyTime": ("studyInformation/studyTime", _time),
    "StudyDescription": ("studyInformation/studyDescription", _as_it_is),
    "AccessionNumber": ("studyInformation/accessionNumber", _as_it_is),
    "ReferringPhysicianName": ("studyInformation/referringPhysicianName", _as_it_is),
    "FrameOfReferenceUID": ("measurementInformation/frameOfReferenceUID", _as_it_is),
    "PatientPosition": ("measurementInformation/patientPosition", _as_it_is),
}
"""Where the header has what DICOM calls so, and how it is written there."""


def read_identity(path: str | Path) -> Identity:
    """Read who and what a raw scan says that it is of: what its header leaves out is not there.

    The text of the header is taken as it stands. The schema's classes would read an accession number as a number, and
    lose the zeros that it begins with.

    Raises
    ------
    InputError
        If the file is missing or damaged, or has a header that is not XML.
    """
    path = Path(path)
    if not h5py.is_hdf5(path):
        return {}
    with open_ismrmrd(path) as file:
        try:
            root = ET.fromstring(file.xml)  # noqa: S314 - expat bounds what entities grow to
        except ET.ParseError as e:
            raise InputError(f"{path}: the XML header is not valid ISMRMRD ({e}); convert again.") from e
    found = {}
    for keyword, (place, written) in _ELEMENTS.items():
        text = root.findtext("/".join(f"{{*}}{step}" for step in place.split("/")), "").strip()
        if text:
            found[keyword] = written(text)
    return found
