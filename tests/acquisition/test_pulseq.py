"""Protocols derived from sequences that pypulseq wrote: the train comes back as it was played."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pulseq_files import (
    ANGLE_DEG,
    FLIP_DEG,
    FOV,
    INCREMENT_DEG,
    MATRIX,
    OVERSAMPLING,
    RECOVERY_MS,
    TE_MS,
    TI_MS,
    TR_MS,
    write_sequence,
)

from mrfpipe.acquisition.pulseq import protocol_from_pulseq
from mrfpipe.errors import InputError, ResourceError
from mrfpipe.protocol import Inversion, Readout, load_protocol, parse_protocol

pytest.importorskip("pypulseq")

# Six digits in the file, and microseconds in the protocol; half a dwell time, easily lost, is 10 us.
FLIP_TOLERANCE_DEG, TIME_TOLERANCE = 1e-3, 2e-6


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sequence(tmp_path_factory.mktemp("seq") / 'my "scan".seq', shots=2)


def test_train_comes_back(written):
    text = protocol_from_pulseq(written)
    protocol, base = parse_protocol(text, "derived"), load_protocol("t1ff")
    got = protocol.sequence
    np.testing.assert_allclose(np.rad2deg(got.flip), FLIP_DEG, atol=FLIP_TOLERANCE_DEG)
    np.testing.assert_allclose(got.te, TE_MS * 1e-3, atol=TIME_TOLERANCE)
    np.testing.assert_allclose(got.tr, TR_MS * 1e-3, atol=TIME_TOLERANCE)
    assert got.inversion_time == pytest.approx(TI_MS * 1e-3, abs=TIME_TOLERANCE)
    inversion, _, train, recovery = got.blocks
    assert isinstance(inversion, Inversion)
    assert recovery.duration == pytest.approx(RECOVERY_MS * 1e-3, abs=2 * TIME_TOLERANCE)
    assert np.rad2deg(train.rf_spoiling_increment) == pytest.approx(INCREMENT_DEG, abs=1e-2)
    assert np.rad2deg(got.readout.angle_increment) == pytest.approx(ANGLE_DEG, abs=1e-3)
    assert (got.matrix, got.readout.oversampling, got.readouts_per_frame) == (MATRIX, OVERSAMPLING, 8)
    assert got.fov == pytest.approx(FOV)
    assert protocol.name == 'my "scan"'
    # What is searched for is the base's: with its sequence, it is the base.
    assert replace(protocol, sequence=base.sequence).hash == base.hash
    assert text.count('block = "excitations"') == 3


def test_one_shot_without_defined_fov(tmp_path):
    """Recovery ends with the sequence, and the oversampling is the base's."""
    path = write_sequence(tmp_path / "one.seq", fov=False)
    got = parse_protocol(protocol_from_pulseq(path, base="t1ff-small"), "derived").sequence
    assert (got.matrix, got.readout.oversampling) == (MATRIX, load_protocol("t1ff-small").sequence.readout.oversampling)
    assert got.fov == pytest.approx(FOV, rel=1e-4)
    # From the last spoke's end to the next inversion would be that far, less what the inversion takes to its centre.
    assert got.blocks[-1].duration == pytest.approx(RECOVERY_MS * 1e-3, abs=1e-3)


def test_base_of_stored_readouts(tmp_path):
    """The readouts are the sequence's, whatever the base's; what they are sampled with must come from somewhere."""
    known = load_protocol("t1ff-small")
    stored = replace(known.sequence, readout=Readout(kind="stored", readouts_per_frame=8))
    base = tmp_path / "base.toml"
    base.write_text(replace(known, sequence=stored).toml)
    got = parse_protocol(protocol_from_pulseq(write_sequence(tmp_path / "a.seq"), base=base), "derived").sequence
    assert (got.readout.kind, got.readout.oversampling, got.matrix) == ("golden-radial", OVERSAMPLING, MATRIX)
    with pytest.raises(InputError, match=r"b\.seq: defines no FOV; define it, or take a base"):
        protocol_from_pulseq(write_sequence(tmp_path / "b.seq", fov=False), base=base)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"inverted": False}, "no inversion before it"),
        ({"twist_deg": 3.0}, "spokes do not turn by one angle"),
    ],
)
def test_other_sequences(tmp_path, changes, match):
    path = write_sequence(tmp_path / "other.seq", **changes)
    with pytest.raises(InputError, match=match) as raised:
        protocol_from_pulseq(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["", "[VERSION]\nmajor x\n", "hello\n" * 20])
def test_not_pulseq(tmp_path, content):
    path = tmp_path / "bad.seq"
    path.write_text(content)
    with pytest.raises(InputError, match=r"bad\.seq") as raised:
        protocol_from_pulseq(path)
    assert "\n" not in str(raised.value)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        protocol_from_pulseq(tmp_path / "none.seq")


def test_without_pypulseq(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "pypulseq", None)
    with pytest.raises(ResourceError, match=r"pip install 'mrfpipe\[pulseq\]'"):
        protocol_from_pulseq(written)
