"""NIfTI and BIDS: every voxel at its place in the patient, in the unit that is promised."""

import json

import nibabel as nib
import numpy as np
import pytest

from mrfpipe.files.bids import save_bids, subject_label
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
    assert values[6, 3, 1] == pytest.approx(1000 * maps.t1w[1, 3, 6])
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
        "FF": maps.ff,
        "T1H2O": maps.t1w * 1000,
        "T1fat": maps.t1f * 1000,
        "df": maps.df,
        "B1": maps.b1,
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
    assert content["SoftwareVersions"] == provenance.versions
    assert content["Protocol"] == {"Name": "t1ff-small", "Hash": provenance.protocol_hash}
    units = {name: json.loads((tmp_path / f"{name}.json").read_text())["Units"] for name in NAMES}
    others = {"T1H2O": "ms", "T1fat": "ms", "df": "Hz", "M0": "arbitrary", "M0phase": "rad"}
    assert units == dict.fromkeys(NAMES, "1") | others
    assert "2 T1H2O" in json.loads((tmp_path / "edge.json").read_text())["Description"]


def test_bids_dataset(tmp_path, maps, provenance):
    save_bids(maps, tmp_path, provenance, subject="P07")
    description = json.loads((tmp_path / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "mrfpipe"
    expected = {
        "anat/sub-P07_T1map": (maps.t1w, "s"),
        "anat/sub-P07_desc-fat_T1map": (maps.t1f, "s"),
        "anat/sub-P07_M0map": (maps.m0, "arbitrary"),
        "anat/sub-P07_M0phasemap": (maps.phase, "rad"),
        "anat/sub-P07_gapmap": (maps.gap, "1"),
        "anat/sub-P07_FFmap": (maps.ff, "1"),
        "fmap/sub-P07_TB1map": (100 * maps.b1, "percent"),
        "fmap/sub-P07_fieldmap": (maps.df, "Hz"),
    }
    for name, (values, unit) in expected.items():
        image = nib.load(tmp_path / "sub-P07" / f"{name}.nii.gz")
        np.testing.assert_allclose(np.asarray(image.dataobj).transpose(2, 1, 0), values, rtol=1e-6)
        sidecar = json.loads((tmp_path / "sub-P07" / f"{name}.json").read_text())
        assert sidecar["Units"] == unit
        assert sidecar["Sources"] == ["a scan.h5", "b.h5"]
        assert sidecar["SourcesSha256"] == ["11", "22"]


def test_suffixes_that_bids_does_not_know_are_declared(tmp_path, maps, provenance):
    save_bids(maps, tmp_path, provenance, subject="1")
    ignored = (tmp_path / ".bidsignore").read_text()
    for suffix in ("FFmap", "M0phasemap", "matchmap", "edgemap", "gapmap"):
        assert f"_{suffix}." in ignored
        sidecar = json.loads((tmp_path / "sub-1" / "anat" / f"sub-1_{suffix}.json").read_text())
        assert "not part of BIDS" in sidecar["Description"]
    assert "T1map" not in ignored


def test_subject_labels(tmp_path, maps, provenance):
    assert subject_label("scan_07-left.a") == "scan07lefta"
    assert subject_label("__") == "01"
    for label in ("a_b", "", "ä"):
        with pytest.raises(ValueError, match="letters and digits"):
            save_bids(maps, tmp_path, provenance, subject=label)
