"""`--dicom`: written beside the other images, asked for again if it is missing, refused early without the extra."""

import shutil
import sys

import pytest


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
