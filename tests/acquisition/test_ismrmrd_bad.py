"""ISMRMRD files with acquisitions that cannot be used: each ends in the right error, which names what is wrong."""

from collections.abc import Callable
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from ismrmrd_files import (
    ANGLE_DEG,
    N_SAMPLES,
    N_SPOKES,
    PHASE_DIR,
    READ_DIR,
    SLICE_DIR,
    acquisition,
    acquisitions,
    flagged,
    noise_acquisition,
    refused,
    reversed_readout,
    small_header,
    small_scan,
    small_sequence,
    write_file,
)

from mrfpipe.acquisition import assembly
from mrfpipe.errors import InputError, MismatchError, ResourceError

Made = list[ismrmrd.Acquisition]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "scan.h5"


def resized(made: Made, i: int, n_coils: int = 3, n_samples: int = N_SAMPLES, n_dimensions: int = 2) -> None:
    made[i].resize(n_samples, n_coils, n_dimensions)


def set_sample(made: Made, i: int, coil: int, value: complex) -> None:
    made[i].data[coil, 4] = value


def set_all(made: Made, name: str, value: Callable[[ismrmrd.Acquisition], object]) -> None:
    for one in made:
        getattr(one, name)[:] = value(one)


def announce(made: Made, i: int, name: str, value: int) -> None:
    setattr(made[i].idx, name, value)


def exchange(made: Made, i: int, data: np.ndarray) -> None:
    """Put other samples in the place of an acquisition's."""
    old = made[i]
    made[i] = ismrmrd.Acquisition.from_array(data, np.zeros((data.shape[1], 2), np.float32))
    made[i].idx = old.idx


ACQUISITIONS = {
    "nothing": (lambda made: made.clear(), "holds no imaging acquisitions"),
    "only navigators": (
        lambda made: [flagged(one, ismrmrd.ACQ_IS_NAVIGATION_DATA) for one in made],
        "holds no imaging acquisitions",
    ),
    "coils change": (lambda made: resized(made, 30, n_coils=2), r"acquisition 30 \(slice 1, readout 6\) has 2 coils"),
    "no coils": (lambda made: [resized(made, i, n_coils=0) for i in range(len(made))], "have no coils"),
    "samples change": (lambda made: resized(made, 7, n_samples=30), r"acquisition 7 .* has 30 samples, .* 32"),
    "trajectory stops": (lambda made: resized(made, 25, n_dimensions=0), "acquisition 25 .* 0 trajectory dimensions"),
    "trajectory of one dimension": (
        lambda made: [resized(made, i, n_dimensions=1) for i in range(len(made))],
        "slice 0, readout 0 has 1 dimensions",
    ),
    "kz": (
        lambda made: [resized(made, i, n_dimensions=3) or one.traj.fill(40.0 * i) for i, one in enumerate(made)],
        "slice 0, readout 1 leaves the plane of the first",
    ),
    "other encoding": (lambda made: setattr(made[9], "encoding_space_ref", 1), "acquisition 9 .* encoding's number"),
    "encoding that is not there": (
        lambda made: [setattr(one, "encoding_space_ref", 3) for one in made],
        "no encoding number 3",
    ),
    "NaN": (lambda made: set_sample(made, 29, 2, np.nan), "slice 1, readout 5, coil 2 has samples that are not finite"),
    "Inf": (
        lambda made: set_sample(made, 3, 1, 1j * np.inf),
        "slice 0, readout 3, coil 1 has samples that are not fin",
    ),
    "trajectory NaN": (lambda made: made[31].traj.fill(np.nan), "trajectory of slice 1, readout 7 is not finite"),
    "slices with other trajectories": (
        lambda made: made[31].traj.__iadd__(0.01),
        "trajectory of slice 1, readout 7 differs from another slice's",
    ),
    "spoke missing": (lambda made: made.pop(28), "slice 1, readout 4 is missing"),
    "last spoke of a slice missing": (lambda made: made.pop(), "slice 1, readout 23 is missing"),
    "spoke twice": (lambda made: made.append(made[2]), "slice 0, readout 2 is more than once"),
    "spoke misnumbered": (
        lambda made: announce(made, 2, "kspace_encode_step_1", 3),
        "slice 0, readout 3 is more than once",
    ),
    "slice missing": (
        lambda made: [announce(made, i, "slice", 2) for i in range(N_SPOKES, 2 * N_SPOKES)],
        "slice 1 has no readouts, slice 2 has",
    ),
    "last repetition without a slice": (
        lambda made: [announce(made, i, "repetition", 1) for i in range(N_SPOKES)],
        "the last repetition has no slice 1",
    ),
    "partitions": (lambda made: announce(made, 5, "kspace_encode_step_2", 4), "acquisition 5 is of partition 4"),
    "directions not at right angles": (
        lambda made: set_all(made, "phase_dir", lambda one: one.read_dir),
        "directions of slice 0 are not unit vectors at right angles",
    ),
    "one direction unset": (lambda made: set_all(made, "slice_dir", lambda _: (0, 0, 0)), "not unit vectors"),
    "directions not of unit length": (
        lambda made: set_all(made, "read_dir", lambda _: 1.1 * READ_DIR),
        "not unit vectors",
    ),
    "slices not parallel": (
        lambda made: [
            set_all(made[N_SPOKES:], "read_dir", lambda _: PHASE_DIR),
            set_all(made[N_SPOKES:], "phase_dir", lambda _: READ_DIR),
        ],
        "slice 1 is not parallel to slice 0",
    ),
    "slices at one place": (lambda made: set_all(made, "position", lambda _: (1, 2, 3)), "not evenly spaced"),
    "slices beside each other": (
        lambda made: set_all(made, "position", lambda one: one.idx.slice * 10 * READ_DIR),
        "slices are not stacked along their normal",
    ),
    "slice moves": (
        lambda made: made[30].position.__setitem__(0, 99.0),
        "slice 1 changes its position or directions at readout 6",
    ),
    "slice turns": (
        lambda made: set_all(made[6:7], "read_dir", lambda _: PHASE_DIR),
        "slice 0 changes its position or directions at readout 6",
    ),
    "position not finite": (lambda made: made[3].position.__setitem__(1, np.nan), "positions .* are not finite"),
    "noise of other coils": (
        lambda made: made.append(noise_acquisition(np.ones((2, 8), np.complex64))),
        "acquisition 48 measures the noise of 2 coils, the image has 3",
    ),
    "noise not finite": (
        lambda made: made.append(noise_acquisition(np.full((3, 8), np.nan, np.complex64))),
        "acquisition 48, noise, is not finite",
    ),
}


@pytest.mark.parametrize("case", ACQUISITIONS)
def test_bad_acquisitions(path, case):
    change, match = ACQUISITIONS[case]
    made = acquisitions(small_scan())
    change(made)
    header = small_header()
    if not made:
        made = [noise_acquisition(np.ones((3, 8), np.complex64))]
    refused(write_file(path, made, header), InputError, match)


def test_slices_unevenly_spaced(path):
    made = acquisitions(small_scan(n_slices=3))
    set_all(made, "position", lambda one: [0, 10, 25][one.idx.slice] * SLICE_DIR)
    refused(write_file(path, made), InputError, "not evenly spaced")


def test_fewer_slices_than_announced(path):
    write_file(path, acquisitions(small_scan()), small_header(n_slices=5))
    refused(path, InputError, "has readouts of 2 slices, its header announces 5")


def test_no_memory(path, monkeypatch):
    monkeypatch.setattr(assembly, "available_memory", lambda: 1000)
    refused(write_file(path, acquisitions(small_scan())), ResourceError, "GiB of memory")


def test_an_inversion_time_without_inversion(path):
    write_file(path, acquisitions(small_scan()))
    refused(path, MismatchError, r"TI is 8\.32 ms, the protocol has no inversion; use", inversion_time=None)


@pytest.mark.parametrize("n", [1, N_SPOKES - 1])
def test_fewer_spokes_than_the_protocol(path, n):
    scan = small_scan(n_slices=1)
    write_file(path, [acquisition(scan, 0, i) for i in range(n)])
    refused(path, MismatchError, f"has {n} readouts per slice, the protocol has {N_SPOKES}; .* use the protocol")


def test_more_spokes_than_the_protocol(path):
    few = {name: getattr(small_sequence(), name)[:16] for name in ("flip", "te", "tr")}
    refused(
        write_file(path, acquisitions(small_scan())),
        MismatchError,
        "has 24 readouts per slice, the protocol has 16",
        **few,
    )


def test_other_number_of_samples(path):
    write_file(path, acquisitions(small_scan()))
    refused(path, MismatchError, "readouts have 32 samples, but the protocol has 48", oversampling=3)


def test_discarded_samples_that_leave_too_few(path):
    made = acquisitions(small_scan())
    made[5].discard_pre, made[5].discard_post = 2, 1
    refused(
        write_file(path, made),
        MismatchError,
        "acquisition 5 keeps 29 of 32 samples, it discards 2 before and 1 after, but the protocol has 32",
    )


TRAJECTORIES = [
    # unit declared, what one cycle/FOV is in the file, what the error says
    (None, 0.9, "far too small .* looks like no unit"),
    (None, 0.0, "far too small .* reaches 0 cycles/FOV .* looks like no unit"),
    ("cycles/FOV", 1.2, "trajectory beyond the grid"),
    ("cycles/FOV", 1 / 16, "far too small .*declared as cycles/FOV.* looks like normalized"),
    ("1/m", 1.0, "far too small .*declared as 1/m.* looks like cycles/FOV"),
    ("rad", 1.0, "trajectory beyond the grid, .*declared as rad.* looks like cycles/FOV"),
    ("normalized", 2 * np.pi / 16, "trajectory beyond the grid, .*declared as normalized.* looks like rad"),
    (
        "furlongs",
        1.0,
        "trajectory_unit 'furlongs' is not known; declare one of cycles/FOV, 1/m, rad/m, rad, normalized",
    ),
]


@pytest.mark.parametrize(("unit", "scale", "match"), TRAJECTORIES)
def test_trajectory_in_another_unit(path, unit, scale, match):
    write_file(path, acquisitions(small_scan(), scale=scale), small_header(unit=unit))
    refused(path, InputError, match)


def test_repetitions_without_trajectory(path):
    made = acquisitions(small_scan(), stored=False)
    second = acquisitions(small_scan(), stored=False)
    for one in second:
        one.idx.repetition = 1
    refused(write_file(path, made + second), InputError, "no trajectory and holds 2 repetitions")


def test_readouts_off_centre_without_trajectory(path):
    made = acquisitions(small_scan(), stored=False)
    made[11].center_sample = 12
    refused(write_file(path, made), InputError, "acquisition 11 has its centre at sample 12 instead of 16")


def test_single_readout_reversed_without_trajectory(path):
    made = acquisitions(small_scan(), stored=False)
    reversed_readout(made[7])
    match = "1 of 48 readouts are marked as reversed, in irregular order"
    refused(write_file(path, made, small_header(unit=None)), InputError, match)


def test_other_angle_without_trajectory(path):
    write_file(path, acquisitions(small_scan(), stored=False), small_header(angle_deg=ANGLE_DEG + 2e-3))
    refused(path, MismatchError, "declares an angle increment of 111.248 deg, in the protocol 111.246 deg")


def test_another_trajectory_that_is_not_stored(path):
    write_file(path, acquisitions(small_scan(), stored=False), small_header(trajectory="other"))
    refused(path, InputError, "not a radial scan, its trajectory is 'other', and it stores none")
