"""DICOM: read back with pydicom alone, every voxel at its place in the patient, with its value, unit and meaning."""

import sys
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from mrfpipe.errors import ResourceError
from mrfpipe.files.dicom import DICOM_FOLDER, require_highdicom, write_dicom
from mrfpipe.files.dicom_identity import study_uid
from mrfpipe.files.nifti import save_nifti
from mrfpipe.files.results import save_result

NAMES = ("FF", "T1H2O", "T1fat", "df", "B1", "M0", "M0phase", "match", "edge", "gap")
PLACE_MM = 1e-5
"""Cosines and positions have nine digits in DICOM, and the maps span tens of mm."""


def oblique(maps):
    """Maps whose three axes all run askew, of three sizes, with an odd origin, x and y swapped by a third of a turn."""
    a, b, c = 0.3, -0.5, 2.0
    turns = [
        np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]),
        np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]),
        np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]),
    ]
    affine = np.eye(4)
    affine[:3, :3] = turns[0] @ turns[1] @ turns[2] * [1.25, 2.5, 8.0]
    affine[:3, 3] = 11.5, -42.0, 97.25
    return replace(maps, affine=affine)


def voxels(path):
    """Value and LPS position in mm of every voxel, by the equation of PS3.3 C.7.6.2.1.1. Keyed by (slice, y, x)."""
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    d_rows, d_columns = (float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing)
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    positions = np.array(
        [f.PlanePositionSequence[0].ImagePositionPatient for f in dataset.PerFrameFunctionalGroupsSequence], float
    )
    values = dataset.pixel_array
    _, rows, columns = np.indices(values.shape)
    lps = (
        positions[:, None, None, :]
        + cosines[:3] * (d_columns * columns)[..., None]
        + cosines[3:] * (d_rows * rows)[..., None]
    )
    return dataset, values, lps


@pytest.fixture(scope="module")
def written(tmp_path_factory, maps, provenance):
    pytest.importorskip("highdicom")
    folder = tmp_path_factory.mktemp("dicom")
    write_dicom(oblique(maps), folder, name="a scan", provenance=provenance)
    return folder


def test_one_object_a_map(written):
    assert sorted(p.stem for p in written.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_voxel_is_where_nifti_has_it(written, maps, provenance, tmp_path, name):
    askew = oblique(maps)
    save_nifti(askew, tmp_path, provenance)
    image = nib.load(tmp_path / f"{name}.nii.gz")
    expected = np.asarray(image.dataobj)
    dataset, values, lps = voxels(written / f"{name}.dcm")
    assert (dataset.NumberOfFrames, dataset.Rows, dataset.Columns) == maps.mask.shape
    assert values.dtype == np.float32
    # From where a voxel lies in DICOM back to its index in NIfTI: RAS is LPS with x and y turned round.
    index = (
        np.linalg.inv(askew.affine) @ np.moveaxis(np.insert(lps * [-1, -1, 1], 3, 1, axis=-1), -1, 0).reshape(4, -1)
    )[:3]
    nearest = np.rint(index).astype(int)
    np.testing.assert_allclose(index, nearest, atol=PLACE_MM)
    np.testing.assert_array_equal(values.ravel(), expected[tuple(nearest)])
    assert len(np.unique(nearest, axis=1).T) == maps.mask.size
    assert np.isnan(values).any()


def test_a_voxel_by_hand(tmp_path, maps, provenance):
    pytest.importorskip("highdicom")
    write_dicom(maps, tmp_path, name="a scan", provenance=provenance)
    _, values, lps = voxels(tmp_path / "T1H2O.dcm")
    # R = -1.5 y + 20, A = 2 x - 30, S = 8 slice + 5 at y = 3, x = 6, slice 1; L = -R, P = -A.
    here = np.flatnonzero(np.all(np.abs(lps - [-15.5, 18, 13]) < PLACE_MM, axis=-1))
    assert values.ravel()[here] == pytest.approx([1000 * maps.si["T1H2O"][1, 3, 6]])


@pytest.mark.parametrize(
    ("name", "unit", "quantity"),
    [
        ("FF", "1", "129100"),
        ("T1H2O", "ms", "113063"),
        ("T1fat", "ms", "113063"),
        ("df", "Hz", None),
        ("M0", "[arb'U]", None),
        ("M0phase", "rad", None),
    ],
)
def test_unit_and_quantity_are_coded(written, maps, name, unit, quantity):
    dataset, values, _ = voxels(written / f"{name}.dcm")
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.30"
    (shared,) = dataset.SharedFunctionalGroupsSequence
    (mapping,) = shared.RealWorldValueMappingSequence
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == unit
    assert mapping.MeasurementUnitsCodeSequence[0].CodingSchemeDesignator == "UCUM"
    assert mapping.DoubleFloatRealWorldValueFirstValueMapped == np.nanmin(values)
    assert mapping.DoubleFloatRealWorldValueLastValueMapped == np.nanmax(values)
    if quantity is None:
        assert "QuantityDefinitionSequence" not in mapping
    else:
        (concept,) = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence
        assert (concept.CodeValue, concept.CodingSchemeDesignator) == (quantity, "DCM")
    (window,) = shared.FrameVOILUTSequence
    assert float(window.WindowWidth) == pytest.approx(np.nanmax(values) - np.nanmin(values), rel=1e-6)


def test_patient_is_the_scan_and_nothing_refers_to_an_image_that_is_not_there(written):
    dataset, _, _ = voxels(written / "FF.dcm")
    assert (dataset.PatientName.family_name, dataset.PatientID) == ("a scan", "a scan")
    assert dataset.StudyDate == dataset.PatientBirthDate == dataset.PatientSex == ""
    assert dataset.ContentQualification == "RESEARCH"
    assert "ReferencedSeriesSequence" not in dataset
    assert all("DerivationImageSequence" not in frame for frame in dataset.PerFrameFunctionalGroupsSequence)
    assert "exact dictionary matching" in dataset.ImageComments


def test_one_study_a_scan_one_series_a_map(written, provenance):
    datasets = [voxels(path)[0] for path in written.iterdir()]
    assert {d.StudyInstanceUID for d in datasets} == {study_uid("a scan", provenance)}
    assert len({d.FrameOfReferenceUID for d in datasets}) == 1
    for uid in ("SeriesInstanceUID", "SOPInstanceUID", "SeriesNumber"):
        assert len({d[uid].value for d in datasets}) == len(datasets)
    assert len(study_uid("a scan", provenance)) <= 64
    by_network = replace(provenance, inputs={"elsewhere/a scan.h5": "11", "model": "33"}, method="network")
    assert study_uid("a scan", by_network) == study_uid("a scan", provenance)
    namesake = replace(provenance, inputs={"a scan.h5": "12", "b.h5": "22"})
    assert study_uid("a scan", namesake) != study_uid("a scan", provenance)


def test_names_that_dicom_would_split(tmp_path, maps, provenance):
    pytest.importorskip("highdicom")
    write_dicom(maps, tmp_path, name=f"Müller^1\\2={'x' * 80}", provenance=provenance)
    dataset, _, _ = voxels(tmp_path / "FF.dcm")
    assert dataset.PatientName.family_name.startswith("Müller_1_2_xxx")
    assert len(dataset.PatientID.encode()) == 64


def test_maps_without_any_voxel(tmp_path, maps, provenance):
    pytest.importorskip("highdicom")
    write_dicom(replace(maps, mask=np.zeros_like(maps.mask)), tmp_path, name="empty", provenance=provenance)
    assert np.isnan(voxels(tmp_path / "FF.dcm")[1]).all()


def test_result_folder_has_it_beside_the_images(tmp_path, maps, provenance):
    pytest.importorskip("highdicom")
    save_result(tmp_path / "scan", maps, provenance, dicom=True, force=False)
    assert {"FF.dcm", "T1H2O.dcm"} <= {p.name for p in (tmp_path / "scan" / DICOM_FOLDER).iterdir()}
    assert (tmp_path / "scan" / "FF.nii.gz").exists()
    save_result(tmp_path / "without", maps, provenance, force=False)
    assert not (tmp_path / "without" / DICOM_FOLDER).exists()


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(ResourceError, match=r"pip install 'mrfpipe\[dicom\]'"):
        require_highdicom()
