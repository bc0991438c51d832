"""`--dicom`: written beside the other images, asked for again if it is missing, refused early without the extra.

Whom it is of comes from the scan or from `--like`, and is told nowhere else.
"""

import gzip
import shutil
import sys
from pathlib import Path

import h5py
import pytest
from mrfpipe.cli.dicom_options import Dicom
from patients import PATIENT, image_of_patient, name_patient


def test_match_writes_dicom_and_knows_whether_it_did(run, study, of_frames, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    common = ("match", study / "leg.frames.h5", "-d", study / "small.h5", "-o", tmp_path)
    shutil.copytree(of_frames, tmp_path / "leg")
    # A result without DICOM is not the one asked for, and is not silently replaced.
    run(*common, "--dicom", code=5)
    run(*common, "--dicom", "--force")
    dataset = pydicom.dcmread(tmp_path / "leg" / "dicom" / "T1H2O.dcm")
    assert (dataset.NumberOfFrames, dataset.PatientID) == (2, "leg")
    assert "skipped" in run(*common, "--dicom").stderr
    assert "skipped" in run(*common).stderr


@pytest.mark.parametrize("line", [("match", "-d", "small.h5"), ("reconstruct",)], ids=lambda line: line[0])
def test_without_the_extra_nothing_is_begun(run, study, monkeypatch, tmp_path, line):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    monkeypatch.chdir(study)
    result = run(*line, "leg.h5", "-o", tmp_path / "out", "--dicom", code=6)
    assert "pip install 'mrfpipe[dicom]'" in result.stderr
    assert "device" not in result.stderr


def told(folder, line):
    """All that a command said, and all that it wrote but DICOM, names included."""
    parts = [line.output, line.stderr]
    for path in sorted(folder.rglob("*")):
        parts.append(path.name)
        if path.is_file() and path.suffix != ".dcm":
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            parts.append(content.decode("utf-8", errors="ignore"))
            if path.suffix == ".h5":
                with h5py.File(path) as file:  # whose datasets are packed
                    parts += [str(d[()]) for d in file.values() if not d.shape]
    return "\n".join(parts)


SECRETS = ("Müller", "M\\u00fcller", "Änne", "P-0042", "19610203", "001234567890", "House^Gregory", ".3680043.8.498")


def test_the_patient_of_the_scan_is_in_its_dicom_and_nowhere_else(run, study, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    scan = shutil.copy(study / "leg.h5", tmp_path / "leg.h5")
    name_patient(scan)
    common = ("match", scan, "-d", study / "small.h5", "-o", tmp_path / "out", "--no-refine", "--dicom-int16")
    line = run(*common, "--dicom", "-v")
    for file in ("dicom/FF.dcm", "dicom-int16/FF-002.dcm"):
        dataset = pydicom.dcmread(tmp_path / "out" / "leg" / file)
        assert {keyword: str(dataset[keyword].value) for keyword in PATIENT} == PATIENT
    said = told(tmp_path / "out", line)
    assert len(said) > 100_000
    assert "exact" in said
    assert not [secret for secret in SECRETS if secret in said]
    # What is done is of this patient, and of no other.
    assert "skipped" in run(*common).stderr
    name_patient(scan, patientID="P-0043")
    assert "another scan" in run(*common, code=5).stderr


def test_like_takes_patient_and_study_from_an_image_of_the_examination(run, study, tmp_path, monkeypatch):
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    images = tmp_path / "DOE^JOHN"
    images.mkdir()
    reference, other = image_of_patient(images / "a.dcm"), image_of_patient(images / "b.dcm", PatientID="P-0043")
    common = ["match", study / "leg.frames.h5", "-d", study / "small.h5", "-o", tmp_path / "out", "--dicom-int16"]
    words = [str(word) for word in (*common, "--no-refine", "--like", reference)]
    monkeypatch.setattr(sys, "argv", ["mrfpipe", *words])
    line = run(*words)
    dataset = pydicom.dcmread(tmp_path / "out" / "leg" / "dicom-int16" / "T1H2O-001.dcm")
    assert {keyword: str(dataset[keyword].value) for keyword in PATIENT} == PATIENT
    said = told(tmp_path / "out", line)
    assert "--like REFERENCE.dcm" in said
    assert not [secret for secret in ("DOE^JOHN", *SECRETS) if secret in said]
    assert "skipped" in run(*words).stderr
    assert "DICOM of the images" in run(*words[:-1], other, code=5).stderr
    assert "DICOM of the images" in run(*words[:-2], code=5).stderr


@pytest.mark.parametrize("like", [["--like", "DOE/a.dcm"], ["--like=./DOE/a.dcm"]])
def test_the_record_of_a_command_does_not_name_the_reference(like):
    hidden = Dicom(dicom=True, dicom_int16=False, like=Path("DOE/a.dcm")).unnamed(["mrfpipe", "match", *like, "a.h5"])
    assert " ".join(hidden).replace("=", " ") == "mrfpipe match --like REFERENCE.dcm a.h5"


def test_like_is_for_one_scan_and_for_dicom(run, study, tmp_path):
    pytest.importorskip("pydicom")
    reference = image_of_patient(tmp_path / "reference.dcm")
    common = ("match", study / "leg.h5", "-d", study / "small.h5", "-o", tmp_path / "out", "--like")
    assert "--like requires --dicom" in run(*common, reference, code=2).stderr
    several = run(*common, reference, "--dicom", study / "leg.frames.h5", code=2)
    assert "--like names the patient of one scan" in several.stderr
    assert "a raw scan (ISMRMRD), a DICOM file was expected" in run(*common, study / "leg.h5", "--dicom", code=3).stderr


def test_a_patient_that_dicom_cannot_hold_is_told_before_the_work(run, study, tmp_path):
    pytest.importorskip("highdicom")
    scan = shutil.copy(study / "leg.h5", tmp_path / "leg.h5")
    name_patient(scan, studyInstanceUID="1.2.x")
    common = ("match", scan, "-d", study / "small.h5", "-o", tmp_path / "out", "--dicom")
    said = run(*common, code=3).stderr
    assert "leg.h5 has a StudyInstanceUID that DICOM cannot hold; correct it, or take patient and study" in said
    assert not (tmp_path / "out" / "leg").exists()
