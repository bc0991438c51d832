"""Extended phase graphs against isochromats, closed forms, ideal spoiling and torchsim."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchsim_sequences import Ideal, Unbalanced, torchsim_echoes
from trains import T1FF, distance, inverted, random_tissue, sequence_of, train

from mrfpipe.physics.bloch import bloch_signals
from mrfpipe.physics.epg import epg_signals, orders_within
from mrfpipe.physics.events import Events, events_of
from mrfpipe.physics.spoiled import spoiled_signals
from mrfpipe.physics.tissue import Parts
from mrfpipe.protocol import History, Sequence, load_protocol

N_PULSES = 20
"""Of random trains; two repetitions make orders up to 40, which 128 spins hold without aliasing."""
N_SPINS = 128
REPEATED = History(kind="repeated")


def random_train(
    rng: np.random.Generator, increment: float, readouts_per_frame: int = 1, **times: np.ndarray | float
) -> Sequence:
    te = rng.uniform(1e-3, 5e-3, N_PULSES)
    drawn = {"te": te, "tr": te + rng.uniform(1e-3, 20e-3, N_PULSES)} | times
    return inverted(
        train(rng.uniform(0, np.pi, N_PULSES), **drawn, rf_spoiling_increment=increment),
        efficiency=rng.uniform(0.5, 1),
        inversion_time=rng.uniform(1e-3, 0.5),
        recovery=rng.uniform(0.0, 1.0),
        readouts_per_frame=readouts_per_frame,
    )


def repeated(sequence: Sequence) -> Events:
    return events_of(sequence, REPEATED)


def t1ff_train(degrees: float = 50) -> Sequence:
    """The whole train, every readout a frame, with an increment of the RF phase."""
    sequence = T1FF.sequence.with_single_readouts()
    inversion, wait, flips, recovery = sequence.blocks
    flips = dataclasses.replace(flips, rf_spoiling_increment=np.deg2rad(degrees))
    return dataclasses.replace(sequence, blocks=(inversion, wait, flips, recovery))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), degrees=st.floats(0, 180))
def test_epg_is_isochromat_bloch(seed, degrees):
    """Random trains, RF phases and tissue: every path through the states, signs and conjugates included."""
    rng = np.random.default_rng(seed)
    sequence, tissue = repeated(random_train(rng, np.deg2rad(degrees))), random_tissue(rng, 5)
    spins = bloch_signals(sequence, **tissue, n_spins=N_SPINS)
    states = epg_signals(sequence, **tissue, tolerance=0, dtype=np.float64)
    # Double precision through two repetitions of 20 pulses.
    np.testing.assert_allclose(states, spins, rtol=0, atol=1e-12)
    single = epg_signals(sequence, **tissue, tolerance=0, dtype=np.float32)
    assert single.dtype == np.complex64
    np.testing.assert_allclose(single, spins, rtol=0, atol=2e-5)


@pytest.mark.parametrize("simulate", [spoiled_signals, epg_signals, bloch_signals])
def test_a_signal_is_the_weighted_sum_of_its_parts(simulate):
    rng = np.random.default_rng(0)
    sequence, tissue = random_train(rng, 1.0, readouts_per_frame=4), random_tissue(rng, 40)
    parts = Parts(np.array([0.3, 1.1]), np.array([0.9, 0.4]), np.array([-70.0, 300.0]))
    whole = simulate(repeated(sequence), **tissue, parts=parts)
    assert whole.shape == (40, N_PULSES // 4)
    single = repeated(sequence.with_single_readouts())
    each = [
        weight * simulate(single, **(tissue | {"b1": tissue["b1"] * scale, "df": tissue["df"] + shift}))
        for weight, scale, shift in zip(*parts, strict=True)
    ]
    expected = sum(each).reshape(40, -1, 4).mean(-1)
    # Single precision of the states of EPG, which follows fewer orders where a block holds other signals.
    np.testing.assert_allclose(whole, expected, rtol=0, atol=3e-5 if simulate is epg_signals else 1e-13)


def test_without_orders_above_zero_it_is_ideally_spoiled():
    sequence, rng = repeated(t1ff_train()), np.random.default_rng(0)
    tissue = random_tissue(rng, 20)
    one = epg_signals(sequence, **tissue, n_orders=1, tolerance=0, dtype=np.float64)
    np.testing.assert_allclose(one, spoiled_signals(sequence, **tissue), rtol=0, atol=1e-13)


def test_where_nothing_transverse_outlasts_a_repetition_all_models_agree():
    """With T2 a fortieth of TR, exp(-40) of the transverse magnetisation reaches the next pulse."""
    rng = np.random.default_rng(5)
    sequence = repeated(random_train(rng, 2.0, te=1e-4, tr=0.02))
    tissue = random_tissue(rng, 20) | {"t2": np.full(20, 5e-4)}
    spoiled = spoiled_signals(sequence, **tissue)
    np.testing.assert_allclose(epg_signals(sequence, **tissue, dtype=np.float64), spoiled, rtol=0, atol=1e-13)
    np.testing.assert_allclose(bloch_signals(sequence, **tissue), spoiled, rtol=0, atol=1e-13)


def test_the_train_of_t1ff_differs_from_ideal_spoiling_more_without_rf_spoiling():
    rng = np.random.default_rng(0)
    tissue = random_tissue(rng, 30) | {"t2": np.full(30, 0.04), "df": np.zeros(30)}

    def from_ideal(degrees: float) -> np.ndarray:
        sequence = repeated(t1ff_train(degrees))
        return distance(epg_signals(sequence, **tissue), spoiled_signals(sequence, **tissue))

    spoiled, unspoiled = from_ideal(50), from_ideal(0)
    assert 1e-3 < np.median(spoiled) < 0.04
    assert np.median(unspoiled) > 3 * np.median(spoiled)


def test_dropped_states_cost_little():
    """The stated tolerance, limit and single precision against all states in double precision, for water and fat."""
    rng = np.random.default_rng(1)
    tissue = random_tissue(rng, 32) | {"t2": np.repeat([0.04, 0.08], 16), "df": rng.uniform(-600, 600, 32)}
    sequence = repeated(t1ff_train())
    every = epg_signals(sequence, **tissue, tolerance=0, dtype=np.float64)
    assert distance(epg_signals(sequence, **tissue), every).max() < 5e-5
    assert distance(epg_signals(sequence, **tissue, tolerance=1e-3), every).max() < 5e-3


@pytest.mark.parametrize("name", ["t1ff", "fisp"])
def test_as_many_orders_are_followed_as_fluid_needs(name):
    """T2 of up to 2 s: with 128 orders the train of T1-FF errs by 9 %."""
    protocol = load_protocol(name)
    events = events_of(protocol.sequence, History(kind="equilibrium"))
    tissue = {"t1": np.array([4.4, 4.4, 2.0]), "t2": np.array([2.0, 1.0, 0.6]), "b1": np.ones(3), "df": np.zeros(3)}
    every = epg_signals(events, **tissue, tolerance=0, dtype=np.float64)
    assert distance(epg_signals(events, **tissue), every).max() < 5e-5


def test_orders_that_matter_are_counted():
    events = events_of(sequence_of(train(np.ones(9), te=1e-3, tr=5e-3)), History(kind="equilibrium"))
    assert [orders_within(events, time) for time in (0, 0.012, 1, np.inf)] == [1, 4, 10, 10]
    balanced = events_of(sequence_of(train(np.ones(9), te=1e-3, tr=5e-3, dephasing=0)), History(kind="equilibrium"))
    assert orders_within(balanced, 1) == 1


@pytest.mark.parametrize("degrees", [50, 117])
def test_torchsim_agrees_on_the_train_of_t1ff(degrees):
    """Another package's phase graphs, RF spoiled and ideally spoiled.

    Its single precision rounds exp(-TR / T1) by up to 3e-8, which is 1e-5 T1 / s of what recovers in 3.5 ms; with T1
    below a second the signals agree to 1e-5 of their norm.
    """
    rng = np.random.default_rng(2)
    tissue = random_tissue(rng, 24) | {"t1": rng.uniform(0.2, 2, 24), "t2": rng.uniform(0.03, 0.08, 24)}
    sequence = t1ff_train(degrees)
    within = 1e-5 * np.maximum(1, 1.5 * tissue["t1"])
    theirs = torchsim_echoes(Unbalanced, sequence, REPEATED, **tissue, states=128)
    ours = epg_signals(repeated(sequence), **tissue, tolerance=1e-9, dtype=np.float64)
    assert np.all(distance(theirs, ours) < within)
    theirs = torchsim_echoes(Ideal, sequence, REPEATED, **tissue, states=2)
    assert np.all(distance(theirs, spoiled_signals(repeated(sequence), **tissue)) < within)


def test_torchsim_agrees_on_a_fisp_train():
    """Its single precision, as above, over 500 repetition times of 12 ms, with off-resonance."""
    rng = np.random.default_rng(3)
    tissue = random_tissue(rng, 8) | {"df": rng.uniform(-20, 20, 8)}
    protocol = load_protocol("fisp")
    theirs = torchsim_echoes(Unbalanced, protocol.sequence, protocol.history, **tissue, states=501)
    events = events_of(protocol.sequence, protocol.history)
    ours = epg_signals(events, **tissue, tolerance=0, dtype=np.float64)
    assert distance(theirs, ours).max() < 3e-5


def test_hyperecho():
    """90 - x - 180 - x - ...: the echo train around a 180 degree pulse comes back whole (Hennig and Scheffler, 2001).

    With pulses a, 180, -a at even spacing and no relaxation, what the first pulse dephased is refocused.
    """
    flip = np.array([np.pi / 2, 0.7, 1.9, np.pi, -1.9, -0.7, 0.0])
    events = events_of(sequence_of(train(flip, te=1e-9, tr=5e-3)), History(kind="equilibrium"))
    forever = np.array([1e9])
    echoes = epg_signals(events, t1=forever, t2=forever, b1=np.ones(1), df=np.zeros(1), tolerance=0, dtype=np.float64)[
        0
    ]
    assert abs(echoes[0]) == pytest.approx(1, abs=1e-6)
    assert abs(echoes[-1]) == pytest.approx(1, abs=1e-6)
    assert np.all(np.abs(echoes[1:-1]) < 0.9)


@settings(deadline=None, max_examples=10)
@given(t1=st.floats(0.2, 2), degrees=st.floats(2, 40), tr=st.floats(0.003, 0.02))
def test_spoiled_by_relaxation_it_ends_in_the_ernst_steady_state(t1, degrees, tr):
    """With T2 far below TR nothing transverse is left to spoil."""
    flip, t2, te = np.deg2rad(degrees), tr / 25, tr / 50
    n = int(20 * t1 / tr)
    sequence = inverted(train(np.full(n, flip), te=te, tr=tr))
    echo = epg_signals(
        repeated(sequence),
        t1=np.array([t1]),
        t2=np.array([t2]),
        b1=np.ones(1),
        df=np.zeros(1),
        tolerance=0,
        n_orders=4,
        dtype=np.float64,
    )[0, -1]
    e1 = np.exp(-tr / t1)
    ernst = np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip)) * np.exp(-te / t2)
    assert echo == pytest.approx(ernst, rel=1e-6)
