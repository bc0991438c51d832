"""Where the slices of an ISMRMRD file lie, and in which order they come."""

from pathlib import Path

import numpy as np
import pytest
from ismrmrd_files import (
    AFFINE_TOLERANCE_MM,
    FIRST_POSITION,
    FOV_MM,
    MATRIX,
    SPACING_MM,
    acquisitions,
    expected_affine,
    small_scan,
    small_sequence,
    write_file,
)

from mrfpipe.acquisition.ismrmrd import read_ismrmrd


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a scan.h5"


def test_affine_of_each_axis(path):
    """One voxel further along x, y and slice is one voxel further along read, phase and normal, in RAS."""
    affine = read_ismrmrd(write_file(path, acquisitions(small_scan())), small_sequence()).affine
    centre = affine @ [MATRIX // 2, MATRIX // 2, 0, 1]
    np.testing.assert_allclose(centre[:3], FIRST_POSITION * [-1, -1, 1], atol=AFFINE_TOLERANCE_MM)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    np.testing.assert_allclose(sizes, [FOV_MM / MATRIX, FOV_MM / MATRIX, SPACING_MM], atol=AFFINE_TOLERANCE_MM)
    columns = affine[:3, :3] / sizes
    assert abs(abs(np.linalg.det(columns)) - 1) < 1e-5
    assert not np.allclose(columns, expected_affine()[:3, [1, 0, 2]] / sizes, atol=0.1)


def test_affine_follows_descending_slices(path):
    scan = small_scan()
    made = acquisitions(scan)
    for one in made:
        one.position[:] = FIRST_POSITION - one.idx.slice * SPACING_MM * np.array(one.slice_dir)
    affine = read_ismrmrd(write_file(path, made), small_sequence()).affine
    np.testing.assert_allclose(affine[:, 2], -expected_affine()[:, 2], atol=AFFINE_TOLERANCE_MM)


def test_slices_numbered_as_an_interleaved_scan(path):
    """A converter numbers slices as they are measured; they come out in the order in which they lie."""
    scan = small_scan(n_slices=5)
    made = acquisitions(scan)
    for one in made:
        one.idx.slice = (0, 3, 1, 4, 2)[one.idx.slice]
    made.sort(key=lambda one: one.idx.slice)
    got = read_ismrmrd(write_file(path, made), small_sequence())
    assert np.array_equal(got.kspace, scan.kspace)
    np.testing.assert_allclose(got.affine, expected_affine(), atol=AFFINE_TOLERANCE_MM)
    np.testing.assert_array_equal(got.order, [0, 3, 1, 4, 2])


def test_slice_that_was_measured_first(path):
    scan = small_scan(n_slices=3)
    made = sorted(acquisitions(scan), key=lambda one: (2, 0, 1).index(one.idx.slice))
    got = read_ismrmrd(write_file(path, made), small_sequence())
    assert np.array_equal(got.kspace, scan.kspace)
    assert got.first == 2


def test_one_slice_takes_its_thickness_as_spacing(path):
    affine = read_ismrmrd(write_file(path, acquisitions(small_scan(n_slices=1))), small_sequence()).affine
    np.testing.assert_allclose(affine, expected_affine(spacing_mm=8.0), atol=AFFINE_TOLERANCE_MM)


@pytest.mark.parametrize("with_positions", [False, True])
def test_unset_directions_are_axial(path, with_positions):
    made = acquisitions(small_scan())
    for one in made:
        one.read_dir[:] = one.phase_dir[:] = one.slice_dir[:] = (0, 0, 0)
        one.position[:] = (0, 0, 12 * one.idx.slice if with_positions else 0)
    affine = read_ismrmrd(write_file(path, made), small_sequence()).affine
    voxel_mm = FOV_MM / MATRIX
    expected = np.diag([-voxel_mm, -voxel_mm, 12.0 if with_positions else 8.0, 1.0])
    expected[:2, 3] = MATRIX // 2 * voxel_mm
    np.testing.assert_allclose(affine, expected)
