"""Who was scanned, and when: what the header of an ISMRMRD file says of patient, study and frame of reference.

It is read by itself and for DICOM alone: nothing else that is read from a scan holds it, so that no name, message or
record can have it by accident. Of a Twix file it is not read.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import h5py

from mrfpipe.acquisition.ismrmrd_file import open_ismrmrd
from mrfpipe.errors import InputError

Identity = Mapping[str, str]
"""Patient, study and frame of reference by the keywords of DICOM, written as there; without what is not known."""


_ELEMENTS = {
    "PatientName": "{*}subjectInformation/{*}patientName",
    "PatientID": "{*}subjectInformation/{*}patientID",
    "PatientBirthDate": "{*}subjectInformation/{*}patientBirthdate",
    "PatientSex": "{*}subjectInformation/{*}patientGender",
    "PatientSize": "{*}subjectInformation/{*}patientHeight_m",
    "PatientWeight": "{*}subjectInformation/{*}patientWeight_kg",
    "StudyInstanceUID": "{*}studyInformation/{*}studyInstanceUID",
    "StudyID": "{*}studyInformation/{*}studyID",
    "StudyDate": "{*}studyInformation/{*}studyDate",
    "StudyTime": "{*}studyInformation/{*}studyTime",
    "StudyDescription": "{*}studyInformation/{*}studyDescription",
    "AccessionNumber": "{*}studyInformation/{*}accessionNumber",
    "ReferringPhysicianName": "{*}studyInformation/{*}referringPhysicianName",
    "FrameOfReferenceUID": "{*}measurementInformation/{*}frameOfReferenceUID",
    "PatientPosition": "{*}measurementInformation/{*}patientPosition",
}
"""Where the header has what DICOM calls so."""


def read_identity(path: str | Path) -> Identity:
    """Read who and what a raw scan says that it is of: what its header leaves out is not there.

    The text of the header is taken as it stands. The schema's classes would read an accession number as a number, and
    lose the zeros that it begins with.

    Raises
    ------
    InputError
        If the file is damaged, or has a header that is not XML.
    """
    path = Path(path)
    if not h5py.is_hdf5(path):
        return {}
    with open_ismrmrd(path) as file:
        try:
            root = ET.fromstring(file.xml)  # noqa: S314 - expat bounds what entities grow to
        except ET.ParseError as e:
            raise InputError(f"{path}: the XML header is not valid ISMRMRD ({e}); convert again.") from e
    texts = {keyword: (root.findtext(place) or "").strip() for keyword, place in _ELEMENTS.items()}
    return {keyword: _written(keyword, text) for keyword, text in texts.items() if text}


def _written(keyword: str, text: str) -> str:
    """Write a date or a time as DICOM does: without time zone and marks, and to 1 us."""
    if keyword.endswith("Date"):
        return text[:10].replace("-", "")
    return re.split("[Z+-]", text)[0].replace(":", "")[:13] if keyword.endswith("Time") else text
