"""A patient and his study, as the header of a raw scan and as a DICOM image have them."""

from pathlib import Path
from xml.etree import ElementTree as ET

import h5py

PATIENT = {
    "PatientName": "Müller^Änne",
    "PatientID": "P-0042",
    "PatientBirthDate": "19610203",
    "PatientSex": "F",
    "PatientSize": "1.68",
    "PatientWeight": "61.5",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1",
    "StudyID": "S9",
    "StudyDate": "20260304",
    "StudyTime": "050607.25",
    "StudyDescription": "Thigh, follow-up",
    "AccessionNumber": "001234567890",
    "ReferringPhysicianName": "House^Gregory",
    "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.2",
    "PatientPosition": "FFS",
}
"""By the keywords of DICOM."""
SECTIONS = {
    "subjectInformation": {
        "patientName": "Müller^Änne",
        "patientWeight_kg": "61.5",
        "patientHeight_m": "1.68",
        "patientID": "P-0042",
        "patientBirthdate": "1961-02-03",
        "patientGender": "F",
    },
    "studyInformation": {
        "studyDate": "2026-03-04",
        "studyTime": "05:06:07.25",
        "studyID": "S9",
        "accessionNumber": "001234567890",
        "referringPhysicianName": "House^Gregory",
        "studyDescription": "Thigh, follow-up",
        "studyInstanceUID": "1.2.826.0.1.3680043.8.498.1",
    },
    "measurementInformation": {"patientPosition": "FFS", "frameOfReferenceUID": "1.2.826.0.1.3680043.8.498.2"},
}
"""The same in the header of ISMRMRD, by its sections."""


def name_patient(scan: Path, **changed: str) -> None:
    """Write the patient into the header of an ISMRMRD file, with elements changed by their names there."""
    space = "{http://www.ismrm.org/ISMRMRD}"
    with h5py.File(scan, "r+") as file:
        root = ET.fromstring(file["dataset/xml"][0])  # noqa: S314 - the test's own
        for number, (section, elements) in enumerate(SECTIONS.items()):
            old = root.find(space + section)
            if old is not None:
                root.remove(old)
            new = ET.Element(space + section)
            for name, text in elements.items():
                ET.SubElement(new, space + name).text = changed.get(name, text)
            root.insert(number, new)
        file["dataset/xml"][0] = ET.tostring(root)


def image_of_patient(path: Path, *, charset: str = "ISO_IR 100", **changed: str) -> Path:
    """Write a DICOM image of the patient, with attributes changed by their keywords."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian

    image = Dataset()
    image.SpecificCharacterSet = charset
    for keyword, text in (PATIENT | changed).items():
        setattr(image, keyword, text)
    image.SOPClassUID, image.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", "1.2.3"
    image.SeriesDescription = "of the localizer"
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)
    return path
