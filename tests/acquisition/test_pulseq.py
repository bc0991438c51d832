"""Protocols derived from sequences that pypulseq wrote: the train comes back as it was played."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from mrfpipe.acquisition.pulseq import protocol_from_pulseq
from mrfpipe.errors import InputError, ResourceError
from mrfpipe.protocol import load_protocol, parse_protocol

pp = pytest.importorskip("pypulseq")

FLIP_DEG = np.repeat([5.0, 15.0, 8.0], 8)
TE_MS, TR_MS = np.repeat([3.0, 3.5, 3.0], 8), np.repeat([7.0, 7.5, 7.0], 8)
TI_MS, RECOVERY_MS, INCREMENT_DEG, ANGLE_DEG = 12.0, 150.0, 50.0, 111.24611797
MATRIX, OVERSAMPLING, FOV = 32, 2, 0.32
DWELL = 2e-5  # s

# Six digits in the file, and microseconds in the protocol; half a dwell time, easily lost, is 10 us.
FLIP_TOLERANCE_DEG, TIME_TOLERANCE = 1e-3, 2e-6


def read_gradient(system, angle: float) -> tuple[list, float]:
    """Prephaser and readout whose sample N // 2 is the centre of k-space, and the time to it from its start."""
    n = MATRIX * OVERSAMPLING
    flat = n * DWELL
    read = pp.make_trapezoid("x", flat_area=n / OVERSAMPLING / FOV, flat_time=flat, system=system)
    half_step = 0.5 / OVERSAMPLING / FOV
    pre = pp.make_trapezoid("x", area=-read.area / 2 - half_step, duration=1e-3, system=system)
    adc = pp.make_adc(n, dwell=DWELL, delay=read.rise_time, system=system)
    to_centre = read.rise_time + (n // 2 + 0.5) * DWELL
    blocks = [pp.rotate(pre, angle=angle, axis="z"), [*pp.rotate(read, angle=angle, axis="z"), adc]]
    return blocks, to_centre


def wait(played, until: float) -> None:
    played.add_block(pp.make_delay(round((until - sum(played.block_durations.values())) * 1e5) * 1e-5))


def write_sequence(
    path: Path, *, shots: int = 1, inverted: bool = True, twist_deg: float = 0.0, fov: bool = True
) -> Path:
    system = pp.Opts(max_grad=40, grad_unit="mT/m", max_slew=150, slew_unit="T/m/s")
    played = pp.Sequence(system)
    for _ in range(shots):
        inversion = pp.make_block_pulse(np.pi, duration=1e-3, system=system, use="inversion")
        start = sum(played.block_durations.values())
        if inverted:
            played.add_block(inversion)
        begin = start + inversion.delay + 0.5e-3 + TI_MS * 1e-3
        phase = 0.0
        for i, (flip_deg, te_ms, tr_ms) in enumerate(zip(FLIP_DEG, TE_MS, TR_MS, strict=True)):
            phase += INCREMENT_DEG * i
            pulse = pp.make_sinc_pulse(
                np.deg2rad(flip_deg),
                duration=1e-3,
                phase_offset=np.deg2rad(phase) % (2 * np.pi),
                system=system,
                use="excitation",
            )
            centre = pulse.delay + pulse.center
            wait(played, begin - centre)
            played.add_block(pulse)
            angle = np.deg2rad(ANGLE_DEG * i + (twist_deg if i == 5 else 0.0))
            (pre, read), to_centre = read_gradient(system, angle)
            played.add_block(*pre)
            wait(played, begin + te_ms * 1e-3 - to_centre)
            played.add_block(*read)
            begin += tr_ms * 1e-3
        wait(played, begin + RECOVERY_MS * 1e-3 - (inversion.delay + 0.5e-3 if inverted else 0.0))
    if fov:
        played.set_definition("FOV", [FOV, FOV, 0.008])
    played.write(str(path))
    return path


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
    assert got.recovery == pytest.approx(RECOVERY_MS * 1e-3, abs=2 * TIME_TOLERANCE)
    assert np.rad2deg(got.rf_spoiling_increment) == pytest.approx(INCREMENT_DEG, abs=1e-2)
    assert np.rad2deg(got.angle_increment) == pytest.approx(ANGLE_DEG, abs=1e-3)
    assert (got.matrix, got.readout_oversampling, got.spokes_per_frame) == (MATRIX, OVERSAMPLING, 8)
    assert got.fov == pytest.approx(FOV)
    assert protocol.name == 'my "scan"'
    assert protocol.tissue.hash == base.tissue.hash
    assert protocol.grid.hash == base.grid.hash
    assert len(re.findall("sequence.train", text)) == 3


def test_one_shot_without_defined_fov(tmp_path):
    """Recovery ends with the sequence, and the oversampling is the base's."""
    path = write_sequence(tmp_path / "one.seq", fov=False)
    got = parse_protocol(protocol_from_pulseq(path, base="t1ff-small"), "derived").sequence
    assert (got.matrix, got.readout_oversampling) == (MATRIX, load_protocol("t1ff-small").sequence.readout_oversampling)
    assert got.fov == pytest.approx(FOV, rel=1e-4)
    # From the last spoke's end to the next inversion would be that far, less what the inversion takes to its centre.
    assert got.recovery == pytest.approx(RECOVERY_MS * 1e-3, abs=1e-3)


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
