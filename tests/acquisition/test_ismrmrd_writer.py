"""Writing ISMRMRD files: what is read back, by mrfpipe and by the ismrmrd package, is what was written."""

from dataclasses import replace
from pathlib import Path

import ismrmrd
import ismrmrd.xsd as xsd
import numpy as np
import pytest
from helpers import complex_normal
from ismrmrd_files import (
    ANGLE_DEG,
    FIRST_POSITION,
    FLIP_DEG,
    FOV_MM,
    MATRIX,
    N_SAMPLES,
    N_SPOKES,
    PHASE_DIR,
    READ_DIR,
    SLICE_DIR,
    SPACING_MM,
    TE_MS,
    TR_MS,
    small_scan,
    small_sequence,
)

from mrfpipe.acquisition.ismrmrd import read_ismrmrd
from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd

AFFINE_TOLERANCE_MM = 1e-4  # float32 positions of some 100 mm


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scan.h5"


@pytest.mark.parametrize("n_slices", [1, 2, 5])
def test_round_trip(path, n_slices):
    scan = small_scan(n_slices=n_slices)
    write_ismrmrd(scan, small_sequence(), path)
    got = read_ismrmrd(path, small_sequence())
    for name in ("kspace", "trajectory", "noise"):
        assert np.array_equal(getattr(got, name), getattr(scan, name)), name
    np.testing.assert_allclose(got.affine, scan.affine, atol=AFFINE_TOLERANCE_MM)
    assert (got.name, got.matrix, got.fov, got.readouts_per_frame) == ("scan", MATRIX, scan.fov, 8)
    sequence = small_sequence()
    for name in ("flip", "te", "tr"):
        np.testing.assert_allclose(getattr(got, name), getattr(sequence, name), rtol=1e-12)
    assert got.inversion_time == pytest.approx(sequence.inversion_time)


def test_round_trip_of_a_mirrored_stack(path):
    """Read, phase and slice directions that are a left-handed triple stay one."""
    scan = small_scan()
    flipped = replace(scan, affine=scan.affine @ np.diag([1.0, -1.0, 1.0, 1.0]))
    write_ismrmrd(flipped, small_sequence(), path)
    np.testing.assert_allclose(read_ismrmrd(path, small_sequence()).affine, flipped.affine, atol=AFFINE_TOLERANCE_MM)
    assert np.linalg.det(scan.affine) * np.linalg.det(flipped.affine) < 0


def test_round_trip_without_noise(path):
    scan = replace(small_scan(), noise=None)
    write_ismrmrd(scan, small_sequence(), path)
    got = read_ismrmrd(path, small_sequence())
    assert got.noise is None
    assert np.array_equal(got.kspace, scan.kspace)


def test_trains_of_the_scan_come_before_those_of_the_sequence(path):
    te = small_sequence().te + 1e-3
    write_ismrmrd(replace(small_scan(), te=te, inversion_time=0.02), small_sequence(), path)
    got = read_ismrmrd(path, small_sequence(te=te, inversion_time=0.02))
    np.testing.assert_allclose(got.te, te)
    assert got.inversion_time == pytest.approx(0.02)


def test_package_reads_the_header(path):
    write_ismrmrd(replace(small_scan(), name="Übung"), small_sequence(), path, field=1.5)
    with ismrmrd.Dataset(str(path), mode="r") as file:
        header = xsd.CreateFromDocument(file.read_xml_header())
    assert header.acquisitionSystemInformation.systemVendor == "mrfpipe phantom"
    assert header.acquisitionSystemInformation.receiverChannels == 3
    assert header.acquisitionSystemInformation.systemFieldStrength_T == 1.5
    assert header.experimentalConditions.H1resonanceFrequency_Hz == 63_866_218
    assert header.measurementInformation.protocolName == "Übung"
    (encoding,) = header.encoding
    assert (encoding.encodedSpace.matrixSize.x, encoding.encodedSpace.matrixSize.y) == (2 * MATRIX, MATRIX)
    assert (encoding.encodedSpace.fieldOfView_mm.x, encoding.encodedSpace.fieldOfView_mm.y) == (2 * FOV_MM, FOV_MM)
    assert (encoding.reconSpace.matrixSize.x, encoding.reconSpace.fieldOfView_mm.x) == (MATRIX, FOV_MM)
    assert encoding.reconSpace.fieldOfView_mm.z == 8.0
    assert encoding.encodingLimits.kspace_encoding_step_1.maximum == N_SPOKES - 1
    assert encoding.encodingLimits.slice.maximum == 1
    assert encoding.trajectory is xsd.trajectoryType.GOLDENANGLE
    described = encoding.trajectoryDescription
    assert [(p.name, p.value) for p in described.userParameterLong] == [("readouts_per_frame", 8)]
    assert [(p.name, p.value) for p in described.userParameterString] == [("trajectory_unit", "cycles/FOV")]
    (angle,) = described.userParameterDouble
    assert (angle.name, angle.value) == ("angle_increment_deg", pytest.approx(ANGLE_DEG, abs=1e-9))
    assert np.array_equal(header.sequenceParameters.TE, TE_MS)
    assert np.array_equal(header.sequenceParameters.TR, TR_MS)
    assert header.sequenceParameters.TI == [8.32]
    assert np.array_equal(header.sequenceParameters.flipAngle_deg, FLIP_DEG)


def test_package_reads_the_acquisitions(path):
    scan = small_scan()
    write_ismrmrd(scan, small_sequence(), path)
    with ismrmrd.Dataset(str(path), mode="r") as file:
        made = [file.read_acquisition(i) for i in range(file.number_of_acquisitions())]
    assert len(made) == 1 + 2 * N_SPOKES
    noise, spokes = made[0], made[1:]
    assert noise.isFlagSet(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    assert np.array_equal(noise.data, scan.noise)
    assert [one.scan_counter for one in made] == list(range(len(made)))
    for number, one in enumerate(spokes):
        s, spoke = divmod(number, N_SPOKES)
        assert (one.idx.slice, one.idx.kspace_encode_step_1) == (s, spoke)
        assert np.array_equal(one.data, scan.kspace[s, :, spoke])
        assert np.array_equal(one.traj, scan.trajectory[spoke])
        assert (one.version, one.center_sample, one.available_channels) == (1, N_SAMPLES // 2, 3)
        assert [one.isChannelActive(c) for c in range(4)] == [True, True, True, False]
        assert one.isFlagSet(ismrmrd.ACQ_FIRST_IN_SLICE) == (spoke == 0)
        assert one.isFlagSet(ismrmrd.ACQ_LAST_IN_SLICE) == (spoke == N_SPOKES - 1)
        assert one.isFlagSet(ismrmrd.ACQ_LAST_IN_MEASUREMENT) == (number == len(spokes) - 1)
        np.testing.assert_allclose(one.position[:], FIRST_POSITION + s * SPACING_MM * SLICE_DIR, atol=1e-4)
        np.testing.assert_allclose(one.read_dir[:], READ_DIR, atol=1e-6)
        np.testing.assert_allclose(one.phase_dir[:], PHASE_DIR, atol=1e-6)
        np.testing.assert_allclose(one.slice_dir[:], SLICE_DIR, atol=1e-6)


def test_noise_longer_than_the_counters(path):
    scan = replace(small_scan(), noise=complex_normal(np.random.default_rng(3), 3, 70_000))
    write_ismrmrd(scan, small_sequence(), path)
    assert np.array_equal(read_ismrmrd(path, small_sequence()).noise, scan.noise)


def test_more_coils_than_a_word_of_the_mask(path):
    scan = small_scan(n_slices=1, n_coils=70)
    write_ismrmrd(scan, small_sequence(), path)
    with ismrmrd.Dataset(str(path), mode="r") as file:
        one = file.read_acquisition(1)
    assert one.isChannelActive(69)
    assert not one.isChannelActive(70)
    assert np.array_equal(read_ismrmrd(path, small_sequence()).kspace, scan.kspace)


def test_file_that_is_there_is_replaced(path):
    path.write_text("something else")
    write_ismrmrd(small_scan(), small_sequence(), path)
    assert read_ismrmrd(path, small_sequence()).n_slices == 2


@pytest.mark.parametrize(
    ("sequence", "affine", "match"),
    [
        ({"oversampling": 3}, None, "kspace has shape"),
        ({"matrix": 32, "oversampling": 1}, None, "scan has matrix 16"),
        ({"fov": 0.3}, None, "FOV 0.32 m"),
        ({}, np.diag([1.0, 1.0, 5.0, 1.0]), "affine has voxels"),
        ({}, np.array([[20, 16, 0, 0], [0, 12, 0, 0], [0, 0, 9, 0], [0, 0, 0, 1.0]]), "not at right angles"),
    ],
)
def test_what_does_not_fit_is_refused(path, sequence, affine, match):
    scan = small_scan() if affine is None else replace(small_scan(), affine=affine)
    with pytest.raises(ValueError, match=match):
        write_ismrmrd(scan, small_sequence(**sequence), path)
    assert not path.exists()


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        write_ismrmrd(small_scan(), small_sequence(), tmp_path / "nowhere" / "scan.h5")
