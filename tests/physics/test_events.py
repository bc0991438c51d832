"""Any order of blocks, by every model, against vectors that are turned one event after the other."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trains import distance, random_tissue, sequence_of, train

from mrfpipe.physics.bloch import bloch_signals
from mrfpipe.physics.epg import epg_signals
from mrfpipe.physics.events import events_of, repetitions_before
from mrfpipe.physics.simulate import SignalModel, component_signals, fingerprints
from mrfpipe.physics.spoiled import spoiled_signals
from mrfpipe.physics.tissue import Parts
from mrfpipe.protocol import (
    Delay,
    Excitations,
    History,
    Inversion,
    Sequence,
    Spoiling,
    T2Preparation,
    load_protocol,
)

EQUILIBRIUM, REPEATED = History(kind="equilibrium"), History(kind="repeated")
N_POSITIONS = 256
"""Spins along the gradient; more than twice the cycles of dephasing that any sequence here adds up."""


def on_all(model, sequence: Sequence, history: History, tissue: dict[str, np.ndarray]) -> np.ndarray:
    """Simulate in double precision, nothing dropped."""
    events, exact = events_of(sequence, history), {}
    if model is epg_signals:
        exact = {"tolerance": 0, "dtype": np.float64}
    if model is bloch_signals:
        exact = {"n_spins": N_POSITIONS}
    return model(events, **tissue, **exact)


class Vectors:
    """Magnetisation of one voxel at positions along the gradient, in the frame that turns with the carrier."""

    def __init__(self, t1: float, t2: float, b1: float, df: float) -> None:
        self.t1, self.t2, self.b1, self.df = t1, t2, b1, df
        self.m = np.tile([0.0, 0.0, 1.0], (N_POSITIONS, 1))

    def turn(self, angle: float, phase: float = 0.0) -> None:
        """Turn by a pulse: z towards x where the phase is zero."""
        x, y, z = self.m.T
        along, across = x * np.cos(phase) + y * np.sin(phase), y * np.cos(phase) - x * np.sin(phase)
        along, z = along * np.cos(angle) + z * np.sin(angle), z * np.cos(angle) - along * np.sin(angle)
        back = along * np.cos(phase) - across * np.sin(phase), along * np.sin(phase) + across * np.cos(phase)
        self.m = np.stack([*back, z], axis=1)

    def wait(self, time: float, cycles: int = 0) -> None:
        turned = (self.m[:, 0] + 1j * self.m[:, 1]) * np.exp(2j * np.pi * self.df * time - time / self.t2)
        turned = turned * np.exp(2j * np.pi * cycles * np.arange(N_POSITIONS) / N_POSITIONS)
        z = 1 + (self.m[:, 2] - 1) * np.exp(-time / self.t1)
        self.m = np.stack([turned.real, turned.imag, z], axis=1)

    def crush(self) -> None:
        self.m = self.m * [0, 0, 1]

    def prepare_t2(self, time: float) -> None:
        """Play what the preparation is made of: 90, half the time, 180, the other half, 90 back, between crushers."""
        self.crush()
        self.turn(np.pi / 2)
        self.wait(time / 2)
        self.turn(np.pi)
        self.wait(time / 2)
        self.turn(np.pi / 2)
        self.crush()

    def play(self, sequence: Sequence, *, ideal: bool, selected: bool = True) -> np.ndarray:
        """Play a sequence and return its echoes; another slice's, if this one is not selected."""
        n, echoes = 0, []
        for block in sequence.blocks:
            match block:
                case Inversion():
                    self.crush()
                    self.turn(np.pi * (self.b1 if block.scales_with_b1 else 1.0))
                    self.m = self.m * [0, 0, block.efficiency]
                case T2Preparation():
                    self.prepare_t2(block.duration)
                case Delay():
                    self.wait(block.duration)
                case Spoiling():
                    self.crush()
                case Excitations() if not selected:
                    self.wait(block.tr.sum())
                case Excitations():
                    for flip, te, tr, first in zip(block.flip, block.te, block.tr, block.phase, strict=True):
                        phase = first + n * (n + 1) / 2 * block.rf_spoiling_increment
                        if ideal:
                            self.crush()
                        self.turn(self.b1 * flip, phase)
                        self.wait(te)
                        echoes.append((self.m[:, 0] + 1j * self.m[:, 1]).mean() * np.exp(-1j * phase))
                        self.wait(tr - te, block.dephasing)
                        n += 1
        return np.array(echoes)


def slowly(model, sequence: Sequence, history: History, tissue: dict[str, np.ndarray]) -> np.ndarray:
    """Play history and sequence on the vectors of each voxel. Shape `(signals, readouts)`."""
    signals = []
    for values in zip(*tissue.values(), strict=True):
        voxel = Vectors(*values)
        if history.kind == "repeated":
            for _ in range(repetitions_before(sequence)):
                voxel.play(sequence, ideal=model is spoiled_signals)
        if history.kind == "multislice":
            for _ in range(history.slices):
                voxel.play(sequence, ideal=True, selected=False)
        signals.append(voxel.play(sequence, ideal=model is spoiled_signals))
    return np.array(signals)


def random_sequence(rng: np.random.Generator) -> Sequence:
    """Blocks of all kinds in a random order, two to four trains among them, of up to 3 cycles of dephasing."""

    def random_train() -> Excitations:
        n = 8
        te = rng.uniform(1e-3, 3e-3, n)
        return train(
            rng.uniform(0, 1.5, n),
            te,
            te + rng.uniform(1e-3, 9e-3, n),
            phase=rng.uniform(0, 2 * np.pi, n),
            rf_spoiling_increment=rng.uniform(0, np.pi),
            dephasing=int(rng.integers(0, 4)),
        )

    blocks = [
        Inversion(efficiency=rng.uniform(0.5, 1)),
        Inversion(efficiency=rng.uniform(0.5, 1), scales_with_b1=True),
        T2Preparation(duration=rng.uniform(0.01, 0.1)),
        Spoiling(),
        *(Delay(duration=time) for time in rng.uniform(0, 0.1, 3)),
        *(random_train() for _ in range(rng.integers(2, 5))),
    ]
    return sequence_of(*(blocks[i] for i in rng.permutation(len(blocks))))


HISTORIES = [EQUILIBRIUM, REPEATED, History(kind="multislice", slices=3)]


@pytest.mark.parametrize("model", [spoiled_signals, epg_signals, bloch_signals])
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), history=st.sampled_from(HISTORIES))
def test_any_blocks_after_any_history_are_the_vectors_turned_by_hand(model, seed, history):
    rng = np.random.default_rng(seed)
    sequence, tissue = random_sequence(rng), random_tissue(rng, 2)
    ours, theirs = (simulate(model, sequence, history, tissue) for simulate in (on_all, slowly))
    # Double precision through up to 64 pulses and some rounding of angles of many turns.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)


def fisp_events():
    protocol = load_protocol("fisp")
    return events_of(protocol.sequence, protocol.history)


def test_epg_is_isochromat_bloch_on_a_fisp_train():
    """Inversion and 500 unbalanced excitations of one phase; in single precision with orders dropped, and exactly."""
    rng, events = np.random.default_rng(0), fisp_events()
    tissue = random_tissue(rng, 4) | {"df": np.array([0.0, 0.0, 15.0, -40.0])}
    spins = bloch_signals(events, **tissue, n_spins=1024)
    assert distance(epg_signals(events, **tissue), spins).max() < 3e-5
    exact = epg_signals(events, **tissue, tolerance=0, dtype=np.float64)
    assert distance(exact, spins).max() < 1e-12


def test_a_fisp_train_tells_t2_and_b1():
    """Twice the T2 or a tenth more B1 change the shape of a fingerprint, not only its size."""
    protocol = load_protocol("fisp")
    values = {"T1": np.array([1.0, 1.0, 1.0]), "T2": np.array([0.08, 0.16, 0.08]), "B1": np.array([1.0, 1.0, 1.1])}
    base, other_t2, other_b1 = fingerprints(protocol, values, model=SignalModel(spoiling="epg"))
    for other in (other_t2, other_b1):
        alike = np.abs(np.vdot(base, other)) / np.linalg.norm(base) / np.linalg.norm(other)
        assert alike < 0.999


@pytest.mark.parametrize("model", [spoiled_signals, epg_signals, bloch_signals])
def test_closed_forms_of_what_comes_before_a_pulse(model):
    """A 90 degree pulse reads the longitudinal magnetisation that preparations, waits and history have left."""
    t1, t2, b1, ti, duration, wait = 0.9, 0.07, 0.8, 0.4, 0.05, 1.5
    read = train(np.array([np.pi / 2 / b1]), te=1e-9, tr=2e-9)
    tissue = {"t1": np.array([t1]), "t2": np.array([t2]), "b1": np.array([b1]), "df": np.array([30.0])}

    def echo(*blocks, history=EQUILIBRIUM) -> complex:
        return on_all(model, sequence_of(*blocks), history, tissue)[0, 0]

    recovered = np.exp(-ti / t1)
    assert echo(read) == pytest.approx(1)
    assert echo(Inversion(), Delay(duration=ti), read) == pytest.approx(1 - 2 * recovered, abs=1e-7)
    hard = Inversion(efficiency=0.9, scales_with_b1=True)
    by_b1 = 1 - (1 - 0.9 * np.cos(np.pi * b1)) * recovered
    assert echo(hard, Delay(duration=ti), read) == pytest.approx(by_b1, abs=1e-7)
    assert echo(T2Preparation(duration=duration), read) == pytest.approx(np.exp(-duration / t2), abs=1e-7)
    # Two slices before: two inversions, each a sequence of ti + wait before the next.
    mz = 1.0
    for _ in range(2):
        mz = 1 + (-mz - 1) * np.exp(-(ti + wait) / t1)
    other = echo(
        Inversion(), Delay(duration=ti), read, Delay(duration=wait), history=History(kind="multislice", slices=2)
    )
    assert other == pytest.approx(1 - (1 + mz) * recovered, abs=1e-7)


@pytest.mark.parametrize("model", [epg_signals, bloch_signals])
@pytest.mark.parametrize("degrees", [10, 40, 70])
def test_balanced_gradients_end_in_the_steady_state_of_bssfp(model, degrees):
    """Closed form on resonance with alternating phase (Freeman and Hill, 1971); echo at TR / 2."""
    t1, t2, tr, a = 0.5, 0.08, 6e-3, np.deg2rad(degrees)
    n = int(12 * t1 / tr)
    alternating = train(np.full(n, a), te=tr / 2, tr=tr, phase=np.pi * (np.arange(n) % 2), dephasing=0)
    tissue = {"t1": np.array([t1]), "t2": np.array([t2]), "b1": np.ones(1), "df": np.zeros(1)}
    echo = on_all(model, sequence_of(alternating), EQUILIBRIUM, tissue)[0, -1]
    e1, e2 = np.exp(-tr / t1), np.exp(-tr / t2)
    steady = np.sin(a) * (1 - e1) / (1 - (e1 - e2) * np.cos(a) - e1 * e2) * np.exp(-tr / 2 / t2)
    # exp(-12) of the transient is left at least.
    assert echo == pytest.approx(steady, rel=1e-4)


def test_half_a_turn_of_off_resonance_is_an_alternating_phase():
    """Precession of half a turn a repetition time and phases that step by half a turn cancel."""
    n, tr = 200, 5e-3
    same = train(np.full(n, 0.6), te=1e-9, tr=tr, dephasing=0)
    turning = replace(same, phase=np.pi * (np.arange(n) % 2))
    tissue = {"t1": np.ones(1), "t2": np.full(1, 0.1), "b1": np.ones(1)}
    off = on_all(epg_signals, sequence_of(same), EQUILIBRIUM, tissue | {"df": np.full(1, 1 / (2 * tr))})
    on = on_all(epg_signals, sequence_of(turning), EQUILIBRIUM, tissue | {"df": np.zeros(1)})
    np.testing.assert_allclose(off, on, atol=1e-6)  # te turns by 1e-6


def test_only_the_ratio_of_dephasings_matters():
    """Trains of 2 and 6 cycles are trains of 1 and 3."""
    rng = np.random.default_rng(3)
    tissue, flip = random_tissue(rng, 3), rng.uniform(0.1, 1, 10)

    def signals(unit: int) -> np.ndarray:
        trains = (train(flip, te=2e-3, tr=8e-3, dephasing=unit * cycles) for cycles in (1, 3))
        return on_all(epg_signals, sequence_of(*trains), EQUILIBRIUM, tissue)

    np.testing.assert_array_equal(signals(2), signals(1))


def test_dropped_orders_cost_no_more_than_stated_where_dephasings_differ():
    rng = np.random.default_rng(4)
    trains = (train(rng.uniform(0.1, 0.8, 200), te=2e-3, tr=tr, dephasing=d) for tr, d in ((4e-3, 3), (9e-3, 1)))
    events, tissue = events_of(sequence_of(*trains), EQUILIBRIUM), random_tissue(rng, 8)
    every = epg_signals(events, **tissue, tolerance=0, dtype=np.float64)
    dropped = epg_signals(events, **tissue, dtype=np.float64)
    # Few orders are left out at once, each worth 1e-5 of equilibrium to an echo at most.
    assert np.abs(dropped - every).max() < 5e-5


def test_the_slice_profile_does_not_reach_an_inversion():
    """An inversion is of the whole volume: B1 scales it, and not the half flip angle that a layer gets."""
    b1 = np.array([0.9])
    tissue = {"t1": np.ones(1), "t2": np.full(1, 0.05), "b1": b1, "df": np.zeros(1)}
    layer = Parts(np.ones(1), np.array([0.5]), np.zeros(1))
    events = events_of(
        sequence_of(Inversion(scales_with_b1=True), train(np.array([1.0]), te=1e-9, tr=2e-9)), EQUILIBRIUM
    )
    expected = np.cos(np.pi * b1) * np.sin(0.5 * b1)
    for model in (spoiled_signals, epg_signals, bloch_signals):
        np.testing.assert_allclose(model(events, **tissue, parts=layer)[:, 0], expected, atol=1e-6)


def test_a_component_of_constants_has_one_signal():
    protocol = load_protocol("fisp")
    grid = replace(protocol.grid, axes={"T1": protocol.grid["T1"][:3]})
    tissue = replace(protocol.components[0], t2=0.08)
    only_t1 = replace(protocol, grid=grid, parameters=protocol.parameters[:1], components=(tissue,))
    (signals,) = component_signals(only_t1)
    assert signals.shape == (3, 500)
    share = replace(load_protocol("t1ff").parameters[0], name="share", counts=None)
    second = replace(tissue, name="other", t1=0.3)
    mixed = replace(
        only_t1,
        grid=replace(grid, axes={"T1": grid["T1"], "share": np.array([0.0, 1.0])}),
        parameters=(*only_t1.parameters, share),
        components=(tissue, second),
        share="share",
    )
    one, other = component_signals(mixed)
    assert one.shape == (3, 500) and other.shape == (500,)
    alone = fingerprints(mixed, {"T1": np.array([0.5]), "share": np.array([1.0])})
    np.testing.assert_allclose(alone[0], other, atol=1e-7)


def test_a_repeated_sequence_is_played_before_for_a_time():
    """Ten seconds, whatever one repetition takes: T1-FF once, a train of 50 ms two hundred times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mrfpipe.physics.events.STEADY_AFTER", 10.0)
        assert repetitions_before(load_protocol("t1ff").sequence) == 1
        short = load_protocol("t1ff").sequence
        train = replace(short.trains[0], **{n: getattr(short.trains[0], n)[:8] for n in ("flip", "te", "tr", "phase")})
        short = replace(short, blocks=(train,))
        n = repetitions_before(short)
        assert n * short.duration >= 10 > (n - 1) * short.duration
        assert events_of(short, History(kind="repeated")).kind.size == (n + 1) * 8
