"""Sequences of other kinds: preparations played pulse by pulse, slices, soft delays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pulseq_played import SYSTEM, TIME, N, Played, derive, kinds, protocol_times

from mrfpipe.acquisition.pulseq import protocol_from_pulseq
from mrfpipe.acquisition.pulseq_scan import find_pulseq
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.protocol import Delay, Excitations, History, Inversion, Pulses, Spoiling, T2Preparation, parse_protocol

pp = pytest.importorskip("pypulseq")


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "played.seq"


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
