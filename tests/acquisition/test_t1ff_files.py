"""Scans of T1-FF as its sequence writes them: twenty files of one scan are read alike, as its own tool reads them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import twixtools
from ismrmrd_files import small_sequence
from t1ff_files import (
    FLIP_DEG,
    HEADER,
    N_SEGMENTS,
    N_SLICES,
    RECOVERY_S,
    TE_MS,
    TI_MS,
    TOTAL_US,
    VARIANTS,
    Variant,
    t1ff_protocol,
    t1ff_scan,
    write_trains,
    write_variant,
)
from twix_files import PLACES, TABLE_MM, header_bytes, noise_block, spoke_blocks, twix_scan, write_file

from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
from mrfpipe.acquisition.raw import read_raw
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.twix_protocol import protocol_from_twix, read_trains
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.protocol import Delay, History, Protocol, load_protocol, parse_protocol

AFFINE_TOLERANCE_MM = 1e-4  # float32 positions of some 400 mm, and quaternions


@pytest.fixture(scope="module")
def protocol() -> Protocol:
    return t1ff_protocol()


@pytest.fixture(scope="module")
def made(protocol) -> RawScan:
    return t1ff_scan(protocol)


@pytest.fixture(scope="module")
def files(made, protocol, tmp_path_factory) -> dict[str, Path]:
    """The scan in every variant."""
    folder = tmp_path_factory.mktemp("t1ff")
    return {name: write_variant(folder / f"{i}.dat", made, v) for i, (name, v) in enumerate(VARIANTS.items())}


def by_its_own_tool(path: Path) -> np.ndarray:
    """The image blocks of the last measurement in their order. Shape `(slices, segments, coils, samples)`."""
    measurement = twixtools.read_twix(str(path), parse_pmu=False, parse_geometry=False, verbose=False)[-1]
    data = np.array([block.data for block in measurement["mdb"] if block.is_image_scan()])
    return data.reshape(-1, N_SEGMENTS, *data.shape[1:])


def test_there_are_twenty():
    assert len(VARIANTS) == 20


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_read(files, made, protocol, name):
    variant = VARIANTS[name]
    got = read_raw(files[name], protocol.sequence, trusted=variant.trusted)
    assert np.array_equal(got.kspace, made.kspace)
    assert np.array_equal(got.noise, made.noise)
    assert np.array_equal(got.trajectory, made.trajectory)
    said = [remark for remark in got.remarks if "order" in remark]
    assert said == ([f"readouts are taken in the {variant.way}"] if variant.way else [])
    assert (
        any("the protocol is trusted although the header states" in remark for remark in got.remarks) == variant.trusted
    )
    if not variant.interleaved:
        theirs = by_its_own_tool(files[name])
        assert np.array_equal(got.kspace[list(PLACES)].transpose(0, 2, 1, 3), theirs)


def test_the_file_in_ismrmrd_is_read_alike(files, made, protocol, tmp_path):
    of_twix = read_raw(files["nothing is counted"], protocol.sequence)
    write_ismrmrd(of_twix, protocol.sequence, tmp_path / "scan.h5")
    of_ismrmrd = read_raw(tmp_path / "scan.h5", protocol.sequence)
    for one in ("kspace", "trajectory", "noise"):
        assert np.array_equal(getattr(of_twix, one), getattr(of_ismrmrd, one)), one
    np.testing.assert_allclose(of_twix.affine, of_ismrmrd.affine, atol=AFFINE_TOLERANCE_MM)
    assert of_twix.is_turned
    assert of_ismrmrd.is_turned


@pytest.mark.parametrize("name", ["customIR_Reco, called Cartesian", "T1MAP, header of another sequence"])
def test_a_wrong_header_is_refused_unless_the_protocol_is_trusted(files, protocol, name):
    line = "not a radial scan, its trajectory is 'cartesian'.*--trust-protocol if the header is wrong"
    with pytest.raises(InputError, match=line):
        read_raw(files[name], protocol.sequence)
    remarks = read_raw(files[name], protocol.sequence, trusted=True).remarks
    assert "trajectory 'cartesian'" in remarks[0]
    assert ("slice thickness 5 mm" in remarks[0]) == (name.startswith("T1MAP"))


def test_another_number_of_segments_is_named(files, protocol):
    """It is the header's word that the file's order hangs on."""
    shorter = replace(protocol, sequence=small_sequence())
    line = f"its header announces {N_SEGMENTS} readouts per slice, .* and the protocol has 24"
    with pytest.raises(MismatchError, match=line):
        read_raw(files["nothing is counted"], shorter.sequence)


def test_a_damaged_counter_is_no_reason_to_go_by_the_order(tmp_path):
    """One of two counters that name the same spoke is wrong, and nobody knows which."""
    blocks = spoke_blocks(twix_scan())
    blocks[30].mdh.Counter.Lin = 3
    np.random.default_rng(0).shuffle(blocks)
    with pytest.raises(InputError, match=r"more than once|missing"):
        read_raw(write_file(tmp_path / "scan.dat", blocks), small_sequence())


def test_a_spoke_that_is_not_there_moves_no_other(made, protocol, tmp_path):
    """Counted on, those that follow would be another spoke each."""
    short = replace(made, kspace=made.kspace[:, :, :-1], trajectory=made.trajectory[:-1], flip=None, te=None, tr=None)
    with pytest.raises(InputError, match=r"readout 0 is more than once"):
        read_raw(write_variant(tmp_path / "short.dat", short, Variant()), protocol.sequence)


def test_the_table_stands_where_the_protocol_says(files, made, protocol, tmp_path):
    """Files that do not have its position among the parameters have it among the lines."""
    variant = Variant(header={"lScanRegionPosTra": float(TABLE_MM[2])})
    moved = write_variant(tmp_path / "moved.dat", made, variant, table_mm=(*TABLE_MM[:2], ""))
    here, there = (read_raw(path, protocol.sequence).affine for path in (files["slices alone are counted"], moved))
    np.testing.assert_allclose(there, here, atol=AFFINE_TOLERANCE_MM)


@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if variant.header or variant.interleaved])
def test_the_protocol_of_every_header(files, protocol, tmp_path, name):
    derived = protocol_from_twix(files[name], trains=write_trains(tmp_path / "trains.json"))
    thickness = 5e-3 if name.startswith("T1MAP") else 8e-3
    assert derived.sequence.hash == replace(protocol.sequence, slice_thickness=thickness).hash
    assert derived.history == History(kind="multislice", slices=N_SLICES - 1)
    assert derived.hash == replace(load_protocol("t1ff"), sequence=derived.sequence, history=derived.history).hash
    assert parse_protocol(derived.toml, "again").hash == derived.hash


def scan_of_header(path: Path, **changes: object) -> Path:
    """A file of one spoke, whose header is all that counts."""
    block = spoke_blocks(twix_scan(n_slices=1))[0]
    return write_file(path, [noise_block(twix_scan().noise), block], header=header_bytes({**HEADER, **changes}))


def test_the_train_that_comes_along(tmp_path):
    """T1-FF in full, by the values of its own tool's example: a single slice, TR - TE 1.11 ms, 5.0 s of recovery."""
    known = load_protocol("t1ff").sequence
    total = 1e6 * (RECOVERY_S + TI_MS * 1e-3 + (known.te + 1.11e-3).sum())
    changes = {"sWipMemBlock.alFree[4]": 1400, "sSliceArray.lSize": 1, "alTR[0]": round(total)}
    derived = protocol_from_twix(scan_of_header(tmp_path / "scan.dat", **changes))
    sequence = derived.sequence
    np.testing.assert_allclose(sequence.tr - sequence.te, 1.11e-3, atol=1e-9)
    assert np.array_equal(sequence.flip, known.flip)
    assert np.array_equal(sequence.te, known.te)
    last = sequence.blocks[-1]
    assert isinstance(last, Delay)
    assert last.duration == pytest.approx(RECOVERY_S, abs=1e-6)  # the header has microseconds
    assert sequence.inversion_time == pytest.approx(TI_MS * 1e-3)
    assert (sequence.matrix, sequence.readouts_per_frame, derived.history.kind) == (16, 8, "repeated")


HEADERS = {
    "3-D": ({"tProtocolName": '"T1MAP_3D"', "sWipMemBlock.alFree[3]": 48}, "is a 3-D scan"),
    "no echo spacing": ({"sWipMemBlock.adFree[0]": None}, r"has no sWipMemBlock.adFree\[0\], where a scan of T1-FF"),
    "places of a 3-D scan": (
        {"sWipMemBlock.adFree[0]": 1.5, "sWipMemBlock.adFree[1]": 3.5},
        "echo spacing of 1.5 ms is not above the shortest TE of 2.39 ms",
    ),
    "segments": ({"sWipMemBlock.alFree[4]": 760}, "announces 760 readouts per slice, the trains 48"),
    "another TE": ({"alTE[0]": 3000}, "its shortest TE is 3 ms, that of the trains 2.39 ms"),
    "too short": ({"alTR[0]": TOTAL_US - 5_010_000}, "inversion and train take .* ms, the header gives a repetition"),
    "no matrix": ({"sKSpace.lBaseResolution": None}, "has no matrix, field of view or number of slices"),
    "odd matrix": ({"sKSpace.lBaseResolution": 15}, "32 samples per readout are not a multiple of the matrix, 15"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_no_protocol_follows_from(tmp_path, case):
    changes, match = HEADERS[case]
    path = scan_of_header(tmp_path / "scan.dat", **changes)
    with pytest.raises((InputError, MismatchError), match=match) as raised:
        protocol_from_twix(path, trains=write_trains(tmp_path / "trains.json"))
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_trains_are_lists_or_shares_of_an_angle(tmp_path):
    shares = read_trains(write_trains(tmp_path / "shares.json"))
    path = tmp_path / "lists.json"
    path.write_text(json.dumps({"FA": FLIP_DEG.tolist(), "TE": TE_MS.tolist()}))
    for of_shares, of_lists, expected in zip(
        shares, read_trains(path), (np.deg2rad(FLIP_DEG), TE_MS * 1e-3), strict=True
    ):
        np.testing.assert_allclose(of_shares, expected, rtol=1e-12)
        np.testing.assert_allclose(of_lists, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"FA": 5}',
        '{"TE": [1, 2]}',
        '{"FA": [5], "TE": [2.4, 0]}',
        '{"FA": [5, 6, 7], "TE": [2.4, 3]}',
        '{"FA": "x", "TE": [2.4]}',
        '{"FA": 5, "TE": [NaN]}',
        '{"FA": -5, "TE": [2.4]}',
    ],
)
def test_trains_that_are_none(tmp_path, text):
    path = tmp_path / "trains.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"FA.*TE") as raised:
        read_trains(path)
    assert "\n" not in str(raised.value)
