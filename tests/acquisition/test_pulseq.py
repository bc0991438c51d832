"""Protocols derived from sequences that pypulseq wrote: the train comes back as it was played."""

import hashlib
import re
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

from mrfpipe.acquisition import searched
from mrfpipe.acquisition.pulseq import protocol_from_pulseq
from mrfpipe.acquisition.searched import Searched
from mrfpipe.errors import InputError, MismatchError, ResourceError
from mrfpipe.physics.events import events_of
from mrfpipe.protocol import Delay, Excitations, History, Inversion, Protocol, load_protocol, parse_protocol

pytest.importorskip("pypulseq")

# Six digits in the file, and microseconds in the protocol; half a dwell time, easily lost, is 10 us.
FLIP_TOLERANCE_DEG, TIME_TOLERANCE = 1e-3, 2e-6


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sequence(tmp_path_factory.mktemp("seq") / 'my "scan".seq', shots=2)


def derive(path: Path, **options) -> Protocol:
    """Derive a protocol and write it: what its file holds is what comes back."""
    derived = protocol_from_pulseq(path, **options)
    read = parse_protocol(derived.toml, "derived")
    assert read.hash == derived.hash
    return read


def test_train_comes_back(written):
    protocol, known = derive(written, searched=Searched(components="water-fat")), load_protocol("t1ff")
    got = protocol.sequence
    np.testing.assert_allclose(np.rad2deg(got.flip), FLIP_DEG, atol=FLIP_TOLERANCE_DEG)
    np.testing.assert_allclose(got.te, TE_MS * 1e-3, atol=TIME_TOLERANCE)
    np.testing.assert_allclose(got.tr, TR_MS * 1e-3, atol=TIME_TOLERANCE)
    assert got.inversion_time == pytest.approx(TI_MS * 1e-3, abs=TIME_TOLERANCE)
    inversion, _, train, recovery = got.blocks
    assert inversion == Inversion()
    assert recovery.duration == pytest.approx(RECOVERY_MS * 1e-3, abs=2 * TIME_TOLERANCE)
    assert np.rad2deg(train.rf_spoiling_increment) == pytest.approx(INCREMENT_DEG, abs=1e-2)
    assert not train.phase.any()
    assert train.dephasing == 4
    assert np.rad2deg(got.readout.angle_increment) == pytest.approx(ANGLE_DEG, abs=1e-3)
    assert (got.matrix, got.readout.oversampling, got.readouts_per_frame) == (MATRIX, OVERSAMPLING, 8)
    assert got.fov == pytest.approx(FOV)
    assert protocol.name == 'my "scan"'
    assert protocol.history.kind == "repeated"
    # What is searched for is T1-FF's: with its sequence, it is that protocol.
    assert replace(protocol, sequence=known.sequence).hash == known.hash
    assert protocol.toml.count('block = "excitations"') == 3


def test_events_are_those_of_a_protocol_written_by_hand(written):
    """Of adiabatic inversion, train and recovery, as T1-FF's file has them."""
    derived = derive(written)
    train = Excitations(
        flip=np.deg2rad(FLIP_DEG),
        te=TE_MS * 1e-3,
        tr=TR_MS * 1e-3,
        phase=np.zeros(FLIP_DEG.size),
        rf_spoiling_increment=np.deg2rad(INCREMENT_DEG),
    )
    blocks = (Inversion(), Delay(duration=TI_MS * 1e-3), train, Delay(duration=RECOVERY_MS * 1e-3))
    by_hand = events_of(replace(derived.sequence, blocks=blocks), History(kind="repeated"))
    for name, values in events_of(derived.sequence, derived.history)._asdict().items():
        np.testing.assert_allclose(values, getattr(by_hand, name), atol=2 * TIME_TOLERANCE, err_msg=name)


def test_one_shot(tmp_path):
    """It is played once, recovery ends with the sequence, and a hard inversion scales with B1."""
    protocol = derive(write_sequence(tmp_path / "one.seq", adiabatic=False))
    assert protocol.history.kind == "equilibrium"
    assert protocol.sequence.blocks[0] == Inversion(scales_with_b1=True)
    # From the last spoke's end to the next inversion would be that far, less what the inversion takes to its centre.
    assert protocol.sequence.blocks[-1].duration == pytest.approx(RECOVERY_MS * 1e-3, abs=1e-3)


def test_noise_readouts_are_no_spokes(tmp_path):
    with_noise, without = (derive(write_sequence(tmp_path / "a.seq", noise=n)) for n in (3, 0))
    readout = replace(with_noise.sequence.readout, sha256=without.sequence.readout.sha256)
    assert replace(with_noise, sequence=replace(with_noise.sequence, readout=readout)).hash == without.hash


def test_a_train_that_is_not_inverted(tmp_path):
    protocol = derive(write_sequence(tmp_path / "plain.seq", inverted=False))
    assert isinstance(protocol.sequence.blocks[0], Excitations)
    assert protocol.sequence.inversion_time is None


def test_spokes_that_do_not_turn_evenly_are_stored(tmp_path):
    """The protocol names the file by its content, and keeps no angle."""
    path = write_sequence(tmp_path / "twisted.seq", twist_deg=3.0)
    readout = derive(path).sequence.readout
    assert (readout.kind, readout.pulseq) == ("stored", "twisted.seq")
    assert readout.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"spoiler_cycles": 0.5},
            r"other\.seq: at 16\.\d+ ms a pulse begins an interval that dephases by 0\.5 of a cycle",
        ),
        ({"fov": False}, r"other\.seq: selects no slice and defines no FOV along z"),
    ],
)
def test_what_cannot_be_simulated_is_named(tmp_path, changes, match):
    with pytest.raises(InputError, match=match) as raised:
        protocol_from_pulseq(write_sequence(tmp_path / "other.seq", **changes))
    assert "\n" not in str(raised.value)


def test_balanced_gradients_are_no_dephasing(tmp_path):
    assert derive(write_sequence(tmp_path / "balanced.seq", spoiler_cycles=0.0)).sequence.trains[0].dephasing == 0


def test_what_is_searched_for(written):
    known = load_protocol("fisp")
    assert list(derive(written).grid) == ["T1", "T2"]
    ranges = {"T1": [(300.0, 500.0, 100.0), (600.0, 900.0, 300.0)]}
    protocol = derive(written, searched=Searched(parameters=("B1", "T1", "T2"), ranges=ranges))
    np.testing.assert_allclose(protocol.grid["T1"], [0.3, 0.4, 0.5, 0.6, 0.9])
    np.testing.assert_array_equal(protocol.grid["B1"], known.grid["B1"])
    for names, complaint in ((("T1", "FF"), "FF does not exist for tissue"), (("T1", "B1"), "T2 is missing")):
        with pytest.raises(MismatchError, match=complaint):
            protocol_from_pulseq(written, searched=Searched(parameters=names))


def test_parameters_have_the_names_that_the_protocol_of_the_components_gives_them(written, monkeypatch):
    text = load_protocol("t1ff").toml
    for name, other in (("T1H2O", "T1muscle"), ("FF", "fat"), ("df", "offset")):
        text = re.sub(rf'(?<=\[parameters\.){name}\b|(?<== "){name}\b', other, text)
    renamed = parse_protocol(text, "renamed")
    monkeypatch.setattr(searched, "load_protocol", lambda name: renamed if name == "t1ff" else load_protocol(name))
    assert list(derive(written, searched=Searched(components="water-fat")).grid) == list(renamed.grid)
    names = ("T1", "T2", "offset")
    assert list(derive(written, searched=Searched(parameters=names)).grid) == list(names)
    with pytest.raises(MismatchError, match="Parameter T1muscle is missing; water-fat needs it"):
        protocol_from_pulseq(written, searched=Searched(components="water-fat", parameters=("fat", "T1fat")))


@pytest.mark.parametrize("content", ["", "[VERSION]\nmajor x\n", "hello\n" * 20])
def test_not_pulseq(tmp_path, content):
    path = tmp_path / "bad.seq"
    path.write_text(content)
    with pytest.raises(InputError, match=r"bad\.seq") as raised:
        protocol_from_pulseq(path)
    assert "\n" not in str(raised.value)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="the file does not exist"):
        protocol_from_pulseq(tmp_path / "none.seq")


def test_without_pypulseq(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "pypulseq", None)
    with pytest.raises(ResourceError, match=r"pip install 'mrfpipe\[pulseq\]'"):
        protocol_from_pulseq(written)
