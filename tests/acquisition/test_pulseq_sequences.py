"""Sequences of other kinds: preparations played pulse by pulse, slices, soft delays, and what is named instead."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mrfpipe.acquisition.pulseq import protocol_from_pulseq
from mrfpipe.acquisition.pulseq_scan import find_pulseq
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.protocol import (
    Delay,
    Excitations,
    History,
    Inversion,
    Pulses,
    Sequence,
    Spoiling,
    T2Preparation,
    parse_protocol,
)

pp = pytest.importorskip("pypulseq")

FOV, THICKNESS, N = 0.2, 5e-3, 32
SYSTEM = pp.Opts(max_grad=60, grad_unit="mT/m", max_slew=180, slew_unit="T/m/s")
TIME = 2e-6  # s: microseconds in the protocol, and the raster's half


class Played:
    """A sequence of slice-selective excitations with a spoke each, and whatever else a test plays between."""

    def __init__(self) -> None:
        self.sequence = pp.Sequence(SYSTEM)
        self.sequence.set_definition("FOV", [FOV, FOV, THICKNESS])

    def excite(
        self,
        flip_deg: float = 20.0,
        *,
        place: float = 0.0,
        angle_deg: float = 0.0,
        spoiler_cycles: float = 4.0,
        receiver_deg: float = 0.0,
        line: float = 0.0,
        echoes: int = 1,
        pieces: int = 1,
        use: str = "excitation",
    ) -> None:
        pulse, select, _ = pp.make_sinc_pulse(
            np.deg2rad(flip_deg), duration=1e-3, slice_thickness=THICKNESS, system=SYSTEM, return_gz=True, use=use
        )
        pulse.freq_offset = select.amplitude * place
        pulse.phase_offset = -2 * np.pi * pulse.freq_offset * pulse.center
        self.sequence.add_block(pulse, select)
        read = pp.make_trapezoid("x", flat_area=N / FOV, flat_time=N * 2e-5, system=SYSTEM)
        adc = pp.make_adc(N, dwell=2e-5, delay=read.rise_time, phase_offset=np.deg2rad(receiver_deg), system=SYSTEM)
        rephase = pp.make_trapezoid("z", area=-select.area / 2, duration=1e-3, system=SYSTEM)
        half_step = 0.5 / FOV
        before, after = -read.area / 2 - half_step, -read.area / 2 + half_step

        def along(gradient: object) -> list[object]:
            return pp.rotate(gradient, angle=np.deg2rad(angle_deg), axis="z")

        self.sequence.add_block(*along(pp.make_trapezoid("x", area=before, duration=1e-3, system=SYSTEM)), rephase)
        if line:
            self.sequence.add_block(*along(pp.make_trapezoid("y", area=line / FOV, duration=1e-3, system=SYSTEM)))
        for echo in range(echoes):
            if echo:
                self.sequence.add_block(*along(pp.make_trapezoid("x", area=-read.area, duration=1e-3, system=SYSTEM)))
            if pieces == 1:
                self.sequence.add_block(*along(read), adc)
                continue
            half = read.rise_time + N // 2 * 2e-5
            first, second = pp.split_gradient_at(read, half, system=SYSTEM)
            second.delay = 0.0
            for gradient, delay in ((first, read.rise_time), (second, 0.0)):
                self.sequence.add_block(gradient, pp.make_adc(N // 2, dwell=2e-5, delay=delay, system=SYSTEM))
        spoil = pp.make_trapezoid(
            "z", area=spoiler_cycles / THICKNESS - select.area / 2, duration=1.5e-3, system=SYSTEM
        )
        back = pp.make_trapezoid("x", area=after, duration=1.5e-3, system=SYSTEM)
        self.sequence.add_block(*along(back), spoil)

    def train(self, n: int = 6, **options: float) -> None:
        for i in range(n):
            self.excite(angle_deg=i * 111.246, **options)

    def hard(self, flip_deg: float, phase_deg: float = 0.0, use: str = "preparation", frequency: float = 0.0) -> None:
        pulse = pp.make_block_pulse(
            np.deg2rad(flip_deg),
            duration=2e-4,
            phase_offset=np.deg2rad(phase_deg),
            freq_offset=frequency,
            system=SYSTEM,
            use=use,
        )
        self.sequence.add_block(pulse)

    def adiabatic(self, use: str = "inversion") -> None:
        self.sequence.add_block(
            pp.make_adiabatic_pulse("hypsec", duration=8e-3, adiabaticity=6, system=SYSTEM, use=use)
        )

    def gradient(self, cycles: float, duration: float = 2e-3) -> None:
        """Dephase over the slice."""
        self.sequence.add_block(pp.make_trapezoid("z", area=cycles / THICKNESS, duration=duration, system=SYSTEM))

    def label(self, **values: int) -> None:
        self.sequence.add_block(*(pp.make_label(name, "SET", value) for name, value in values.items()))

    def wait(self, duration: float, *others: object) -> None:
        self.sequence.add_block(pp.make_delay(duration), *others)


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "played.seq"


def derive(played: Played, path: Path, **options: object) -> Sequence:
    played.sequence.write(str(path))
    return protocol_from_pulseq(path, **options).sequence


def named(played: Played, path: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as raised:
        derive(played, path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def kinds(sequence: Sequence) -> list[type]:
    return [type(block) for block in sequence.blocks]


def test_a_t2_preparation_of_hard_pulses_is_played_pulse_by_pulse(played, path):
    for flip_deg, phase_deg in ((90, 0), (180, 90), (90, 180)):
        played.hard(flip_deg, phase_deg)
        if flip_deg != 90 or not phase_deg:
            played.wait(9.8e-3 - SYSTEM.rf_ringdown_time - SYSTEM.rf_dead_time)
    played.gradient(11.3)
    played.train()
    sequence = derive(played, path)
    assert kinds(sequence) == [Pulses, Spoiling, Excitations]
    pulses = sequence.blocks[0]
    np.testing.assert_allclose(np.rad2deg(pulses.flip), [90, 180, 90], atol=1e-3)
    np.testing.assert_allclose(np.rad2deg(pulses.phase), [0, 90, 180], atol=1e-3)
    np.testing.assert_allclose(pulses.duration[:2], 0.01, atol=TIME)
    assert pulses.dephasing == 0
    assert sequence.trains[0].dephasing == 4


def test_crushers_of_a_preparation_dephase_alike(played, path):
    for flip_deg, phase_deg, cycles in ((90, 0, 6.2), (180, 90, 6.2), (90, 180, 13.1)):
        played.hard(flip_deg, phase_deg)
        played.gradient(cycles)
    played.train()
    assert [block.dephasing for block in derive(played, path).blocks if isinstance(block, Pulses)] == [6]


def test_an_adiabatic_t2_preparation_is_what_it_does(played, path):
    played.hard(90)
    for _ in range(2):
        played.wait(5e-3)
        played.adiabatic(use="refocusing")
    played.wait(5e-3)
    played.hard(90, 180)
    played.gradient(11.3)
    played.train()
    sequence = derive(played, path)
    assert kinds(sequence) == [T2Preparation, Delay, Excitations]
    pulses = protocol_times(path)
    assert sequence.blocks[0].duration == pytest.approx(pulses[3] - pulses[0], abs=TIME)


def protocol_times(path: Path) -> list[float]:
    """Centres of the pulses, as pypulseq has them."""
    sequence = pp.Sequence()
    sequence.read(str(path))
    times, start = [], 0.0
    for number, duration in sequence.block_durations.items():
        block = sequence.get_block(number)
        if block.rf is not None:
            times.append(start + block.rf.delay + block.rf.center)
        start += duration
    return times


def test_trains_after_each_other_wait_as_played(played, path):
    played.train(4)
    played.wait(0.3)
    played.adiabatic()
    played.gradient(10)
    played.train(4)
    sequence = derive(played, path)
    assert kinds(sequence) == [Excitations, Delay, Inversion, Delay, Excitations]
    times = protocol_times(path)
    first, waited = sequence.trains[0], sequence.blocks[1].duration
    assert first.tr[-1] + waited == pytest.approx(times[4] - times[3], abs=TIME)
    assert sequence.blocks[3].duration == pytest.approx(times[5] - times[4], abs=TIME)


def test_slices_one_after_the_other(played, path):
    """The inversion reaches all of them; each has its own excitations."""
    for place in (0.0, 0.01, -0.01):
        played.adiabatic()
        played.gradient(10)
        played.train(place=place)
        played.wait(0.2)
    played.sequence.write(str(path))
    protocol = protocol_from_pulseq(path)
    assert protocol.history == History(kind="multislice", slices=2)
    assert kinds(protocol.sequence) == [Inversion, Delay, Excitations, Delay]
    assert protocol.sequence.n_readouts == 6


def test_slices_in_turn(played, path):
    """An excitation of the other slice is time, and its gradients dephase."""
    for i in range(6):
        for place in (0.0, 0.01):
            played.excite(place=place, angle_deg=i * 111.246)
    played.sequence.write(str(path))
    protocol = protocol_from_pulseq(path)
    times = protocol_times(path)
    assert protocol.history.kind == "equilibrium"
    assert protocol.sequence.n_readouts == 6
    assert protocol.sequence.tr[0] == pytest.approx(times[2] - times[0], abs=TIME)
    assert protocol.sequence.trains[0].dephasing == 8


@pytest.mark.parametrize(
    ("label", "history"),
    [
        ("REP", History(kind="repeated")),
        ("SLC", History(kind="equilibrium")),
    ],
)
def test_labels_tell_repetitions_and_slices_apart(played, path, label, history):
    """Of trains that select no place and follow no preparation, which without labels are one."""
    for value in range(2):
        played.label(**{label: value})
        played.train()
    played.sequence.write(str(path))
    protocol = protocol_from_pulseq(path)
    assert protocol.history == history
    assert protocol.sequence.n_readouts == 6


def test_trains_without_labels_are_one(played, path):
    played.train()
    played.train()
    assert derive(played, path).n_readouts == 12


def test_readouts_that_are_labelled_noise_measure_it(played, path):
    played.train(3)
    played.label(NOISE=1)
    played.sequence.add_block(pp.make_adc(N, dwell=2e-5, system=SYSTEM))
    played.label(NOISE=0)
    played.train(3)
    sequence = derive(played, path)
    assert sequence.n_readouts == 6
    assert (sequence.readout.kind, sequence.matrix) == ("stored", N)


def test_receiver_events_of_a_pulse_are_one_readout(played, path):
    """They end in the middle of a spoke, and the next begins there, with the gradient."""
    for _ in range(4):
        played.excite(pieces=2)
    sequence = derive(played, path)
    scan = find_pulseq(sequence, path)
    # From the middle of a pulse of 1 ms to the middle of a dwell time: 0.5 ms, 1 ms of dephasing and the rise.
    assert 1.5e-3 < scan.times[0, 0] < 2e-3
    np.testing.assert_allclose(np.diff(scan.times, axis=1), 2e-5, atol=1e-9)
    np.testing.assert_array_equal(scan.n_samples, 8 * [N // 2])
    np.testing.assert_array_equal(scan.readouts, [0, 0, 1, 1, 2, 2, 3, 3])
    assert scan.trajectory.shape == (4, N, 2)
    # From the edge through the centre, which is sample N / 2, in cycles/FOV; six digits in the file.
    np.testing.assert_allclose(scan.trajectory[:, :, 0], np.tile(np.arange(N) - N / 2, (4, 1)), atol=1e-3)
    np.testing.assert_allclose(scan.trajectory[:, :, 1], 0, atol=1e-3)


def test_delays_that_the_operator_sets(played, path):
    played.train(3)
    soft = pp.make_soft_delay("trigger", default_duration=0.2)
    played.sequence.add_block(soft)
    played.train(3)
    as_in_file, as_set = derive(played, path), derive(played, path, soft_delays={"trigger": 0.5})
    assert as_set.duration - as_in_file.duration == pytest.approx(0.3, abs=TIME)
    with pytest.raises(InputError, match="has no soft delay other; its delays are trigger"):
        derive(played, path, soft_delays={"other": 0.5})


def test_a_trigger_is_waited_for(played, path):
    """It comes at once, and lasts what the file says, or with the next heartbeat: here every second one is missed."""
    for _ in range(3):
        played.sequence.add_block(pp.make_trigger("physio1", duration=0.02, system=SYSTEM))
        played.train(3)
    at_once, beating = derive(played, path), derive(played, path, heartbeat=0.025)
    # Three spokes of 4.44 ms after 20 ms.
    begins = [np.cumsum(sequence.tr)[[2, 5]] for sequence in (at_once, beating)]
    np.testing.assert_allclose(begins[0], [0.02 + 3 * 4.44e-3, 2 * (0.02 + 3 * 4.44e-3)], atol=TIME)
    np.testing.assert_allclose(begins[1], [0.05, 0.1], atol=TIME)
    kept = parse_protocol(protocol_from_pulseq(path, heartbeat=0.025).toml, "kept").sequence
    assert (at_once.readout.heartbeat, kept.readout.heartbeat) == (None, 0.025)


def test_a_scan_is_sorted_by_the_delays_that_its_protocol_was_derived_with(played, path):
    """The operator made the second part the first's repetition, which it is not by the file alone."""
    for delay in (pp.make_delay(0.2), pp.make_soft_delay("TI", default_duration=0.1)):
        played.adiabatic()
        played.gradient(10)
        played.sequence.add_block(delay)
        played.train(3)
    alike, as_in_file = derive(played, path, soft_delays={"TI": 0.2}), derive(played, path)
    assert (alike.n_readouts, as_in_file.n_readouts) == (3, 6)
    kept = parse_protocol(protocol_from_pulseq(path, soft_delays={"TI": 0.2}).toml, "kept").sequence
    assert kept.readout.soft_delays == (("TI", 0.2),)
    assert kept.hash == alike.hash
    np.testing.assert_array_equal(find_pulseq(kept, path).repetitions, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(find_pulseq(as_in_file, path).readouts, np.arange(6))
    forgotten = replace(kept, readout=replace(kept.readout, soft_delays=()))
    with pytest.raises(MismatchError, match=r"has 6 readouts per slice, its protocol has 3; derive the protocol aga"):
        find_pulseq(forgotten, path)


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


OLD = """\
[VERSION]
major 1
minor {minor}
revision 0

[DEFINITIONS]
FOV 0.2 0.2 0.005

[BLOCKS]
{blocks}

[RF]
1 5000 1 2 0 0 0
2 {amplitude:.6f} 1 2 0 0 0

[TRAP]
1 1000000 100 1900 100 0
{gradients}

[ADC]
1 64 10000 0 0 0

[DELAYS]
1 10000

[SHAPES]

shape_id 1
num_samples 100
1
0
0
97

shape_id 2
num_samples 100
0
0
98
"""
"""An inversion and three spokes of the old formats: RF, gradients, ADC and delays by number, all durations in us."""


@pytest.mark.parametrize("minor", [2, 3])
def test_files_of_before_pulseq_1_4(path, minor):
    """The delay is played with the first gradient, no block has a duration, and no pulse says what it is for."""
    blocks = ["0 1 0 0 0 0", "1 0 0 0 1 0"]
    gradients, n_spokes, turn = [], 3, np.deg2rad(120)
    for i in range(n_spokes):
        first = 2 + 6 * i
        along = np.array([np.cos(i * turn), np.sin(i * turn)])
        for area, ramp, flat in ((-81.25, 100, 900), (160, 0, 640), (-78.75, 100, 900)):
            for amplitude in area / ((ramp + flat) * 1e-6) * along:
                gradients.append(f"{len(gradients) + 2} {amplitude:.6f} {ramp} {flat} {ramp} 0")
        x, y = first, first + 1
        blocks += ["0 2 0 0 0 0", f"0 0 {x} {y} 0 0", f"0 0 {x + 2} {y + 2} 0 1", f"0 0 {x + 4} {y + 4} 1 0"]
    numbered = [f"{n} {block}{' 0' if minor > 2 else ''}" for n, block in enumerate(blocks, start=1)]
    path.write_text(
        OLD.format(minor=minor, blocks="\n".join(numbered), gradients="\n".join(gradients), amplitude=30 / 360 / 100e-6)
    )
    sequence = protocol_from_pulseq(path).sequence
    assert kinds(sequence) == [Inversion, Delay, Excitations]
    assert sequence.blocks[0] == Inversion(scales_with_b1=True)
    assert sequence.inversion_time == pytest.approx(10.1e-3, abs=TIME)
    train = sequence.trains[0]
    np.testing.assert_allclose(np.rad2deg(train.flip), 30, atol=1e-3)
    np.testing.assert_allclose(train.te, 0.05e-3 + 1.1e-3 + 325e-6, atol=TIME)
    np.testing.assert_allclose(train.tr[:-1], 0.1e-3 + 1.1e-3 + 0.64e-3 + 2.1e-3, atol=TIME)
    assert train.dephasing == 10
    assert (sequence.matrix, sequence.readout.oversampling) == (32, 2)
    assert np.rad2deg(sequence.readout.angle_increment) == pytest.approx(120, abs=1e-3)
