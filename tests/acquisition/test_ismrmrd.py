"""Reading ISMRMRD files that the ismrmrd package wrote."""

import random
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from ismrmrd_files import (
    AFFINE_TOLERANCE_MM,
    ANGLE_DEG,
    FLIP_DEG,
    FOV_MM,
    MATRIX,
    N_SAMPLES,
    N_SPOKES,
    TE_MS,
    TI_MS,
    TR_MS,
    acquisition,
    acquisitions,
    expected_affine,
    flagged,
    noise_acquisition,
    reversed_readout,
    small_header,
    small_scan,
    small_sequence,
    write_file,
)

from mrfpipe.acquisition.ismrmrd import describe_ismrmrd, read_ismrmrd
from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.acquisition.trajectory import golden_angle_spokes

NOT_FOR_THE_IMAGE = (
    ismrmrd.ACQ_IS_NAVIGATION_DATA,
    ismrmrd.ACQ_IS_PHASECORR_DATA,
    ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
    ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
    ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
    ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,
    ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
    ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE,
    ismrmrd.ACQ_IS_PHASE_STABILIZATION,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a scan.h5"


def test_plain_file(path):
    scan = small_scan()
    got = read_ismrmrd(write_file(path, acquisitions(scan)), small_sequence())
    assert np.array_equal(got.kspace, scan.kspace)
    assert np.array_equal(got.trajectory, scan.trajectory)
    assert got.noise is None
    assert (got.name, got.matrix, got.fov, got.readouts_per_frame) == ("a scan", MATRIX, FOV_MM * 1e-3, 8)
    np.testing.assert_allclose(got.affine, expected_affine(), atol=AFFINE_TOLERANCE_MM)


def test_order_and_other_acquisitions_do_not_matter(path):
    scan = small_scan(n_slices=3)
    made = acquisitions(scan)
    for spoke in range(1, 3 * N_SPOKES, 2):
        reversed_readout(made[spoke])
    made.extend(flagged(acquisition(small_scan(seed=9), 0, 5), flag) for flag in NOT_FOR_THE_IMAGE)
    made.append(flagged(ismrmrd.Acquisition.from_array(np.ones((7, 5), np.complex64)), ismrmrd.ACQ_IS_DUMMYSCAN_DATA))
    random.Random(1).shuffle(made)
    made.insert(0, noise_acquisition(scan.noise[:, :60]))
    made.append(noise_acquisition(scan.noise[:, 60:]))
    got = read_ismrmrd(write_file(path, made), small_sequence())
    assert np.array_equal(got.kspace, scan.kspace)
    assert np.array_equal(got.trajectory, scan.trajectory)
    assert np.array_equal(got.noise, scan.noise)


def test_calibration_that_is_also_imaging_is_used(path):
    scan = small_scan()
    made = acquisitions(scan)
    flagged(made[3], ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
    flagged(made[4], ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
    assert np.array_equal(read_ismrmrd(write_file(path, made), small_sequence()).kspace, scan.kspace)


def test_last_repetition_is_used(path):
    scans = [small_scan(seed=seed) for seed in (1, 2, 3)]
    made = []
    for scan, (repetition, average) in zip(scans, ((0, 0), (0, 1), (1, 0)), strict=True):
        for one in acquisitions(scan):
            one.idx.repetition, one.idx.average = repetition, average
            made.append(one)
    made.reverse()
    assert np.array_equal(read_ismrmrd(write_file(path, made), small_sequence()).kspace, scans[2].kspace)
    assert describe_ismrmrd(path)["repetitions"] == 3


def test_trajectory_is_kx_along_x_first(path):
    """The spoke's direction is (cos, sin) of its angle; swapped columns would give (sin, cos)."""
    got = read_ismrmrd(write_file(path, acquisitions(small_scan())), small_sequence())
    for spoke in (1, 2, 7):
        angle = np.deg2rad(ANGLE_DEG * spoke)
        expected = (N_SAMPLES - 1 - N_SAMPLES // 2) / 2 * np.array([np.cos(angle), np.sin(angle)])
        np.testing.assert_allclose(got.trajectory[spoke, -1], expected, atol=1e-5)
        assert abs(expected[0] - expected[1]) > 0.1


@pytest.mark.parametrize("unit", ["cycles/FOV", "1/m", "rad", "normalized", None, "CYCLES/fov"])
def test_declared_unit_is_converted(path, unit):
    scale = {"1/m": 1e3 / FOV_MM, "rad": 2 * np.pi / MATRIX, "normalized": 1 / MATRIX}.get(unit, 1.0)
    scan = small_scan()
    write_file(path, acquisitions(scan, scale=scale), small_header(unit=unit))
    got = read_ismrmrd(path, small_sequence())
    np.testing.assert_allclose(got.trajectory, scan.trajectory, atol=1e-5)
    assert describe_ismrmrd(path)["trajectory_unit"] == unit


def test_third_dimension_of_zeros_is_dropped(path):
    scan = small_scan()
    flat = np.concatenate([scan.trajectory, np.zeros_like(scan.trajectory[..., :1])], axis=2)
    made = [acquisition(scan, s, i, flat[i]) for s in range(2) for i in range(N_SPOKES)]
    assert np.array_equal(read_ismrmrd(write_file(path, made), small_sequence()).trajectory, scan.trajectory)


def test_measured_trajectory_is_kept_as_it_is(path):
    """A stored trajectory that is not the ideal one, as after a gradient correction, is what counts."""
    scan, rng = small_scan(), np.random.default_rng(2)
    moved = scan.trajectory * 0.98 + 0.1 * rng.standard_normal((N_SPOKES, 1, 2)).astype(np.float32).clip(-1, 1)
    made = [acquisition(scan, s, i, moved[i]) for s in range(2) for i in range(N_SPOKES)]
    assert np.array_equal(read_ismrmrd(write_file(path, made), small_sequence()).trajectory, moved)


@pytest.mark.parametrize("first_in_file", [0, 1])
def test_trajectory_is_that_of_the_first_slice(path, first_in_file):
    """Slices may differ by what rounding in another unit does, wherever they are in the file."""
    scan = small_scan()
    slices = [[acquisition(scan, s, i, scan.trajectory[i] + 5e-4 * s) for i in range(N_SPOKES)] for s in range(2)]
    got = read_ismrmrd(write_file(path, slices[first_in_file] + slices[1 - first_in_file]), small_sequence())
    assert np.array_equal(got.trajectory, scan.trajectory)


@pytest.mark.parametrize("angle_deg", [None, ANGLE_DEG + 5e-4])
def test_trajectory_that_is_not_stored_is_computed(path, angle_deg):
    scan = small_scan()
    write_file(path, acquisitions(scan, stored=False), small_header(unit=None, angle_deg=angle_deg))
    got = read_ismrmrd(path, small_sequence())
    assert np.array_equal(got.trajectory, golden_angle_spokes(small_sequence()))
    assert np.array_equal(got.kspace, scan.kspace)
    assert describe_ismrmrd(path)["trajectory_stored"] is False


@pytest.mark.parametrize("centre", [N_SAMPLES - 1 - N_SAMPLES // 2, N_SAMPLES // 2, 0])
def test_reversed_readouts_without_trajectory(path, centre):
    scan = small_scan()
    made = acquisitions(scan, stored=False)
    for one in made[::2]:
        reversed_readout(one).center_sample = centre
    assert np.array_equal(read_ismrmrd(write_file(path, made), small_sequence()).kspace, scan.kspace)


def test_discarded_samples_are_taken_off(path):
    """Two more before and one more after, also on a readout measured backwards."""
    scan = small_scan()
    made = []
    for one in acquisitions(scan):
        pre, post = 2, 1
        if one.idx.kspace_encode_step_1 % 2:
            reversed_readout(one)
        data = np.pad(one.data, ((0, 0), (pre, post)), constant_values=7)
        trajectory = np.pad(one.traj, ((pre, post), (0, 0)), constant_values=99)
        longer = ismrmrd.Acquisition.from_array(data, trajectory, discard_pre=pre, discard_post=post, flags=one.flags)
        longer.idx = one.idx
        for name in ("position", "read_dir", "phase_dir", "slice_dir"):
            getattr(longer, name)[:] = getattr(one, name)
        made.append(longer)
    got = read_ismrmrd(write_file(path, made), small_sequence())
    assert np.array_equal(got.kspace, scan.kspace)
    assert np.array_equal(got.trajectory, scan.trajectory)


def test_trains_are_in_si_units(path):
    got = read_ismrmrd(write_file(path, acquisitions(small_scan())), small_sequence())
    np.testing.assert_allclose(got.te, TE_MS * 1e-3)
    np.testing.assert_allclose(got.tr, TR_MS * 1e-3)
    np.testing.assert_allclose(got.flip, np.deg2rad(FLIP_DEG))
    assert got.inversion_time == pytest.approx(TI_MS * 1e-3)
    assert got.unstated(small_sequence()) == ()


def test_lists_that_are_no_trains_are_left_out(path):
    header = small_header(te_ms=[2.39], tr_ms=[3.52, 4.58], flip_deg=[], ti_ms=[], readouts_per_frame=None)
    got = read_ismrmrd(write_file(path, acquisitions(small_scan()), header), small_sequence())
    assert (got.te, got.tr, got.flip, got.inversion_time, got.readouts_per_frame) == (None, None, None, None, None)
    assert got.unstated(small_sequence()) == ("flip angles", "TE", "TR", "TI")


def test_frames_as_older_files_name_them(path):
    header = small_header().replace("readouts_per_frame", "readouts_per_frame")
    assert read_ismrmrd(write_file(path, acquisitions(small_scan()), header), small_sequence()).readouts_per_frame == 8


def test_no_inversion_time_is_needed_where_there_is_no_inversion(path):
    sequence = small_sequence(inversion_time=None)
    for ti_ms in ([], [0]):
        header = small_header(ti_ms=ti_ms)
        assert read_ismrmrd(write_file(path, acquisitions(small_scan()), header), sequence).n_slices == 2
        path.unlink()
    write_ismrmrd(small_scan(), sequence, path)
    assert read_ismrmrd(path, sequence).inversion_time is None


def test_one_value_is_a_train_where_the_sequence_is_constant(path):
    header = small_header(te_ms=[2.5], tr_ms=[4.0])
    sequence = small_sequence(te=np.full(N_SPOKES, 2.5e-3), tr=np.full(N_SPOKES, 4e-3))
    got = read_ismrmrd(write_file(path, acquisitions(small_scan()), header), sequence)
    np.testing.assert_allclose(got.te, np.full(N_SPOKES, 2.5e-3))
    np.testing.assert_allclose(got.tr, np.full(N_SPOKES, 4e-3))


def test_description(path):
    scan = small_scan()
    write_file(path, [noise_acquisition(scan.noise), *acquisitions(scan)])
    assert describe_ismrmrd(path) == {
        "vendor": "Maker",
        "field_strength_t": 2.89,
        "protocol_name": "MRF",
        "sequence_name": None,
        "coils": 3,
        "slices": 2,
        "repetitions": 1,
        "readouts": N_SPOKES,
        "samples": N_SAMPLES,
        "acquisitions": 2 * N_SPOKES + 1,
        "noise_scans": 1,
        "trajectory": "goldenangle",
        "trajectory_stored": True,
        "trajectory_unit": "cycles/FOV",
        "readouts_per_frame": 8,
        "matrix": [MATRIX, MATRIX],
        "fov_mm": [FOV_MM, FOV_MM, 8.0],
        "te_ms": [2.39, 3.45],
        "tr_ms": [3.52, 4.58],
        "ti_ms": [TI_MS, TI_MS],
        "flip_deg": [5.0, 15.0],
    }


def test_description_of_what_is_no_radial_scan(path):
    header = small_header(trajectory="cartesian", unit=None, te_ms=[])
    got = describe_ismrmrd(write_file(path, [noise_acquisition(np.ones((3, 8), np.complex64))], header))
    assert (got["trajectory"], got["coils"], got["readouts"], got["te_ms"]) == ("cartesian", 0, 0, None)


def test_description_reads_no_samples(path, monkeypatch):
    write_file(path, acquisitions(small_scan()))

    def refuse(*_):
        raise AssertionError("samples are read")

    monkeypatch.setattr("mrfpipe.acquisition.ismrmrd_table.Table.values", refuse)
    assert describe_ismrmrd(path)["slices"] == 2
