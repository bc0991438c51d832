"""Scans whose protocol leaves the trajectory to the file: spirals, written and read, and what is refused."""

from dataclasses import replace
from pathlib import Path

import ismrmrd
import ismrmrd.xsd as xsd
import numpy as np
import pytest
from helpers import complex_normal
from ismrmrd_files import (
    FOV_MM,
    MATRIX,
    N_SPOKES,
    acquisition,
    acquisitions,
    reversed_readout,
    small_header,
    small_scan,
    small_sequence,
    write_file,
)
from twix_files import twix_scan, write_whole

from mrfpipe.acquisition.implausible import check_plausible
from mrfpipe.acquisition.ismrmrd import describe_ismrmrd, read_ismrmrd
from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.acquisition.raw import read_raw
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.trajectory import golden_angle_spokes, is_one_readout_turned
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.phantom.spiral import golden_angle_spirals
from mrfpipe.protocol import Readout, Sequence

N_SAMPLES = 77
"""No multiple of the matrix."""


def stored_sequence(**changes: object) -> Sequence:
    return small_sequence(readout=Readout(kind="stored", readouts_per_frame=8), **changes)


def spiral_scan(*, n_slices: int = 2, n_coils: int = 3, trajectory: np.ndarray | None = None) -> RawScan:
    k = golden_angle_spirals(stored_sequence(), n_samples=N_SAMPLES) if trajectory is None else trajectory
    kspace = complex_normal(np.random.default_rng(0), n_slices, n_coils, *k.shape[:2])
    return replace(small_scan(n_slices=n_slices, n_coils=n_coils), kspace=kspace, trajectory=k, readout="stored")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spiral.h5"


def refused(path: Path, error: type[Exception], match: str, sequence: Sequence | None = None) -> None:
    with pytest.raises(error, match=match) as caught:
        read_raw(path, sequence or stored_sequence())
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_round_trip(path):
    scan = spiral_scan()
    write_ismrmrd(scan, stored_sequence(), path)
    got = read_ismrmrd(path, stored_sequence())
    for name in ("kspace", "trajectory", "noise"):
        assert np.array_equal(getattr(got, name), getattr(scan, name)), name
    assert (got.readout, got.readouts_per_frame, got.matrix) == ("stored", 8, MATRIX)
    described = describe_ismrmrd(path)
    assert (described["trajectory"], described["trajectory_stored"], described["samples"]) == ("other", True, N_SAMPLES)


def test_times_are_those_of_the_heads(path):
    """Back to front where a readout was measured from its other end; none where heads do not say one for all."""
    scan = spiral_scan()
    made = [acquisition(scan, s, i) for s in range(2) for i in range(N_SPOKES)]
    for one in made:
        one.sample_time_us = 2.5
    for s in range(2):
        reversed_readout(made[s * N_SPOKES + 3])
    got = read_ismrmrd(write_file(path, made, small_header(trajectory="spiral")), stored_sequence())
    expected = np.tile(2.5e-6 * np.arange(N_SAMPLES), (N_SPOKES, 1))
    expected[3] = expected[3, ::-1]
    np.testing.assert_allclose(got.times, expected, atol=1e-10)  # float32 of 0.2 ms
    inside = np.abs(scan.trajectory).max(axis=(0, 2)) <= 6
    np.testing.assert_array_equal(replace(got, matrix=12).within_matrix().times, got.times[:, inside])
    for wrong in (0.0, np.nan, 2.6):
        made[5].sample_time_us = wrong
        path.unlink()
        write_file(path, made, small_header(trajectory="spiral"))
        assert read_ismrmrd(path, stored_sequence()).times is None


def test_package_reads_what_was_written(path):
    write_ismrmrd(spiral_scan(), stored_sequence(), path)
    with ismrmrd.Dataset(str(path), mode="r") as file:
        (encoding,) = xsd.CreateFromDocument(file.read_xml_header()).encoding
        one = file.read_acquisition(1)
    assert encoding.encodedSpace.matrixSize.x == MATRIX
    assert encoding.trajectoryDescription.identifier == "stored"
    assert encoding.trajectoryDescription.userParameterDouble == []
    assert (one.center_sample, one.number_of_samples, one.trajectory_dimensions) == (0, N_SAMPLES, 2)


@pytest.mark.parametrize("unit", ["1/m", "rad", "normalized", None])
@pytest.mark.parametrize("kind", ["spiral", "other", "radial"])
def test_spirals_of_other_writers(path, unit, kind):
    scale = {"1/m": 1e3 / FOV_MM, "rad": 2 * np.pi / MATRIX, "normalized": 1 / MATRIX}.get(unit, 1.0)
    scan = spiral_scan()
    stored = (scan.trajectory * scale).astype(np.float32)
    made = [acquisition(scan, s, i, stored[i]) for s in range(2) for i in range(N_SPOKES)]
    got = read_ismrmrd(write_file(path, made, small_header(trajectory=kind, unit=unit)), stored_sequence())
    np.testing.assert_allclose(got.trajectory, scan.trajectory, atol=1e-5)
    assert np.array_equal(got.kspace, scan.kspace)


def test_of_several_encodings_the_one_that_is_no_grid_is_read(path):
    header = small_header(trajectory="spiral")
    start, end = header.index("<encoding>"), header.index("</encoding>") + len("</encoding>")
    cartesian = header[start:end].replace(">spiral<", ">cartesian<")
    scan, reference = spiral_scan(), acquisitions(small_scan(n_coils=2, seed=4))[:10]
    made = [acquisition(scan, s, i) for s in range(2) for i in range(N_SPOKES)]
    for one in made:
        one.encoding_space_ref = 1
    write_file(path, [*reference, *made], header[:start] + cartesian + header[start:])
    assert np.array_equal(read_ismrmrd(path, stored_sequence()).kspace, scan.kspace)


def test_spokes_as_stored_readouts(path):
    """Any trajectory will do."""
    write_ismrmrd(small_scan(), small_sequence(), path)
    got = read_ismrmrd(path, stored_sequence())
    assert got.readout == "stored"
    assert np.array_equal(got.trajectory, golden_angle_spokes(small_sequence()))


def test_spirals_for_a_protocol_of_spokes(path):
    scan = spiral_scan(trajectory=golden_angle_spirals(stored_sequence(), n_samples=32))
    write_ismrmrd(scan, stored_sequence(), path)
    line = (
        "its readouts are not straight, evenly sampled spokes through the centre of k-space, as the protocol requires;"
    )
    refused(path, MismatchError, line, small_sequence())
    made = [acquisition(scan, s, i) for s in range(2) for i in range(N_SPOKES)]
    path.unlink()
    write_file(path, made, small_header(trajectory="radial"))
    refused(path, MismatchError, line, small_sequence())
    path.unlink()
    write_file(path, made, small_header(trajectory="spiral"))
    line = (
        "not a radial scan, its trajectory is 'spiral'; needed is one of radial, goldenangle, or a protocol of stored"
    )
    refused(path, InputError, line, small_sequence())


def test_no_trajectory(path):
    write_file(path, acquisitions(small_scan(), stored=False))
    line = "stores no trajectory, which a protocol of stored readouts requires; convert it to ISMRMRD with"
    refused(path, InputError, line)
    refused(write_whole(path.with_suffix(".dat"), twix_scan()), InputError, line)


def test_readouts_of_several_lengths(path):
    scan = spiral_scan(n_slices=1)
    made = [acquisition(scan, 0, i) for i in range(N_SPOKES)]
    made[5].discard_post = 3
    write_file(path, made)
    refused(
        path, InputError, f"acquisition 5 keeps {N_SAMPLES - 3} of {N_SAMPLES} samples.*those before have {N_SAMPLES}"
    )


@pytest.mark.parametrize("share", [0.92, 1.05])
def test_gradients_that_play_a_little_more_or_less_are_fine(path, share):
    scan = spiral_scan()
    scan = replace(scan, trajectory=scan.trajectory * np.float32(share))
    write_ismrmrd(scan, stored_sequence(), path)
    assert np.array_equal(read_ismrmrd(path, stored_sequence()).trajectory, scan.trajectory)


@pytest.mark.parametrize(("share", "match"), [(0.85, "far too small for the grid"), (1.2, "beyond the grid")])
def test_another_matrix_or_unit(path, share, match):
    scan = spiral_scan()
    write_ismrmrd(replace(scan, trajectory=scan.trajectory * np.float32(share)), stored_sequence(), path)
    refused(path, InputError, f"trajectory {match}, .k. reaches")


def test_what_does_not_fit_is_not_written(path):
    with pytest.raises(ValueError, match="readouts of the scan are stored, those of the sequence golden-radial"):
        write_ismrmrd(spiral_scan(trajectory=golden_angle_spokes(small_sequence())), small_sequence(), path)
    with pytest.raises(ValueError, match="The trajectory of stored readouts is the scan's; it cannot be computed"):
        golden_angle_spokes(stored_sequence())


def cartesian_scan() -> RawScan:
    """A line of the grid a readout, of an object: nearly all of its energy is in one line."""
    lines = np.stack(np.meshgrid(np.arange(-8, 8), np.linspace(-8, 8, N_SPOKES)), axis=-1).astype(np.float32)
    kspace = 1e5 * np.exp(-10 * np.hypot(lines[..., 0], lines[..., 1])) * np.ones((1, 2, 1, 1))
    return replace(spiral_scan(n_slices=1, n_coils=2, trajectory=lines), kspace=kspace.astype(np.complex64))


def test_damage_is_found_where_the_readout_turns(path):
    scan = spiral_scan()
    kspace = scan.kspace.copy()
    kspace[1, 2, 5, 7] = 1e6
    assert is_one_readout_turned(scan.trajectory)
    write_ismrmrd(replace(scan, kspace=kspace), stored_sequence(), path)
    refused(path, InputError, r"\(slice 1, readout 5, coil 2, sample 7\) measures 1e\+06 where nine readouts in ten")


def test_readouts_that_differ_are_not_held_against_each_other(path):
    scan = cartesian_scan()
    assert not is_one_readout_turned(scan.trajectory)
    write_ismrmrd(scan, stored_sequence(), path)
    got = read_ismrmrd(path, stored_sequence())
    assert np.array_equal(got.kspace, scan.kspace)
    heads = np.zeros(N_SPOKES, [("slice", int), ("kspace_encode_step_1", int), ("number", int)])
    heads["kspace_encode_step_1"] = np.arange(N_SPOKES)
    with pytest.raises(InputError, match="the file is damaged"):
        check_plausible(scan.kspace, heads, path)  # as if the readouts were alike
