"""Twix files that are no radial scan of the protocol, or not complete: one line says what, where and what to do."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ismrmrd_files import N_SAMPLES, N_SPOKES, small_sequence
from twix_files import flagged, header_bytes, spoke_block, spoke_blocks, twix_scan, write_file, write_whole

from mrfpipe.acquisition.raw import describe_raw, read_raw
from mrfpipe.acquisition.twix import describe_twix, read_twix
from mrfpipe.errors import InputError, MismatchError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "meas.dat"


def refused(path: Path, error: type[Exception], match: str, **changes: object) -> None:
    """Check that reading raises `error`, on one line that starts with the file's path."""
    with pytest.raises(error, match=match) as raised:
        read_twix(path, small_sequence(**changes))
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


HEADERS: dict[str, tuple[dict[str, object], type[Exception], str]] = {
    "cartesian": ({"sKSpace.ucTrajectory": 1}, InputError, "not a radial scan, its trajectory is 'cartesian'"),
    "spiral": ({"sKSpace.ucTrajectory": "0x4"}, InputError, "not a radial scan, its trajectory is 'spiral'"),
    "matrix": ({"sKSpace.lBaseResolution": 32}, MismatchError, "matrix is 32 x 32, in the protocol 16 x 16"),
    "fov": ({"sSliceArray.asSlice[0].dPhaseFOV": 300}, MismatchError, "field of view is 320 x 300 mm"),
    "thickness": ({"sSliceArray.asSlice[0].dThickness": 7}, MismatchError, "thickness is 7 mm, in the protocol 8 mm"),
    "inversion": ({"sPrepPulses.ucInversion": 2}, MismatchError, "TI is 300 ms, in the protocol 8.32 ms"),
    "slices": ({"sSliceArray.lSize": 4}, InputError, "readouts of 3 slices, its header announces 4"),
    "no number": ({"sKSpace.lBaseResolution": "1O"}, InputError, "lBaseResolution in its header is '1O', not a number"),
    "infinite": ({"alTE[0]": "1e999"}, InputError, "not a number"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_header_of_another_scan(path, case):
    changes, error, match = HEADERS[case]
    refused(write_whole(path, twix_scan(), **changes), error, match)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("alTE[0]", 2400, "TE of readout 0 is 2.4 ms, in the protocol 2.39 ms"),
        ("alTR[0]", 5010, "TR of readout 0 is 5.01 ms, in the protocol 5 ms"),
        ("adFlipAngleDegree[0]", 8, "flip angle of readout 0 is 8 deg, in the protocol 7 deg"),
    ],
)
def test_constant_train_that_is_another(path, key, value, match):
    changes = {"alTR[0]": 5000, "adFlipAngleDegree[0]": 7, key: value}
    constant = {"te": np.full(N_SPOKES, 2.39e-3), "tr": np.full(N_SPOKES, 5e-3), "flip": np.deg2rad([7.0] * N_SPOKES)}
    refused(write_whole(path, twix_scan(), **changes), MismatchError, match, **constant)


def change_all(blocks: list, change: Callable) -> None:
    for block in blocks:
        change(block)


def turn(block: object) -> None:
    block.mdh.SliceData.Quaternion[:] = (0, 0, 1, 0)


def scale(block: object) -> None:
    block.mdh.SliceData.Quaternion[:] *= 1.1


BLOCKS: dict[str, tuple[Callable[[list], object], str]] = {
    "nothing": (list.clear, "no imaging acquisitions"),
    "spoke missing": (lambda made: made.pop(7), "slice 1, readout 2 is missing"),
    "spoke twice": (lambda made: made.append(made[7]), "slice 1, readout 2 is more than once"),
    "single reversed": (lambda made: flagged(made[7], "REFLECT"), "1 of 72 readouts are marked as reversed"),
    "off centre": (lambda made: setattr(made[7].mdh, "CenterCol", 3), "acquisition 7 has its centre at sample 3 inst"),
    "partition": (lambda made: setattr(made[7].mdh.Counter, "Par", 2), "acquisition 7 is of partition 2 of a 3-D"),
    "coils": (lambda made: setattr(made[7], "data", made[7].data[:2]), "acquisition 7 .* has 2 coils"),
    "samples": (lambda made: setattr(made[7], "data", made[7].data[:, :8]), "acquisition 7 .* has 8 samples"),
    "repetitions": (
        lambda made: made.extend(flagged(spoke_block(twix_scan(), s, 0)) for s in range(3)),
        "more than once",
    ),
    "not finite": (
        lambda made: setattr(made[7], "data", made[7].data * np.array([[1], [np.nan], [1]])),
        "slice 2, readout 2, coil 1 .* not finite",
    ),
    "slice moves": (
        lambda made: setattr(made[9].mdh.SliceData.SlicePos, "Cor", 1.0),
        "slice 0 changes its position or directions at readout 3",
    ),
    "slice turns": (lambda made: turn(made[9]), "slice 0 changes its position or directions at readout 3"),
    "no unit quaternion": (lambda made: change_all(made, scale), "not unit vectors at right angles"),
    "no quaternion": (
        lambda made: change_all(made, lambda b: b.mdh.SliceData.Quaternion.fill(0)),
        "positions or directions are missing",
    ),
    "position": (
        lambda made: change_all(made, lambda b: setattr(b.mdh.SliceData.SlicePos, "Tra", np.nan)),
        "positions or directions are missing or not finite",
    ),
    "gap": (
        lambda made: [setattr(b.mdh.SliceData.SlicePos, "Tra", 500.0) for b in made if b.cSlc == 1],
        "slices are not evenly spaced",
    ),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_bad_blocks(path, case):
    change, match = BLOCKS[case]
    blocks = spoke_blocks(twix_scan())
    change(blocks)
    blocks = blocks or [flagged(spoke_block(twix_scan(), 0, 0), "PHASCOR")]
    refused(write_file(path, blocks), InputError, match)


def test_two_repetitions(path):
    """The golden angle runs on, and the file does not say from where."""
    blocks = spoke_blocks(twix_scan())
    again = spoke_blocks(twix_scan(seed=1))
    change_all(again, lambda block: setattr(block.mdh.Counter, "Rep", 1))
    refused(write_file(path, [*blocks, *again]), InputError, "2 repetitions, so the angle .* is unknown")


@pytest.mark.parametrize(("changes", "match"), [({"matrix": 8}, "matrix is 16"), ({"oversampling": 1}, "32 samp")])
def test_other_readouts_than_the_protocol(path, changes, match):
    refused(write_whole(path, twix_scan()), MismatchError, match, **changes)


def test_scan_that_was_stopped(path):
    blocks = spoke_blocks(twix_scan())[: 3 * (N_SPOKES - 4)]
    refused(
        write_file(path, blocks), MismatchError, f"has {N_SPOKES - 4} readouts per slice, the protocol has {N_SPOKES}"
    )


NO_TWIX = {
    "empty": (b"", "is empty"),
    "short": (b"\0\0\0", "truncated"),
    "text": (b"These are notes of a scan, " * 20, "not a Siemens Twix file"),
    "zeros": (bytes(20_000), "not a Siemens Twix file"),
    "many measurements": (b"\0\0\0\0\xff\0\0\0" + bytes(20_000), "not a Siemens Twix file"),
}


@pytest.mark.parametrize("case", NO_TWIX)
def test_not_a_twix_file(path, case):
    content, match = NO_TWIX[case]
    path.write_bytes(content)
    refused(path, InputError, match)
    with pytest.raises(InputError, match=match):
        describe_raw(path)


def test_no_file_and_a_folder(tmp_path):
    refused(tmp_path / "none.dat", InputError, "the file does not exist")
    (tmp_path / "folder.dat").mkdir()
    with pytest.raises(InputError, match="is not a file"):
        read_raw(tmp_path / "folder.dat", small_sequence())


def test_no_protocol_in_the_header(path):
    header = header_bytes().replace(b"ASCCONV END", b"ASCCONV ---")
    write_file(path, spoke_blocks(twix_scan()), header=header)
    refused(path, InputError, "no protocol")
    with pytest.raises(InputError, match="no protocol"):
        describe_twix(path)


def test_description_reads_no_samples(path, monkeypatch):
    write_whole(path, twix_scan())

    def refuse(*_):
        raise AssertionError("samples are read")

    monkeypatch.setattr("mrfpipe.acquisition.twix_file.TwixFile.acquisitions", refuse)
    assert describe_twix(path)["samples"] == N_SAMPLES
