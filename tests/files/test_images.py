"""NIfTI: every voxel at its place in the patient, in the unit that is promised."""

import json

import nibabel as nib
import numpy as np
import pytest

from mrfpipe.files.nifti import save_nifti

NAMES = ("FF", "T1H2O", "T1fat", "df", "B1", "M0", "M0phase", "match", "edge", "gap")


def test_one_image_and_sidecar_a_map(tmp_path, maps, provenance):
    save_nifti(maps, tmp_path, provenance)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{n}{e}" for n in NAMES for e in (".json", ".nii.gz"))


def test_voxel_lies_at_its_place_in_the_patient(tmp_path, maps, provenance):
    save_nifti(maps, tmp_path, provenance)
    image = nib.load(tmp_path / "T1H2O.nii.gz")
    assert image.shape == (7, 5, 2)
    values = np.asarray(image.dataobj)
    assert values.dtype == np.float32
    assert values[6, 3, 1] == pytest.approx(1000 * maps.si["T1H2O"][1, 3, 6])
    # By hand from the affine: R = -1.5 y + 20, A = 2 x - 30, S = 8 slice + 5.
    np.testing.assert_allclose(image.affine @ [6, 3, 1, 1], [15.5, -18, 13, 1])
    assert nib.aff2axcodes(image.affine) == ("A", "L", "S")
    for kind in ("get_sform", "get_qform"):
        affine, code = getattr(image, kind)(coded=True)
        assert code == 1
        np.testing.assert_allclose(affine, maps.affine, atol=1e-5)
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.header.get_zooms(), [2, 1.5, 8])


def test_all_maps_in_file_units_and_nan_outside_the_mask(tmp_path, maps, provenance):
    save_nifti(maps, tmp_path, provenance)
    expected = {
        "FF": maps.si["FF"],
        "T1H2O": maps.si["T1H2O"] * 1000,
        "T1fat": maps.si["T1fat"] * 1000,
        "df": maps.si["df"],
        "B1": maps.si["B1"],
        "M0": maps.m0,
        "M0phase": maps.phase,
        "match": maps.match,
        "gap": maps.gap,
        "edge": np.where(maps.mask, maps.edge, np.nan),
    }
    for name in NAMES:
        values = np.asarray(nib.load(tmp_path / f"{name}.nii.gz").dataobj)
        np.testing.assert_allclose(values.transpose(2, 1, 0), expected[name], rtol=1e-6, err_msg=name)
        np.testing.assert_array_equal(np.isnan(values), ~maps.mask.transpose(2, 1, 0))


def test_same_maps_give_the_same_bytes(tmp_path, maps, provenance, monkeypatch):
    save_nifti(maps, tmp_path / "one", provenance)
    monkeypatch.setattr("time.time", lambda: 2e9)
    save_nifti(maps, tmp_path / "two", provenance)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_sidecar_says_how_the_map_was_made(tmp_path, maps, provenance):
    save_nifti(maps, tmp_path, provenance)
    content = json.loads((tmp_path / "T1H2O.json").read_text())
    assert content["Units"] == "ms"
    assert content["Sources"] == [{"path": "a scan.h5", "sha256": "11"}, {"path": "b.h5", "sha256": "22"}]
    assert content["EstimationAlgorithm"] == "exact dictionary matching"
    assert content["Command"] == "mrfpipe match 'a scan.h5'"
    assert (content["Seed"], content["DurationSeconds"], content["Device"]) == (7, 1.5, "cpu")
    assert content["Software"] == provenance.versions
    assert content["Protocol"] == {"Name": "t1ff-small", "Hash": provenance.protocol_hash}
    units = {name: json.loads((tmp_path / f"{name}.json").read_text())["Units"] for name in NAMES}
    others = {"T1H2O": "ms", "T1fat": "ms", "df": "Hz", "M0": "arbitrary", "M0phase": "rad"}
    assert units == dict.fromkeys(NAMES, "1") | others
    assert "2 T1H2O" in json.loads((tmp_path / "edge.json").read_text())["Description"]
