"""BIDS: one dataset of many scans, in the signs and units that it prescribes, without an error of its validator."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrfpipe.errors import InputError, OutputExistsError
from mrfpipe.files.bids import describe_dataset, is_bids, label_of, save_bids, scan_entities, scan_folder
from mrfpipe.files.results import save_result
from mrfpipe.physics.simulate import SPOILED, fingerprints
from mrfpipe.protocol import load_protocol


def values_of(path):
    """Values with axes (slices, y, x)."""
    return np.asarray(nib.load(path).dataobj).transpose(2, 1, 0)


@pytest.fixture
def dataset(tmp_path, maps, provenance):
    """Two subjects, the first of them with two sessions."""
    root = tmp_path / "derivatives"
    for subject, session in (("01", "a"), ("01", "b"), ("02", None)):
        save_result(scan_folder(root, subject, session), maps, provenance, bids=True, dicom=False, force=False)
    return root


def test_maps_have_the_names_and_units_of_bids(tmp_path, maps, provenance):
    save_bids(maps, tmp_path, provenance, entities="sub-P07_ses-1")
    expected = {
        "anat/sub-P07_ses-1_T1map": (maps.si["T1H2O"], "s"),
        "anat/sub-P07_ses-1_desc-T1fat_T1map": (maps.si["T1fat"], "s"),
        "anat/sub-P07_ses-1_M0map": (maps.m0, "arbitrary"),
        "anat/sub-P07_ses-1_M0phasemap": (maps.phase, "rad"),
        "anat/sub-P07_ses-1_gapmap": (maps.gap, "1"),
        "anat/sub-P07_ses-1_FFmap": (maps.si["FF"], "1"),
        "fmap/sub-P07_ses-1_TB1map": (100 * maps.si["B1"], "percent"),
        "fmap/sub-P07_ses-1_fieldmap": (-maps.si["df"], "Hz"),
        "fmap/sub-P07_ses-1_magnitude": (maps.m0, "arbitrary"),
    }
    for name, (values, unit) in expected.items():
        np.testing.assert_allclose(values_of(tmp_path / f"{name}.nii.gz"), values, rtol=1e-6, err_msg=name)
        content = json.loads((tmp_path / f"{name}.json").read_text())
        assert content["Units"] == unit
        assert content["Sources"] == ["a scan.h5", "b.h5"]
        assert content["SourcesSha256"] == ["11", "22"]


def test_the_field_map_is_positive_where_the_frequency_is_higher(tmp_path, maps, provenance):
    """Fat's frequency is lower than water's by 3.4 ppm. Where water turns as fat does, the field is lower."""
    protocol = load_protocol("t1ff")
    frame = np.flatnonzero(np.diff(protocol.sequence.te))[0] // protocol.sequence.readouts_per_frame
    voxel = {"T1H2O": np.array([1.2]), "T1fat": np.array([0.3]), "B1": np.array([1.0])}

    def turn(ff, df):
        """Angle by which the signal turns from the last frames of the shortest echo time to the first of the next."""
        (signal,) = fingerprints(protocol, voxel | {"FF": np.array([ff]), "df": np.array([df])}, model=SPOILED)
        return np.angle(signal[frame + 2] / signal[frame - 1])

    # 60 Hz over 1.06 ms are 23 degrees; fat's -395.6 Hz, 151 degrees, and its other peaks about it.
    assert np.sign(turn(0.0, 60.0)) == np.sign(turn(1.0, 0.0)) == 1
    assert np.sign(turn(0.0, -60.0)) == -1
    save_bids(maps, tmp_path, provenance, entities="sub-1")
    field = values_of(tmp_path / "fmap" / "sub-1_fieldmap.nii.gz")[maps.mask]
    assert np.array_equal(field, -maps.si["df"][maps.mask])
    assert not np.any(field == maps.si["df"][maps.mask])  # there is a sign to lose everywhere


def test_validator_finds_no_error(dataset, tmp_path):
    validator = shutil.which("bids-validator-deno", path=Path(sys.executable).parent)
    if validator is None:
        pytest.skip("bids-validator-deno is not installed")
    for folder in (dataset / "sub-01" / "ses-a", dataset / "sub-02"):  # what else a result holds
        for name in ("maps.png", "report.html", "fingerprints.h5", "dicom/FF.dcm", "dicom-int16/FF-001.dcm"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("x")
    done = subprocess.run(
        [validator, "--format", "json", str(dataset)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"HOME": str(tmp_path), "PATH": str(Path(validator).parent), "NO_COLOR": "1"},
    )
    found = json.loads(done.stdout)
    issues = found["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert sorted(found["summary"]["subjects"]) == ["01", "02"]
    assert done.returncode == 0


def test_a_dataset_holds_many_scans_and_loses_none(dataset, maps, provenance):
    first = values_of(dataset / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_T1map.nii.gz")
    np.testing.assert_allclose(first, maps.si["T1H2O"], rtol=1e-6)
    folders = {str(path.parent.relative_to(dataset)) for path in dataset.rglob("maps.h5")}
    assert folders == {"sub-01/ses-a", "sub-01/ses-b", "sub-02"}
    assert all(is_bids(dataset / folder) for folder in folders)
    description = json.loads((dataset / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert [made["Name"] for made in description["GeneratedBy"]] == ["mrfpipe"]
    assert sorted(p.name for p in dataset.iterdir()) == [".bidsignore", "dataset_description.json", "sub-01", "sub-02"]


def test_what_others_wrote_of_a_dataset_stays(dataset, maps):
    path = dataset / "dataset_description.json"
    content = json.loads(path.read_text()) | {"Authors": ["A. Bee"], "GeneratedBy": [{"Name": "fmriprep"}]}
    path.write_text(json.dumps(content))
    (dataset / ".bidsignore").write_text("*_mine.*\n")
    describe_dataset(scan_folder(dataset, "03", "a"), maps)
    after = json.loads(path.read_text())
    assert after["Authors"] == ["A. Bee"]
    assert [made["Name"] for made in after["GeneratedBy"]] == ["fmriprep", "mrfpipe"]
    ignored = (dataset / ".bidsignore").read_text().splitlines()
    assert ignored[0] == "*_mine.*"
    assert "**/*_FFmap.*" in ignored


def test_a_failed_scan_leaves_the_dataset_as_it_was(dataset, maps, provenance):
    def fail(folder):
        raise KeyboardInterrupt

    before = sorted(dataset.rglob("*"))
    with pytest.raises(KeyboardInterrupt):
        save_result(scan_folder(dataset, "03"), maps, provenance, bids=True, force=False, extra=fail)
    assert sorted(dataset.rglob("*")) == before


def test_what_would_mix_scans_up_is_refused(dataset, tmp_path, maps, provenance):
    with pytest.raises(OutputExistsError, match="sub-02 has a scan without a session"):
        scan_folder(dataset, "02", "a")
    with pytest.raises(OutputExistsError, match=r"sub-01 is a folder without maps\.h5"):
        save_result(scan_folder(dataset, "01"), maps, provenance, bids=True, force=True)
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "dataset_description.json").write_text('{"Name": "raw", "DatasetType": "raw"}')
    with pytest.raises(OutputExistsError, match="not of derivatives; choose another -o"):
        scan_folder(raw, "01")
    (raw / "dataset_description.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        scan_folder(raw, "01")


def test_suffixes_that_bids_does_not_know_are_declared(dataset):
    ignored = (dataset / ".bidsignore").read_text()
    for suffix in ("FFmap", "M0phasemap", "matchmap", "edgemap", "gapmap"):
        assert f"_{suffix}." in ignored
        content = json.loads((dataset / "sub-02" / "anat" / f"sub-02_{suffix}.json").read_text())
        assert "not part of BIDS" in content["Description"]
    assert "T1map" not in ignored


def test_labels(tmp_path):
    assert label_of("scan_07-left.a") == "scan07lefta"
    assert label_of("__") == "01"
    for label in ("a_b", "", "ä"):
        with pytest.raises(ValueError, match="letters and digits"):
            scan_folder(tmp_path, label)
        with pytest.raises(ValueError, match="letters and digits"):
            scan_folder(tmp_path, "01", label)
    assert scan_entities(scan_folder(tmp_path, "01", "a")) == "sub-01_ses-a"
    assert scan_entities(tmp_path / "out" / "ses-of-mine") == "ses-of-mine"
