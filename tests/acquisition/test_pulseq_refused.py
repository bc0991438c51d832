"""What a Pulseq sequence has and cannot be simulated is named, with its time."""

from pathlib import Path

import pytest
from pulseq_played import Played, derive

from mrfpipe.errors import InputError


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "played.seq"


def named(played: Played, path: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as raised:
        derive(played, path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_fat_saturation_is_named(played, path):
    played.hard(90, use="saturation", frequency=-440.0)
    played.gradient(10)
    played.train()
    named(played, path, r"at 0\.\d+ ms a pulse -440 Hz off resonance selects frequencies")


NAMED = {
    "lines of a grid": ({"line": 6.0}, r"at \d+\.\d+ ms a readout passes the centre of k-space 6 cycles/FOV away"),
    "another number of readouts": ({"echoes": 2}, "the readouts of a pulse have 64 samples, before they had 32"),
    "receiver": ({"receiver_deg": 30.0}, "the phase of the receiver does not follow"),
    "spin echo": ({"use": "refocusing", "flip_deg": 120.0}, "a refocusing pulse has readouts"),
    "partial": ({"spoiler_cycles": 0.4}, r"dephases by 0\.4 of a cycle over a voxel"),
    "changing": ({"spoiler_cycles": 5.3}, r"dephases by \(.*5\.30\) cycles over a voxel, others by \(.*4\.00\)"),
}


@pytest.mark.parametrize("case", NAMED)
def test_what_cannot_be_simulated_is_named(played, path, case):
    changes, match = NAMED[case]
    played.train(5)
    played.excite(angle_deg=5 * 111.246, **changes)
    played.excite(angle_deg=6 * 111.246)
    named(played, path, match)


def test_a_pulse_of_many_turns_is_named(played, path):
    played.hard(1000)
    played.gradient(10)
    played.train()
    named(played, path, r"at 0\.\d+ ms a pulse turns by 1000 degrees, above 720")


def test_several_echoes_are_named(played, path):
    played.train(echoes=2)
    named(played, path, r"at \d+\.\d+ ms a readout passes the centre of k-space 2 times")


def test_gradients_within_a_preparation_that_dephase_in_part_are_named(played, path):
    for flip_deg, phase_deg in ((90, 0), (180, 90), (90, 180)):
        played.hard(flip_deg, phase_deg)
        played.gradient(0.5)
    played.train()
    named(played, path, r"at 0\.\d+ ms a pulse begins an interval that dephases by 0\.5 of a cycle over a voxel")
