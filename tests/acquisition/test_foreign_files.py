"""Scans as others write them: no unit, three dimensions, no counters, dummies in the header, readouts in pieces."""

from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from helpers import complex_normal
from ismrmrd_files import (
    FOV_MM,
    N_SAMPLES,
    N_SPOKES,
    acquisition,
    acquisitions,
    noise_acquisition,
    small_header,
    small_scan,
    small_sequence,
    write_file,
)
from pulseq_files import ANGLE_DEG, write_sequence

from mrfpipe.acquisition.ismrmrd import read_ismrmrd
from mrfpipe.acquisition.pulseq import protocol_from_pulseq
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.protocol import Protocol, Readout

STORED = Readout(kind="stored", readouts_per_frame=8)
DUMMIES = {"te_ms": (10.0,), "tr_ms": (100.0,), "ti_ms": (), "flip_deg": (15.0,), "matrix": (64, 64)}
"""What the header of a scanner says that plays a Pulseq file."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scan.h5"


def test_declared_radians_per_metre(path):
    made = acquisitions(small_scan(), scale=2 * np.pi * 1e3 / FOV_MM)
    got = read_ismrmrd(write_file(path, made, small_header(unit="rad/m")), small_sequence())
    np.testing.assert_allclose(got.trajectory, small_scan().trajectory, atol=1e-5)
    assert got.remarks == ()


@pytest.mark.parametrize("sequence", [small_sequence(), small_sequence(readout=STORED)], ids=["spokes", "stored"])
@pytest.mark.parametrize(
    ("unit", "scale"), [("1/m", 1e3 / FOV_MM), ("rad/m", 2e3 * np.pi / FOV_MM), ("rad", np.pi / 8)]
)
def test_a_unit_that_nobody_declares_is_the_one_that_fits(path, sequence, unit, scale):
    made = acquisitions(small_scan(), scale=scale)
    got = read_ismrmrd(write_file(path, made, small_header(trajectory="other", unit=None)), sequence)
    np.testing.assert_allclose(got.trajectory, small_scan().trajectory, atol=1e-5)
    assert got.remarks == (f"the trajectory, whose unit is not declared, is taken to be in {unit}, which fits",)


def in_three_dimensions(scan: RawScan, plane: np.ndarray) -> list[ismrmrd.Acquisition]:
    """Spokes with a third column, one value a spoke."""
    third = np.broadcast_to(plane[:, None, None], (N_SPOKES, N_SAMPLES, 1))
    k = np.concatenate([scan.trajectory, third], axis=2)
    return [acquisition(scan, s, i, k[i]) for s in range(scan.n_slices) for i in range(N_SPOKES)]


def test_the_third_dimension_of_a_slice_stays_the_same(path):
    scan = small_scan()
    made = in_three_dimensions(scan, np.full(N_SPOKES, 3.0))
    got = read_ismrmrd(write_file(path, made), small_sequence())
    assert np.array_equal(got.trajectory, scan.trajectory)
    path.unlink()
    # Partitions of a slab lie at least a cycle over it apart: FOV / thickness cycles/FOV.
    write_file(path, in_three_dimensions(scan, np.where(np.arange(N_SPOKES) == 7, 40.0, 0.0)))
    with pytest.raises(InputError, match="trajectory of slice 0, readout 7 leaves the plane of the first"):
        read_ismrmrd(path, small_sequence())


def test_dummies_of_the_header_are_not_believed(path):
    scan = small_scan()
    header = small_header(trajectory="cartesian", fov_mm=(300.0, 300.0), **DUMMIES)
    got = read_ismrmrd(write_file(path, acquisitions(scan), header), small_sequence())
    assert np.array_equal(got.kspace, scan.kspace)
    assert got.unstated(small_sequence()) == ("flip angles", "TE", "TR", "TI")
    (remark,) = got.remarks
    assert remark == (
        "the header is ignored, as the Pulseq interpreter does not fill it: trajectory 'cartesian', matrix 64 x 64, "
        "field of view 300 x 300 mm, TE 10 ms, TR 100 ms, flip angle 15 deg"
    )


def test_noise_measurements_of_zeros_are_left_out(path):
    scan = small_scan()
    silent = [noise_acquisition(np.zeros((3, 20), np.complex64)) for _ in range(2)]
    got = read_ismrmrd(write_file(path, [*silent, *acquisitions(scan)]), small_sequence())
    assert got.noise is None
    assert got.remarks == ("2 noise measurement(s) of nothing but zeros are left out",)
    path.unlink()
    write_file(path, [*silent, *acquisitions(scan), noise_acquisition(scan.noise)])
    assert np.array_equal(read_ismrmrd(path, small_sequence()).noise, scan.noise)


def pieces(one: ismrmrd.Acquisition, n: int) -> list[ismrmrd.Acquisition]:
    """A readout cut into acquisitions, numbered by their set."""
    made = []
    for number, (samples, trajectory) in enumerate(
        zip(np.split(one.data, n, axis=1), np.split(one.traj, n), strict=True)
    ):
        piece = ismrmrd.Acquisition.from_array(np.ascontiguousarray(samples), np.ascontiguousarray(trajectory))
        piece.idx.kspace_encode_step_1, piece.idx.slice = one.idx.kspace_encode_step_1, one.idx.slice
        piece.idx.set = number
        piece.position[:], piece.read_dir[:] = one.position[:], one.read_dir[:]
        piece.phase_dir[:], piece.slice_dir[:] = one.phase_dir[:], one.slice_dir[:]
        made.append(piece)
    return made


def uncounted(made: list[ismrmrd.Acquisition]) -> list[ismrmrd.Acquisition]:
    for one in made:
        one.idx.kspace_encode_step_1 = one.idx.slice = one.idx.set = 0
    return made


@pytest.mark.parametrize("sequence", [small_sequence(), small_sequence(readout=STORED)], ids=["spokes", "stored"])
def test_pieces_of_a_readout_are_joined(path, sequence):
    scan = small_scan()
    made = [piece for one in acquisitions(scan) for piece in pieces(one, 4)]
    np.random.default_rng(0).shuffle(made)
    got = read_ismrmrd(write_file(path, made), sequence)
    assert np.array_equal(got.kspace, scan.kspace)
    assert np.array_equal(got.trajectory, scan.trajectory)


@pytest.mark.parametrize("n_pieces", [1, 4])
@pytest.mark.parametrize("sequence", [small_sequence(), small_sequence(readout=STORED)], ids=["spokes", "stored"])
def test_without_counters_the_order_of_the_file_counts(path, sequence, n_pieces):
    scan = small_scan(n_slices=1)
    made = uncounted([piece for one in acquisitions(scan) for piece in pieces(one, n_pieces)])
    got = read_ismrmrd(write_file(path, made), sequence)
    assert np.array_equal(got.kspace, scan.kspace)
    assert np.array_equal(got.trajectory, scan.trajectory)
    pieces_said = ", each joined from 4 acquisitions" if n_pieces > 1 else ""
    assert got.remarks == (f"readouts are taken in the order of the file{pieces_said}",)
    path.unlink()
    got = read_ismrmrd(write_file(path, made + made), sequence)
    (remark,) = got.remarks
    if sequence.n_samples is None:  # of stored readouts the length is not known: these could be pieces
        assert remark == f"readouts are taken in the order of the file, each joined from {2 * n_pieces} acquisitions"
    else:
        assert np.array_equal(got.kspace, scan.kspace)
        repeated = ", as 2 repetitions, the last of which is used"
        assert remark == f"readouts are taken in the order of the file{pieces_said}{repeated}"


N_NOISE, SHOTS = 2, 3


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sequence whose spokes do not turn evenly, after readouts of noise."""
    path = tmp_path_factory.mktemp("played") / "played.seq"
    return write_sequence(path, shots=SHOTS, noise=N_NOISE, twist_deg=3.0)


def scan_of(protocol: Protocol, n_coils: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Samples of noise, and of readouts of all repetitions. Shapes `(noise, coils, samples)` and so on."""
    rng = np.random.default_rng(0)
    n_samples = 64
    noise = complex_normal(rng, N_NOISE, n_coils, n_samples)
    return noise, complex_normal(rng, SHOTS * protocol.sequence.n_readouts, n_coils, n_samples)


def beside(played: Path, path: Path) -> Protocol:
    """Put the sequence beside the scan, and derive its protocol."""
    (path.parent / played.name).write_bytes(played.read_bytes())
    return protocol_from_pulseq(played)


def expected_trajectory(protocol: Protocol) -> np.ndarray:
    """Spokes from -kmax on in cycles/FOV, one of which is twisted."""
    n = np.arange(protocol.sequence.n_readouts)
    angle = np.deg2rad(ANGLE_DEG * n + np.where(n == 5, 3.0, 0.0))
    along = (np.arange(64) - 32) / 2
    return along[None, :, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)[:, None]


@pytest.mark.parametrize("n_pieces", [1, 2])
def test_a_scan_without_counters_and_trajectory_is_read_by_its_sequence(path, played, n_pieces):
    """The receiver's events are those of the sequence: noise, which nobody marked, then three repetitions."""
    protocol = beside(played, path)
    noise, samples = scan_of(protocol)
    none = np.zeros((64, 0), np.float32)
    whole = [ismrmrd.Acquisition.from_array(one, none) for one in (*noise, *samples)]
    made = uncounted([piece for one in whole for piece in pieces(one, n_pieces)])
    got = read_ismrmrd(write_file(path, made, small_header(trajectory="cartesian", **DUMMIES)), protocol.sequence)
    last = samples[-protocol.sequence.n_readouts :]
    assert np.array_equal(got.kspace[0], last.transpose(1, 0, 2))
    assert np.array_equal(got.noise, np.concatenate(list(noise), axis=1))
    # Six digits of gradients in the file, over 16 cycles/FOV.
    np.testing.assert_allclose(got.trajectory, expected_trajectory(protocol), atol=2e-3)
    assert got.remarks[-1] == "readouts are taken in the order of the Pulseq sequence"


def with_trajectory(protocol: Protocol, scale: float, turn: float = 1.0) -> list[ismrmrd.Acquisition]:
    _, samples = scan_of(protocol)
    k = (expected_trajectory(protocol) * [scale, turn * scale]).astype(np.float32)
    n = protocol.sequence.n_readouts
    made = [ismrmrd.Acquisition.from_array(samples[i], k[i]) for i in range(n)]
    for i, one in enumerate(made):
        one.idx.kspace_encode_step_1 = i
    return made


def test_a_stored_trajectory_is_held_against_the_sequence(path, played):
    protocol = beside(played, path)
    header = small_header(unit=None, **DUMMIES)
    got = read_ismrmrd(write_file(path, with_trajectory(protocol, 1 / 0.32), header), protocol.sequence)
    np.testing.assert_allclose(got.trajectory, expected_trajectory(protocol), atol=1e-5)
    assert "is taken to be in 1/m, which fits" in got.remarks[-1]
    path.unlink()
    write_file(path, with_trajectory(protocol, 1.0, turn=-1.0), header)
    with pytest.raises(
        MismatchError, match=r"trajectory of readout \d+ is up to 3\d(\.\d)? cycles/FOV from that of the"
    ):
        read_ismrmrd(path, protocol.sequence)


def test_without_the_sequence_the_file_must_tell(path, played):
    """A file of its name with other content is not it."""
    protocol = protocol_from_pulseq(played)
    (path.parent / played.name).write_bytes(played.read_bytes() + b"\n")
    made = with_trajectory(protocol, 1.0)
    got = read_ismrmrd(write_file(path, made, small_header(**DUMMIES)), protocol.sequence)
    np.testing.assert_allclose(got.trajectory, expected_trajectory(protocol), atol=1e-5)
    path.unlink()
    for one in made:
        one.resize(64, 3, trajectory_dimensions=0)
    write_file(path, made, small_header(**DUMMIES))
    with pytest.raises(
        InputError, match=r"stores no trajectory.*put played\.seq beside it, or in the current folder, or"
    ):
        read_ismrmrd(path, protocol.sequence)
