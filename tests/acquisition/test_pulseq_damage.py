"""Damaged Pulseq files end in one line, or in a protocol of what they say, and never crash, hang or fill memory."""

import re
from pathlib import Path

import numpy as np
import pytest
from pulseq_files import write_sequence

from mrfpipe.acquisition.pulseq import protocol_from_pulseq
from mrfpipe.errors import InputError, MrfpipeError
from mrfpipe.physics.events import events_of
from mrfpipe.protocol import parse_protocol

EXTREMES = (b"nan", b"inf", b"-1", b"0", b"1e30", b"-1e-30", b"99999999999", b"x", b"")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_sequence(tmp_path_factory.mktemp("whole") / "whole.seq", noise=1).read_bytes()


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Change a byte, cut, drop or repeat lines, or put an extreme in the place of a number."""
    lines = content.split(b"\n")
    at = int(rng.integers(len(lines)))
    match rng.integers(5):
        case 0:
            place = int(rng.integers(len(content)))
            return content[:place] + bytes([rng.integers(256)]) + content[place + 1 :]
        case 1:
            return content[: int(rng.integers(len(content)))]
        case 2:
            return b"\n".join(lines[:at] + lines[at + int(rng.integers(1, 20)) :])
        case 3:
            return b"\n".join(lines[:at] + lines[max(0, at - int(rng.integers(1, 5))) :])
        case _:
            numbers = list(re.finditer(rb"(?<=\s)-?\d[\d.e+-]*", content))
            number = numbers[int(rng.integers(len(numbers)))]
            extreme = EXTREMES[int(rng.integers(len(EXTREMES)))]
            return content[: number.start()] + extreme + content[number.end() :]


def derive_damaged(content: bytes, path: Path) -> bool:
    """Whether a protocol comes of it; if not, a line does."""
    path.write_bytes(content)
    try:
        protocol = protocol_from_pulseq(path)
    except MrfpipeError as e:
        assert str(e).startswith(str(path))
        assert "\n" not in str(e)
        return False
    assert parse_protocol(protocol.toml, "derived").hash == protocol.hash
    events = events_of(protocol.sequence, protocol.history)
    assert np.isfinite(events.intervals).all()
    assert np.isfinite(events.flips).all()
    return True


@pytest.mark.parametrize("n", [25, pytest.param(500, marks=pytest.mark.slow)])
def test_damage_without_a_signature_ends_in_a_line_or_a_protocol(whole, tmp_path, n):
    """Files before Pulseq 1.4 have none; what such a file says is believed where it makes sense."""
    unsigned = whole[: whole.index(b"[SIGNATURE]")]
    derived = [derive_damaged(damaged(unsigned, np.random.default_rng(i)), tmp_path / "scan.seq") for i in range(n)]
    assert 0 < sum(derived) < n


def test_damage_is_found_by_the_signature(whole, tmp_path):
    path, rng = tmp_path / "scan.seq", np.random.default_rng(0)
    signed = whole.index(b"\n[SIGNATURE]")
    for _ in range(10):
        place = int(rng.integers(signed))
        other = bytes([whole[place] ^ (1 << int(rng.integers(7)))])
        path.write_bytes(whole[:place] + other + whole[place + 1 :])
        with pytest.raises(InputError, match="does not match its signature"):
            protocol_from_pulseq(path)
    # Line ends are not content: some ways of copying change them.
    path.write_bytes(whole.replace(b"\n", b"\r\n"))
    assert protocol_from_pulseq(path).sequence.n_readouts == 24


def test_what_is_referred_to_and_is_not_there_is_named_by_its_number(whole, tmp_path):
    path, unsigned = tmp_path / "scan.seq", whole[: whole.index(b"[SIGNATURE]")]
    lines = re.sub(rb"(\[BLOCKS\]\n\s*1\s+\d+\s+0\s+0\s+0\s+0\s+)1", rb"\g<1>77", unsigned)
    path.write_bytes(lines)
    with pytest.raises(InputError, match=r"cannot be read as Pulseq \(nothing has the number 77\)"):
        protocol_from_pulseq(path)


def test_a_shape_that_is_cut_off_ends(whole, tmp_path):
    """pypulseq would go on reading for ever."""
    shape = whole.index(b"num_samples")
    path = tmp_path / "cut.seq"
    path.write_bytes(whole[: shape + 40])
    with pytest.raises(InputError, match=r"cut\.seq: cannot be read as Pulseq"):
        protocol_from_pulseq(path)
    path.write_bytes(re.sub(rb"num_samples \d+", b"num_samples 99999999999", whole[: whole.index(b"[SIGNATURE]")]))
    with pytest.raises(InputError, match="a shape of 99999999999 samples"):
        protocol_from_pulseq(path)
