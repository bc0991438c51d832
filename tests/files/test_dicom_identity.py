"""Whom DICOM says that maps are of: the patient of the header or of another image, whole and as given, or nobody."""

import shutil
import subprocess

import pytest
from patients import PATIENT, image_of_patient

from mrfpipe.errors import InputError
from mrfpipe.files.dicom import write_dicom
from mrfpipe.files.dicom_identity import ANONYMOUS, check_identity, identity_of_image
from mrfpipe.files.dicom_images import write_dicom_images

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

WRITERS = (write_dicom, write_dicom_images)


def written(folder, maps, provenance, identity, writer):
    writer(maps, folder, name="a scan", provenance=provenance, identity=identity)
    return sorted(folder.glob("*.dcm"))


def texts(path):
    return {element.keyword: str(element.value) for element in pydicom.dcmread(path) if element.keyword in PATIENT}


@pytest.mark.parametrize("writer", WRITERS)
def test_patient_study_and_frame_of_reference_are_those_given(tmp_path, maps, provenance, writer):
    check_identity(PATIENT, "scan.h5")
    named = written(tmp_path / "named", maps, provenance, PATIENT, writer)
    assert all(texts(path) == PATIENT for path in named)
    nobody = written(tmp_path / "nobody", maps, provenance, ANONYMOUS, writer)
    of_scan = texts(nobody[0])
    assert (of_scan["PatientName"], of_scan["PatientID"], of_scan["StudyDescription"]) == (
        "a scan^",
        "a scan",
        "a scan",
    )
    assert {k for k, text in of_scan.items() if text} == {
        "PatientName",
        "PatientID",
        "StudyDescription",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
    }
    # Objects of two patients are two objects.
    for uid in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert not {pydicom.dcmread(p)[uid].value for p in named} & {pydicom.dcmread(p)[uid].value for p in nobody}


def test_an_examination_whose_patient_is_not_named_is_not_given_the_name_of_the_scan(tmp_path, maps, provenance):
    study = {"StudyInstanceUID": PATIENT["StudyInstanceUID"]}
    found = texts(written(tmp_path, maps, provenance, study, write_dicom)[0])
    assert (found["PatientName"], found["PatientID"], found["StudyInstanceUID"]) == ("", "", study["StudyInstanceUID"])
    assert "StudyDescription" not in found


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Änne"),
        ("ISO_IR 192", "Yamada^Tarou=山田^太郎"),
        ("ISO_IR 144", "\u0416\u0443\u043a\u043e\u0432"),
    ],
)
def test_an_image_gives_the_patient_in_any_character_set(tmp_path, maps, provenance, charset, name):
    image = image_of_patient(tmp_path / "reference.dcm", charset=charset, PatientName=name, IssuerOfPatientID="Ward 4")
    identity = identity_of_image(image)
    assert identity == PATIENT | {"PatientName": name, "IssuerOfPatientID": "Ward 4"}
    dataset = pydicom.dcmread(written(tmp_path / "out", maps, provenance, identity, write_dicom_images)[0])
    assert (dataset.PatientName, dataset.IssuerOfPatientID) == (name, "Ward 4")
    assert dataset.SeriesDescription == "B1 (1)"


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("StudyInstanceUID", "1.2.x"),
        ("PatientSex", "female"),
        ("PatientBirthDate", "1961"),
        ("AccessionNumber", "12345678901234567"),
        ("PatientName", "Doe\\John"),
        ("PatientID", "P\t42"),
        ("PatientName", "D" * 65),
    ],
)
def test_what_dicom_cannot_hold_is_refused_and_not_told(keyword, text):
    with pytest.raises(InputError, match=f"scan.h5 has a {keyword} that DICOM cannot hold; correct it") as refused:
        check_identity(PATIENT | {keyword: text}, "scan.h5")
    assert text not in str(refused.value)


def test_an_image_whose_values_cannot_be_is_read_in_silence(tmp_path):
    """A warning would tell the value."""
    image = image_of_patient(tmp_path / "reference.dcm")
    image.write_bytes(image.read_bytes().replace(b"1.2.826.0.1.3680043.8.498.1", b"1.2.826.0.1.x680043.8.498.1"))
    with pytest.raises(InputError, match="StudyInstanceUID that DICOM cannot hold"):
        check_identity(identity_of_image(image), image)


def test_references_that_are_none(tmp_path):
    with pytest.raises(InputError, match=r"none\.dcm cannot be read: No such file"):
        identity_of_image(tmp_path / "none.dcm")
    (tmp_path / "text.dcm").write_text("no image")
    with pytest.raises(InputError, match=r"text\.dcm is not a DICOM image"):
        identity_of_image(tmp_path / "text.dcm")
    image_of_patient(tmp_path / "of-none.dcm", StudyInstanceUID="")
    with pytest.raises(InputError, match=r"of-none\.dcm names no study; give a DICOM image"):
        identity_of_image(tmp_path / "of-none.dcm")


@pytest.mark.parametrize("identity", [ANONYMOUS, PATIENT], ids=["nobody", "patient"])
@pytest.mark.parametrize("writer", WRITERS)
def test_the_validator_finds_no_error(tmp_path, maps, provenance, writer, identity):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed; it comes with Debian's dicom3tools")
    for path in written(tmp_path, maps, provenance, identity, writer):
        said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False).stderr
        assert "Error" not in said, f"{path.name}: {said}"
        assert ("ParametricMap" if writer is write_dicom else "MRImage") in said
