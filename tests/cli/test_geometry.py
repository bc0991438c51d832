"""A scan's place in the patient, from the heads of its spokes to the image that a viewer opens."""

import dataclasses

import ismrmrd
import nibabel
import numpy as np
from scipy.spatial.transform import Rotation

from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.acquisition.raw import read_raw
from mrfpipe.protocol import load_protocol

MATRIX, FOV_MM = 64, 350.0


def oblique_affine() -> np.ndarray:
    """Turned about all axes, with voxels of one size in the plane and slices 12 mm apart; left-handed as axial ones."""
    turn = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-FOV_MM / MATRIX, -FOV_MM / MATRIX, 12.0])
    affine[:3, 3] = [31, -47, 102]
    return affine


def first_heads(path, n_slices: int) -> list[ismrmrd.AcquisitionHeader]:
    """The head of the first readout of each slice."""
    with ismrmrd.File(path, mode="r") as file:
        heads = [a.getHead() for a in file["dataset"].acquisitions]
    heads = [head for head in heads if not head.flags & (1 << (ismrmrd.ACQ_IS_NOISE_MEASUREMENT - 1))]
    return [next(head for head in heads if head.idx.slice == s) for s in range(n_slices)]


def in_the_patient(head: ismrmrd.AcquisitionHeader, x: float, y: float) -> np.ndarray:
    """Where a voxel lies, by the heads alone: the slice's centre, and from there along readout and phase. RAS, mm."""
    step = FOV_MM / MATRIX
    lps = (
        np.array(head.position[:])
        + (x - MATRIX // 2) * step * np.array(head.read_dir[:])
        + (y - MATRIX // 2) * step * np.array(head.phase_dir[:])
    )
    return lps * [-1, -1, 1]


def test_an_oblique_scan_lies_where_it_was_measured(run, study, tmp_path):
    """Centre of tissue of an asymmetric body, in each slice, found in the image that nibabel reads."""
    sequence = load_protocol(study / "small.toml").sequence
    scan = dataclasses.replace(read_raw(study / "leg.h5", sequence), affine=oblique_affine())
    write_ismrmrd(scan, sequence, tmp_path / "oblique.h5")
    run("match", tmp_path / "oblique.h5", "-d", study / "small.h5", "-o", tmp_path, "--recon", "nufft")
    heads = first_heads(tmp_path / "oblique.h5", scan.n_slices)
    image = nibabel.load(tmp_path / "oblique" / "FF.nii.gz")
    # Fat, which is on one side more than on the other: no flip or transposition leaves its centre where it is.
    truth = np.load(study / "leg.truth.npz")
    heavy = np.where(truth["mask"] > 0, truth["FF"] * (1 + np.arange(MATRIX) / MATRIX), 0)
    found = np.nan_to_num(np.asarray(image.dataobj)) * (1 + np.arange(MATRIX)[:, None, None] / MATRIX)
    y, x = np.mgrid[:MATRIX, :MATRIX]
    for s, head in enumerate(heads):
        centre = [np.average(axis, weights=heavy[s]) for axis in (x, y)]
        expected = in_the_patient(head, *centre)
        i, j = (np.average(axis, weights=found[:, :, s]) for axis in np.mgrid[:MATRIX, :MATRIX])
        np.testing.assert_allclose((image.affine @ [i, j, s, 1])[:3], expected, atol=0.3 * FOV_MM / MATRIX)
        for flipped in ([MATRIX - centre[0], centre[1]], [centre[0], MATRIX - centre[1]], centre[::-1]):
            away = in_the_patient(head, *flipped) - expected
            assert np.linalg.norm(away) > 0.5 * FOV_MM / MATRIX, flipped
    corner = in_the_patient(heads[1], 5, 60)
    np.testing.assert_allclose((image.affine @ [5, 60, 1, 1])[:3], corner, atol=1e-3)
