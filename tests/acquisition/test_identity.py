"""Who was scanned: taken from the header as its text stands, and of no file that does not say it."""

import pytest
from ismrmrd_files import acquisitions, small_scan, write_file
from patients import PATIENT, name_patient

from mrfpipe.acquisition.identity import read_identity


@pytest.fixture
def scan(tmp_path):
    return write_file(tmp_path / "scan.h5", acquisitions(small_scan(n_slices=1)))


def test_patient_study_and_frame_of_reference_are_read(scan):
    assert read_identity(scan) == {"PatientPosition": "HFS"}
    name_patient(scan)
    assert read_identity(scan) == PATIENT  # the accession number with its zeros


def test_times_with_a_zone_and_digits_that_dicom_does_not_have(scan):
    name_patient(scan, studyTime="23:59:59.123456789+01:00", studyDate="2026-03-04+01:00", patientName=" ")
    found = read_identity(scan)
    assert (found["StudyTime"], found["StudyDate"]) == ("235959.123456", "20260304")
    assert "PatientName" not in found
