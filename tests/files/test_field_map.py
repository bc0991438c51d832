"""Off-resonance of a scan's voxels, from a result or from a field map of others: its sense, its place, its gaps."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest

from mrfpipe.errors import InputError, MismatchError
from mrfpipe.files.field_map import load_field_map
from mrfpipe.files.results import save_result


@pytest.fixture
def result(tmp_path, maps, provenance):
    save_result(tmp_path / "scan", maps, provenance, force=False)
    return tmp_path / "scan"


@pytest.fixture
def bids(tmp_path, maps, provenance):
    folder = tmp_path / "dataset" / "sub-01"
    save_result(folder, maps, provenance, bids=True, force=False)
    return folder


def test_a_result_and_its_field_map_in_bids_are_the_same(result, bids, maps):
    """BIDS has the offset of the Larmor frequency, which turns signals the other way than a protocol's df."""
    shape = maps.mask.shape
    for path in (result, result / "maps.h5", bids, bids / "fmap" / "sub-01_fieldmap.nii.gz"):
        found = load_field_map(path, shape, maps.affine)
        np.testing.assert_array_equal(found[maps.mask], maps.si["df"][maps.mask])
    stored = nibabel.load(bids / "fmap" / "sub-01_fieldmap.nii.gz").get_fdata().transpose(2, 1, 0)
    np.testing.assert_array_equal(stored[maps.mask], -maps.si["df"][maps.mask])


def test_where_a_map_has_no_number_the_nearest_voxel_counts_and_others_are_refused(tmp_path):
    values = np.full((2, 3, 5), np.nan)
    values[0, 0, 0], values[1, 2, 4] = 10.0, 20.0
    nibabel.save(nibabel.Nifti1Image(values.transpose(2, 1, 0), np.eye(4)), tmp_path / "b0.nii.gz")
    found = load_field_map(tmp_path / "b0.nii.gz", (2, 3, 5), np.eye(4))
    assert (found[0, 0, 1], found[1, 2, 3], found[1, 0, 0]) == (-10, -20, -10)
    assert np.isfinite(found).all()
    nibabel.save(nibabel.Nifti1Image(1e3 * values.transpose(2, 1, 0), np.eye(4)), tmp_path / "rad.nii.gz")
    with pytest.raises(InputError, match=r"rad\.nii\.gz holds up to 2e\+04 Hz, too much for off-resonance; give"):
        load_field_map(tmp_path / "rad.nii.gz", (2, 3, 5), np.eye(4))
    nibabel.save(nibabel.Nifti1Image(0 * values.transpose(2, 1, 0) * np.nan, np.eye(4)), tmp_path / "none.nii")
    with pytest.raises(InputError, match=r"none\.nii holds no finite value; give one on the scan's own grid"):
        load_field_map(tmp_path / "none.nii", (2, 3, 5), np.eye(4))


def test_what_is_no_map_of_the_scan_is_refused(result, maps, provenance, tmp_path):
    shape = maps.mask.shape
    with pytest.raises(
        InputError, match=r"df\.nii\.gz has the sign of a result's map, not of a BIDS field map; give the result"
    ):
        load_field_map(result / "df.nii.gz", shape, maps.affine)
    with pytest.raises(MismatchError, match=r"has shape \(7, 5, 2\) and the scan \(7, 5, 3\) \(x, y, slices\); give"):
        load_field_map(result, (3, *shape[1:]), maps.affine)
    moved = maps.affine.copy()
    moved[2, 3] += 4
    with pytest.raises(MismatchError, match="lies elsewhere than the scan: corners of the two images are up to 4 mm"):
        load_field_map(result, shape, moved)
    others = tuple(p for p in maps.parameters if p.name != "df")
    save_result(tmp_path / "still", replace(maps, parameters=others, edge=0 * maps.edge), provenance, force=False)
    with pytest.raises(InputError, match="has no map of off-resonance, but of FF, T1H2O, T1fat, B1; give one"):
        load_field_map(tmp_path / "still", shape, maps.affine)
