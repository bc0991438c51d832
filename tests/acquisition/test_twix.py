"""Reading Siemens Twix files that twixtools wrote, beside what twixtools and the ISMRMRD reader read of them."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import twixtools
from ismrmrd_files import (
    FIRST_POSITION,
    FOV_MM,
    MATRIX,
    N_SAMPLES,
    N_SPOKES,
    PHASE_DIR,
    READ_DIR,
    SPACING_MM,
    small_sequence,
)
from twix_files import (
    NORMAL,
    PLACES,
    flagged,
    header_bytes,
    noise_block,
    spoke_blocks,
    sync_block,
    twix_scan,
    write_file,
    write_vb_file,
    write_whole,
)

from mrfpipe.acquisition.ismrmrd import read_ismrmrd
from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.acquisition.raw import describe_raw, read_raw
from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.acquisition.twix import describe_twix, read_twix

AFFINE_TOLERANCE_MM = 1e-4  # float32 positions of some 400 mm, and quaternions
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
NOT_FOR_THE_IMAGE = (
    "RTFEEDBACK",
    "HPFEEDBACK",
    "REFPHASESTABSCAN",
    "PHASESTABSCAN",
    "PHASCOR",
    "PATREFSCAN",
    "RETRO_DUMMYSCAN",
    "PACE",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "meas.dat"


def world(affine: np.ndarray, x: float, y: float, s: float) -> np.ndarray:
    """Where a voxel is, in LPS."""
    return (affine @ [x, y, s, 1])[:3] * LPS_TO_RAS


@pytest.mark.parametrize("write", [write_whole, write_vb_file])
def test_interleaved_oblique_scan(path, write):
    scan = twix_scan()
    got = read_twix(write(path, scan), small_sequence())
    assert np.array_equal(got.kspace, scan.kspace)
    assert np.array_equal(got.noise, scan.noise)
    assert np.array_equal(got.trajectory, golden_angle_spokes(small_sequence()))
    assert (got.name, got.matrix, got.fov, got.readouts_per_frame) == ("meas", MATRIX, FOV_MM * 1e-3, None)
    assert (got.flip, got.te, got.tr, got.inversion_time) == (None, None, None, None)
    assert got.unstated(small_sequence()) == ("flip angles", "TE", "TR", "TI")


@pytest.mark.parametrize("write", [write_whole, write_vb_file])
def test_where_the_voxels_are(path, write):
    """The table's movement is in the positions of the file's stack, and must come off again."""
    affine = read_twix(write(path, twix_scan()), small_sequence()).affine
    centre, voxel_mm = MATRIX // 2, FOV_MM / MATRIX
    for s in range(3):
        middle = FIRST_POSITION + s * SPACING_MM * NORMAL
        for x, y in ((centre, centre), (MATRIX - 1, centre), (centre, MATRIX - 1), (0, 3)):
            expected = middle + (x - centre) * voxel_mm * READ_DIR + (y - centre) * voxel_mm * PHASE_DIR
            np.testing.assert_allclose(world(affine, x, y, s), expected, atol=AFFINE_TOLERANCE_MM)
    # Phase, read, slice is right-handed in a Twix file, so that x, y, slice is left-handed in LPS and in RAS.
    assert np.linalg.det(affine[:3, :3]) < 0


@pytest.mark.parametrize("write", [write_whole, write_vb_file])
def test_twixtools_reads_the_same(path, write):
    """By counters from a library that shares no code with the reader."""
    write(path, twix_scan())
    got = read_twix(path, small_sequence())
    (measurement,) = twixtools.read_twix(str(path), parse_pmu=False, parse_geometry=False, verbose=False)
    spokes = [block for block in measurement["mdb"] if block.is_image_scan()]
    assert len(spokes) == 3 * N_SPOKES
    for block in spokes:
        assert np.array_equal(got.kspace[PLACES[block.cSlc], :, block.cLin], block.data)
    noise = [block.data for block in measurement["mdb"] if block.is_flag_set("NOISEADJSCAN")]
    assert np.array_equal(got.noise, np.concatenate(noise, axis=1))


def test_ismrmrd_gives_the_same(path, tmp_path):
    """One scan in both formats, with a train that one number of the header can say."""
    sequence = small_sequence(
        te=np.full(N_SPOKES, 2.39e-3), tr=np.full(N_SPOKES, 5e-3), flip=np.full(N_SPOKES, np.deg2rad(7.0))
    )
    header = {"alTR[0]": 5000, "adFlipAngleDegree[0]": 7, "alTI[0]": 8320, "sPrepPulses.ucInversion": "0x2"}
    of_twix = read_twix(write_whole(path, twix_scan(), **header), sequence)
    write_ismrmrd(of_twix, sequence, tmp_path / "meas.h5")
    of_ismrmrd = read_ismrmrd(tmp_path / "meas.h5", sequence)
    assert (of_twix.unstated(sequence), of_ismrmrd.unstated(sequence)) == ((), ())
    for name in ("kspace", "trajectory", "noise"):
        assert np.array_equal(getattr(of_twix, name), getattr(of_ismrmrd, name)), name
    for name in ("flip", "te", "tr"):
        np.testing.assert_allclose(getattr(of_twix, name), getattr(of_ismrmrd, name), rtol=1e-9)
        np.testing.assert_allclose(getattr(of_twix, name), getattr(sequence, name), rtol=1e-9)
    assert of_twix.inversion_time == pytest.approx(of_ismrmrd.inversion_time)
    np.testing.assert_allclose(of_twix.affine, of_ismrmrd.affine, atol=AFFINE_TOLERANCE_MM)


def test_order_and_other_blocks_do_not_matter(path):
    scan = twix_scan()
    blocks = spoke_blocks(scan)
    for block in blocks:
        if block.cLin % 2:
            block.data = block.data[:, ::-1].copy()
            block.mdh.CenterCol = N_SAMPLES - 1 - N_SAMPLES // 2
            flagged(block, "REFLECT")
    others = spoke_blocks(twix_scan(seed=9))[: len(NOT_FOR_THE_IMAGE)]
    blocks.extend(flagged(block, flag) for block, flag in zip(others, NOT_FOR_THE_IMAGE, strict=True))
    random.Random(1).shuffle(blocks)
    blocks[5:5] = [sync_block()]
    write_file(path, [noise_block(scan.noise[:, :60]), *blocks, noise_block(scan.noise[:, 60:])])
    got = read_twix(path, small_sequence())
    assert np.array_equal(got.kspace, scan.kspace)
    assert np.array_equal(got.noise, scan.noise)


def test_reference_that_is_also_imaging_is_used(path):
    scan = twix_scan()
    blocks = spoke_blocks(scan)
    flagged(blocks[4], "PATREFSCAN", "PATREFANDIMASCAN")
    assert np.array_equal(read_twix(write_file(path, blocks), small_sequence()).kspace, scan.kspace)


def test_samples_that_are_cut_off(path):
    scan = twix_scan()
    blocks = spoke_blocks(scan)
    for block in blocks:
        block.data = np.pad(block.data, ((0, 0), (2, 1)), constant_values=7)
        block.mdh.CutOff.Pre, block.mdh.CutOff.Post, block.mdh.CenterCol = 2, 1, 2 + N_SAMPLES // 2
    assert np.array_equal(read_twix(write_file(path, blocks), small_sequence()).kspace, scan.kspace)


def test_last_measurement_and_nearest_noise(path):
    """The noise of the measurement before is taken, but not that of other coils, and only if the last has none."""
    scan, other = twix_scan(), twix_scan(seed=5)
    before = [noise_block(other.noise)], [noise_block(scan.noise)], [noise_block(scan.noise[:2])]
    got = read_twix(write_file(path, *before, spoke_blocks(scan)), small_sequence())
    assert np.array_equal(got.kspace, scan.kspace)
    assert np.array_equal(got.noise, scan.noise)
    path.unlink()
    both = [noise_block(other.noise), *spoke_blocks(other)], [noise_block(scan.noise), *spoke_blocks(scan)]
    got = read_twix(write_file(path, *both), small_sequence())
    assert np.array_equal(got.kspace, scan.kspace)
    assert np.array_equal(got.noise, scan.noise)
    path.unlink()
    assert read_twix(write_file(path, spoke_blocks(scan)), small_sequence()).noise is None


def test_what_the_header_leaves_out_is_taken_from_the_protocol(path):
    scan = twix_scan(n_slices=1)
    keys = ("sKSpace.ucTrajectory", "sKSpace.lBaseResolution", "sSliceArray.lSize", "alTE[0]", "adFlipAngleDegree[0]")
    no = dict.fromkeys((*keys, "sSliceArray.asSlice[0].dThickness", "sSliceArray.asSlice[0].dPhaseFOV"))
    got = read_twix(write_whole(path, scan, **no), small_sequence(slice_thickness=7e-3))
    assert np.array_equal(got.kspace, scan.kspace)
    assert np.linalg.norm(got.affine[:3, 2]) == pytest.approx(7.0)


def test_description(path):
    write_whole(path, twix_scan(), **{"lContrasts": 2, "sPrepPulses.ucInversion": "0x2"})
    expected = {
        "vendor": "SIEMENS",
        "field_strength_t": 2.89,
        "protocol_name": "MRF",
        "sequence_name": None,
        "coils": 3,
        "slices": 3,
        "repetitions": 1,
        "readouts": N_SPOKES,
        "samples": N_SAMPLES,
        "acquisitions": 3 * N_SPOKES + 1,
        "noise_scans": 1,
        "trajectory": "radial",
        "trajectory_stored": False,
        "trajectory_unit": None,
        "readouts_per_frame": None,
        "matrix": [MATRIX, MATRIX],
        "fov_mm": [FOV_MM, FOV_MM, 8.0],
        "te_ms": [2.39, 15.0],
        "tr_ms": [10_000.0, 10_000.0],
        "ti_ms": [300.0, 300.0],
        "flip_deg": [15.0, 15.0],
    }
    assert describe_twix(path) == expected
    assert describe_raw(path) == {"kind": "raw scan (Siemens Twix)", **describe_twix(path)}


def test_field_is_found_among_the_parameters(path):
    write_whole(path, twix_scan(), **{"sProtConsistencyInfo.flNominalB0": None})
    assert describe_twix(path)["field_strength_t"] == pytest.approx(2.89362)


def test_front_door_goes_by_content_then_by_name(tmp_path):
    scan, sequence = twix_scan(), small_sequence()
    write_whole(tmp_path / "a.DAT", scan)
    write_ismrmrd(replace(scan, affine=read_raw(tmp_path / "a.DAT", sequence).affine), sequence, tmp_path / "b.dat")
    for name, kind in (("a.DAT", "Siemens Twix"), ("b.dat", "ISMRMRD")):
        assert np.array_equal(read_raw(tmp_path / name, sequence).kspace, scan.kspace)
        assert describe_raw(tmp_path / name)["kind"] == f"raw scan ({kind})"


def test_length_of_the_only_measurement_may_be_left_out(path):
    scan = twix_scan()
    content = bytearray(write_whole(path, scan).read_bytes())
    content[8 + 16 : 8 + 24] = bytes(8)
    path.write_bytes(content)
    assert np.array_equal(read_twix(path, small_sequence()).kspace, scan.kspace)


def test_header_bytes_are_what_twixtools_reads(path):
    write_file(path, spoke_blocks(twix_scan()), header=header_bytes())
    (measurement,) = twixtools.read_twix(str(path), parse_pmu=False, parse_geometry=False, verbose=False)
    assert measurement["hdr"]["MeasYaps"]["sKSpace"]["lBaseResolution"] == MATRIX
    assert measurement["hdr"]["Dicom"]["lGlobalTablePosTra"] == -345
