"""What all signal models share: sign conventions, closed forms, and that every parameter of a protocol matters."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from trains import T1FF, inverted, train, with_blocks, with_train

from mrfpipe.limit import bounds
from mrfpipe.physics.bloch import bloch_signals
from mrfpipe.physics.epg import epg_signals
from mrfpipe.physics.events import events_of
from mrfpipe.physics.simulate import (
    MODELS,
    SignalModel,
    component_signals,
    fingerprints,
    readout_signals,
    signal_model,
)
from mrfpipe.protocol import Delay, Grid, History, Inversion, Protocol, Sequence, load_protocol

WATER, FAT = T1FF.components


def fingerprint(protocol: Protocol, model: SignalModel, **values: float) -> np.ndarray:
    voxel = {"FF": 0.0, "T1H2O": 1.2, "T1fat": 0.3, "df": 20.0, "B1": 0.8} | values
    return fingerprints(protocol, {name: np.array([value]) for name, value in voxel.items()}, model=model)[0]


def with_component(number: int, **changes: object) -> Protocol:
    components = list(T1FF.components)
    components[number] = dataclasses.replace(components[number], **changes)
    return dataclasses.replace(T1FF, components=tuple(components))


def measured(sequence: Sequence) -> Protocol:
    """T1-FF with another sequence."""
    return dataclasses.replace(T1FF, sequence=sequence)


@pytest.fixture(params=MODELS)
def model(request) -> SignalModel:
    return SignalModel(spoiling=request.param)


def played_step_by_step(protocol: Protocol, parts: list[tuple[float, float, float, float]], b1: float) -> np.ndarray:
    """Rotate magnetisation vectors of spins at 64 positions along the spoiling gradient, one event after the other.

    `parts` are (amount, T1, T2, frequency). Nothing of the kernels' bookkeeping is used: the frame turns with the
    carrier, every pulse has its phase, about which the rotation axis is turned, the receiver takes the phase of the
    pulse off, and z turns towards x where the phase is zero: about y, counterclockwise seen from its tip.
    """
    sequence, n_positions = protocol.sequence, 64
    inversion, first_wait, flips, recovery = sequence.blocks
    echoes = np.zeros(sequence.n_readouts, complex)
    for amount, t1, t2, hertz in parts:
        m = np.tile([0.0, 0.0, 1.0], (n_positions, 1))

        def wait(time: float, gradient: bool = False, hertz=hertz, t1=t1, t2=t2) -> None:
            nonlocal m
            turns = hertz * time + (np.arange(n_positions) / n_positions if gradient else 0.0)
            m = Rotation.from_rotvec(np.outer(np.ones(n_positions) * 2 * np.pi * turns, [0, 0, 1])).apply(m)
            m = m * [np.exp(-time / t2), np.exp(-time / t2), np.exp(-time / t1)] + [0, 0, 1 - np.exp(-time / t1)]

        for _ in range(2):
            m = m * [0, 0, -inversion.efficiency]
            wait(first_wait.duration)
            m = m * [0, 0, 1]
            for n, (flip, te, tr) in enumerate(zip(sequence.flip * b1, sequence.te, sequence.tr, strict=True)):
                phase = n * (n + 1) / 2 * flips.rf_spoiling_increment
                m = Rotation.from_rotvec(flip * np.array([-np.sin(phase), np.cos(phase), 0])).apply(m)
                wait(te)
                received = m[:, 0] + 1j * m[:, 1]
                if _ == 1:
                    echoes[n] += amount * received.mean() * np.exp(-1j * phase)
                wait(tr - te, gradient=True)
            m = m * [0, 0, 1]
            wait(recovery.duration)
    return echoes


@pytest.mark.parametrize("spoiling", ["epg", "bloch"])
def test_an_asymmetric_voxel_pins_the_signs(spoiling):
    """Water off resonance and fat of uneven peaks, as vectors that turn by exp(+2 pi i f t): nothing is symmetric."""
    n = 24
    te, tr = np.linspace(2e-3, 5e-3, n), np.linspace(4e-3, 9e-3, n)
    flips = train(np.deg2rad(np.linspace(5, 60, n)), te, tr, rf_spoiling_increment=np.deg2rad(50))
    protocol = measured(inverted(flips, efficiency=0.93, recovery=0.4))
    ff, b1, df = 0.35, 0.9, 37.0
    parts = [(1 - ff, 1.1, WATER.t2, df)] + [
        (ff * amount, 0.3, FAT.t2, df + shift) for amount, shift in zip(FAT.amplitudes, FAT.shifts, strict=True)
    ]
    slow = played_step_by_step(protocol, parts, b1)
    fast = fingerprint(protocol, SignalModel(spoiling=spoiling), FF=ff, T1H2O=1.1, T1fat=0.3, df=df, B1=b1)
    # complex64, and the single precision of EPG's states.
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-5 if spoiling == "epg" else 2e-7)


def test_positive_df_turns_the_signal_forward(model):
    """At the first echo nothing has come back yet: df is its phase, exp(+2 pi i df TE), in every model."""
    first = measured(T1FF.sequence.with_single_readouts())
    te = T1FF.sequence.te[0]
    turned = fingerprint(first, model, df=50.0)[0] / fingerprint(first, model, df=0.0)[0]
    assert np.angle(turned) == pytest.approx(2 * np.pi * 50 * te, abs=1e-4)


def test_a_fat_peak_turns_as_its_shift_says(model):
    """A positive shift acts as a positive df: one peak at 395.6 Hz is ahead of water by that at the first echo."""
    peak = with_component(1, amplitudes=np.ones(1), shifts=np.array([395.6]))
    single = dataclasses.replace(peak, sequence=T1FF.sequence.with_single_readouts())
    fat, water = (fingerprint(single, model, FF=ff, T1H2O=0.3, T1fat=0.3)[0] for ff in (1.0, 0.0))
    turn = np.exp(2j * np.pi * 395.6 * T1FF.sequence.te[0])
    assert np.abs(fat / water / np.abs(fat / water) - turn) < 1e-3


def test_inversion_recovery(model):
    t1, ti = 0.9, 0.4
    once = train(np.full(1, np.pi / 2), te=1e-9, tr=2e-9)
    protocol = measured(inverted(once, inversion_time=ti, efficiency=0.9, recovery=60.0))
    echo = fingerprint(protocol, model, T1H2O=t1, B1=1.0, df=0.0)[0]
    assert echo == pytest.approx(1 - 1.9 * np.exp(-ti / t1), abs=1e-6)


def size(signal: np.ndarray, frame: int) -> float:
    return float(np.abs(signal[frame]))


def height(signal: np.ndarray, frame: int) -> float:
    """Part along the on-resonance echo; negative after the inversion."""
    return float((signal[frame] * np.exp(-2j * np.pi * 20.0 * T1FF.sequence.te[8 * frame])).real)


OF_WATER, OF_FAT = {"FF": 0.0}, {"FF": 1.0}


@pytest.mark.parametrize(
    ("change", "voxel", "watched", "frame", "sign"),
    [
        pytest.param(with_train(flip=1.05 * T1FF.sequence.flip), OF_WATER, size, 0, 1, id="flip"),
        pytest.param(with_train(te=T1FF.sequence.te + 5e-4), OF_WATER, size, 0, -1, id="te"),
        pytest.param(with_train(tr=1.1 * T1FF.sequence.tr), OF_WATER, size, 174, 1, id="tr"),
        pytest.param(with_blocks(T1FF, Inversion, efficiency=0.9), OF_WATER, height, 0, 1, id="efficiency"),
        pytest.param(with_blocks(T1FF, Inversion, scales_with_b1=True), OF_WATER, height, 0, 1, id="scales_with_b1"),
        pytest.param(with_blocks(T1FF, Delay, duration=0.05), OF_WATER, height, 0, 1, id="inversion time"),
        pytest.param(with_blocks(T1FF, Delay, 1, duration=8.0), OF_WATER, height, 0, -1, id="recovery"),
        pytest.param(with_component(0, t2=0.05), OF_WATER, size, 0, 1, id="T2 of water"),
        pytest.param(with_component(1, t2=0.1), OF_FAT, size, 0, 1, id="T2 of fat"),
        pytest.param(with_component(1, amplitudes=0.99 * FAT.amplitudes), OF_FAT, size, 0, -1, id="amplitudes"),
    ],
)
def test_every_parameter_of_the_protocol_matters(model, change, voxel, watched: Callable, frame, sign):
    before, after = (watched(fingerprint(protocol, model, **voxel), frame) for protocol in (T1FF, change))
    assert sign * (after - before) > 2e-3 * abs(before)


@pytest.mark.parametrize(
    ("values", "frame", "sign"), [({"T1H2O": 1.4}, 70, -1), ({"B1": 0.85}, 70, 1), ({"FF": 1.0, "T1fat": 0.4}, 70, -1)]
)
def test_every_parameter_of_a_voxel_matters(model, values, frame, sign):
    """Longer T1 lowers, more B1 raises the signals at the end of the first low-flip train, near its steady state."""
    base = {"FF": values.get("FF", 0.0)}
    before, after = (size(fingerprint(T1FF, model, **v), frame) for v in (base, values))
    assert sign * (after - before) > 5e-3 * before


def test_fat_fraction_mixes(model):
    water, fat, mixed = (fingerprint(T1FF, model, FF=ff) for ff in (0.0, 1.0, 0.3))
    np.testing.assert_allclose(mixed, 0.7 * water + 0.3 * fat, rtol=0, atol=2e-8)


@pytest.mark.parametrize("degrees", [5, 15, 50])
def test_without_rf_spoiling_the_steady_state_is_that_of_ssfp_fid(degrees):
    """Closed form of gradient spoiling alone (Gyngell, J Magn Reson 81:474, 1989); a long train ends in it."""
    t1, t2, tr, a = 0.4, 0.05, 8e-3, np.deg2rad(degrees)
    n = int(20 * t1 / tr)
    sequence = inverted(train(np.full(n, a), te=1e-9, tr=tr))
    events = events_of(sequence, History(kind="repeated"))
    values = {"t1": np.array([t1]), "t2": np.array([t2]), "b1": np.ones(1), "df": np.array([30.0])}
    e1, e2 = np.exp(-tr / t1), np.exp(-tr / t2)
    root = np.sqrt((1 - e2**2) / ((1 - e1 * np.cos(a)) ** 2 - e2**2 * (e1 - np.cos(a)) ** 2))
    closed = np.tan(a / 2) * (1 - (e1 - np.cos(a)) * root)
    epg = epg_signals(events, **values, tolerance=1e-12, dtype=np.float64)[0, -1]
    assert epg == pytest.approx(closed, rel=1e-6)
    assert bloch_signals(events, **values)[0, -1] == pytest.approx(closed, rel=1e-6)


def test_rf_spoiling_matters_unless_it_is_taken_to_be_ideal():
    none = with_train(rf_spoiling_increment=0.0)
    for spoiling in ("epg", "bloch"):
        model = SignalModel(spoiling=spoiling)
        unspoiled, spoiled = fingerprint(none, model), fingerprint(T1FF, model)
        assert np.linalg.norm(unspoiled - spoiled) > 0.02 * np.linalg.norm(spoiled)
    np.testing.assert_array_equal(fingerprint(none, SignalModel()), fingerprint(T1FF, SignalModel()))


def test_the_rf_phase_and_df_turn_the_same_way():
    """Both signs turned, the signal is the conjugate; one turned, it is another wherever TR has changed."""
    opposite = with_train(rf_spoiling_increment=-T1FF.sequence.trains[0].rf_spoiling_increment)
    model = SignalModel(spoiling="epg")
    signal = fingerprint(T1FF, model, df=60.0)
    np.testing.assert_allclose(fingerprint(opposite, model, df=-60.0), signal.conj(), rtol=0, atol=1e-6)
    one = np.abs(fingerprint(opposite, model, df=60.0) - signal)
    assert one[100:110].max() > 1e-4 * np.abs(signal).max()


@pytest.mark.parametrize("simulate", [fingerprints, readout_signals, bounds])
def test_by_default_a_train_without_rf_spoiling_is_not_taken_to_be_ideally_spoiled(simulate):
    fisp = load_protocol("fisp")
    voxel = {"T1": np.array([1.0]), "T2": np.array([0.06]), "B1": np.array([0.9])}
    np.testing.assert_equal(simulate(fisp, voxel), simulate(fisp, voxel, model=SignalModel(spoiling="epg")))


def test_by_default_the_grid_is_simulated_by_the_model_of_the_dictionary():
    fisp = load_protocol("fisp")
    voxel = {"T1": np.array([1.0]), "T2": np.array([0.06]), "B1": np.array([0.9])}
    (signals,) = component_signals(dataclasses.replace(fisp, grid=Grid(axes=voxel)))
    np.testing.assert_allclose(signals[0, 0, 0], fingerprints(fisp, voxel, model=signal_model(fisp))[0], atol=1e-6)


def test_the_grid_and_voxels_are_simulated_alike(model):
    protocol = load_protocol("t1ff-small")
    grid = protocol.grid
    told: list[tuple[int, int]] = []
    signals = component_signals(protocol, model, progress=lambda done, total: told.append((done, total)))
    i, j, f, b = 3, 1, 4, 2
    voxel = {"T1H2O": grid["T1H2O"][i], "T1fat": grid["T1fat"][j], "df": grid["df"][f], "B1": grid["B1"][b]}
    # EPG drops orders block by block.
    within = 1e-6 if model.spoiling == "epg" else 2e-8
    water, fat = signals
    np.testing.assert_allclose(water[i, f, b], fingerprint(protocol, model, **voxel, FF=0.0), atol=within)
    np.testing.assert_allclose(fat[j, f, b], fingerprint(protocol, model, **voxel, FF=1.0), atol=within)
    assert told[-1] == (water[..., 0].size + fat[..., 0].size,) * 2
