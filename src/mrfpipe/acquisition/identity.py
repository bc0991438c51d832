"""Identity of the patient, study and frame of reference, from the header of an ISMRMRD file.

The identity is read separately and only to write DICOM. Nothing else that is read from a scan contains it, so it cannot
get into file names, messages or records by accident. It is not read from Twix files.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import h5py

from mrfpipe.acquisition.ismrmrd_file import open_ismrmrd
from mrfpipe.errors import InputError

Identity = Mapping[str, str]
"""Values of patient, study and frame of reference by DICOM keyword, in the format of DICOM; unknown ones are absent."""


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
"""Element of the ISMRMRD header for each DICOM keyword."""


def read_identity(path: str | Path) -> Identity:
    """Read the identity from the header of a raw scan; elements that the header lacks are absent.

    The XML is read as text, because the classes of the ISMRMRD schema would convert an accession number to a number and
    lose its leading zeros.

    Raises
    ------
    InputError
        If the file is damaged or its header is not XML.
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
    """Format a date or a time as DICOM does: without time zone and separators, and to 1 us."""
    if keyword.endswith("Date"):
        return text[:10].replace("-", "")
    return re.split("[Z+-]", text)[0].replace(":", "")[:13] if keyword.endswith("Time") else text
