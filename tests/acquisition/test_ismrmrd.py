"""Reading ISMRMRD files that the ismrmrd package wrote."""

import random
from pathlib import Path
from types import SimpleNamespace

import h5py
import ismrmrd
import numpy as np
import pytest
from ismrmrd_files import (
    ANGLE_DEG,
    FIRST_POSITION,
    FLIP_DEG,
    FOV_MM,
    MATRIX,
    N_SAMPLES,
    N_SPOKES,
    SPACING_MM,
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
from mrfpipe.acquisition.ismrmrd_heap import Heap
from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.errors import InputError

AFFINE_TOLERANCE_MM = 1e-4  # float32 positions of some 100 mm
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


def test_group_of_any_name_is_found(path):
    scan = small_scan()
    write_file(path, acquisitions(scan), group="measurement 1")
    with h5py.File(path, "a") as file:
        file.create_group("notes")["xml"] = 1
    assert np.array_equal(read_ismrmrd(path, small_sequence()).kspace, scan.kspace)


def test_encoding_is_that_of_the_image(path):
    """Noise may refer to another encoding than the spokes."""
    header = small_header()
    start, end = header.index("<encoding>"), header.index("</encoding>") + len("</encoding>")
    cartesian = header[start:end].replace("goldenangle", "cartesian")
    made = acquisitions(small_scan())
    for one in made:
        one.encoding_space_ref = 1
    write_file(
        path, [noise_acquisition(np.ones((3, 8), np.complex64)), *made], header[:start] + cartesian + header[start:]
    )
    assert read_ismrmrd(path, small_sequence()).n_slices == 2
    assert describe_ismrmrd(path)["trajectory"] == "goldenangle"


@pytest.mark.parametrize("radial", [0, 1])
def test_of_several_encodings_the_radial_one_is_read(path, radial):
    """A Cartesian reference among the spokes, with an encoding of its own and no flag that says so."""
    header = small_header()
    start, end = header.index("<encoding>"), header.index("</encoding>") + len("</encoding>")
    encodings = [header[start:end], header[start:end].replace("goldenangle", "cartesian").replace(">16<", ">8<")]
    scan, reference = small_scan(), acquisitions(small_scan(n_coils=2, seed=4))[:10]
    for one in reference:
        one.encoding_space_ref = 1 - radial
    made = acquisitions(scan)
    for one in made:
        one.encoding_space_ref = radial
    both = "".join(encodings if radial == 0 else encodings[::-1])
    write_file(path, [*reference, *made], header[:start] + both + header[end:])
    assert np.array_equal(read_ismrmrd(path, small_sequence()).kspace, scan.kspace)
    assert describe_ismrmrd(path)["coils"] == 3
    assert describe_ismrmrd(path)["matrix"] == [MATRIX, MATRIX]


@pytest.mark.parametrize(
    ("file_options", "table_options"),
    [
        ({}, {}),
        ({}, {"chunks": (7,), "maxshape": (None,)}),
        ({}, {"chunks": (7,), "compression": "gzip"}),
        ({"userblock_size": 512}, {}),
        ({"userblock_size": 512}, {"chunks": (7,)}),
        ({"libver": "latest"}, {"chunks": (7,), "maxshape": (None,)}),
    ],
)
def test_any_layout_of_the_table(path, tmp_path, file_options, table_options):
    scan = small_scan(n_slices=3)
    write_file(tmp_path / "plain.h5", [noise_acquisition(scan.noise), *acquisitions(scan)])
    with h5py.File(tmp_path / "plain.h5") as plain, h5py.File(path, "w", **file_options) as file:
        rows = plain["dataset/data"]
        group = file.create_group("dataset")
        group.create_dataset("data", data=rows[:], dtype=rows.dtype, **table_options)
        group["xml"] = plain["dataset/xml"][0]  # of fixed length
    got = read_ismrmrd(path, small_sequence())
    assert np.array_equal(got.kspace, scan.kspace)
    assert np.array_equal(got.trajectory, scan.trajectory)
    assert np.array_equal(got.noise, scan.noise)


def test_a_chunk_that_was_never_written_is_missed(path, tmp_path):
    scan = small_scan(n_slices=1)
    write_file(tmp_path / "plain.h5", acquisitions(scan))
    with h5py.File(tmp_path / "plain.h5") as plain, h5py.File(path, "w") as file:
        rows = plain["dataset/data"]
        group = file.create_group("dataset")
        table = group.create_dataset("data", shape=rows.shape, dtype=rows.dtype, chunks=(1,))
        table[:2], table[3:] = rows[:2], rows[3:]
        group["xml"] = plain["dataset/xml"][0]
    with pytest.raises(InputError, match="rows from 2 on are missing"):
        read_ismrmrd(path, small_sequence())


def test_places_of_all_chunks_are_asked_for_at_once(path):
    """A scan has thousands, of a row each, and the library looks for one in a sixtieth of the time for all."""
    write_file(path, acquisitions(small_scan(n_slices=1)))
    asked = []

    class Watched:
        def __getattr__(self, name):
            asked.extend([name] if "chunk" in name else [])
            return getattr(table.id, name)

    with h5py.File(path) as file:
        table, heap = file["dataset/data"], Heap(file, path)
        assert table.id.get_num_chunks() == table.size > 10
        row = np.dtype((np.void, table.id.get_type().get_size()))
        rows = heap.rows(SimpleNamespace(id=Watched(), size=table.size, chunks=table.chunks), row)
        heap.close()
        assert rows.size == table.size
    assert asked == ["chunk_iter"]


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
