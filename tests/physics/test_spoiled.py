import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trains import T1FF, inverted
from trains import train as train_of

from mrfpipe.physics import events
from mrfpipe.physics.simulate import component_signals, fingerprints, readout_signals
from mrfpipe.physics.spoiled import spoiled_signals
from mrfpipe.protocol import History, Sequence

WATER, FAT = T1FF.components


def echoes_of(sequence: Sequence, t1: float, b1: float, t2: float) -> np.ndarray:
    """The kernel's on-resonance echoes of one signal."""
    played = events.events_of(sequence.with_single_readouts(), History(kind="repeated"))
    values = {name: np.array([value]) for name, value in (("t1", t1), ("b1", b1), ("t2", t2), ("df", 0.0))}
    return spoiled_signals(played, **values)[0]


def bloch_echoes(sequence: Sequence, t1: float, t2: float, b1: float, df: float, repetitions: int) -> np.ndarray:
    """Rotate and relax a magnetisation vector step by step, its transverse part zeroed before every pulse.

    Excitation turns it from z towards y' such that the signal is real on resonance; positive df turns the transverse
    part counterclockwise, exp(+2 pi i df t).
    """
    mxy, mz, echoes = 0j, 1.0, []
    _, inversion_time, _, recovery = sequence.blocks

    def wait(mxy: complex, mz: float, time: float) -> tuple[complex, float]:
        return mxy * np.exp(-time / t2 + 2j * np.pi * df * time), 1 - (1 - mz) * np.exp(-time / t1)

    for _ in range(repetitions):
        echoes = []
        mz = -mz
        mxy, mz = wait(mxy, mz, inversion_time.duration)
        for flip, te, tr in zip(sequence.flip * b1, sequence.te, sequence.tr, strict=True):
            mxy = 0j  # ideal spoiling
            mxy, mz = mxy * np.cos(flip) + mz * np.sin(flip), mz * np.cos(flip)
            mxy, mz = wait(mxy, mz, te)
            echoes.append(mxy)
            mxy, mz = wait(mxy, mz, tr - te)
        mxy, mz = wait(mxy, mz, recovery.duration)
    return np.array(echoes)


def train(n: int, flip: float, te: float, tr: float, **times: float) -> Sequence:
    return inverted(train_of(np.full(n, flip), te=te, tr=tr), **times)


def test_the_kernel_is_the_vector_simulation():
    for t1, b1 in ((0.55, 0.3), (1.23, 0.87), (2.0, 1.0)):
        fast = echoes_of(T1FF.sequence, t1, b1, WATER.t2)
        slow = bloch_echoes(T1FF.sequence, t1, WATER.t2, b1, 0.0, 2)
        np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-13)


def test_a_voxel_is_water_and_six_fat_peaks():
    """Each fat peak simulated by itself, at its own frequency: the signs of df and of the shifts are one."""
    ff, t1w, t1f, df, b1 = 0.3, 1.1, 0.31, 35.0, 0.8
    water = bloch_echoes(T1FF.sequence, t1w, WATER.t2, b1, df, 2)
    fat = sum(
        amplitude * bloch_echoes(T1FF.sequence, t1f, FAT.t2, b1, df + shift, 2)
        for amplitude, shift in zip(FAT.amplitudes, FAT.shifts, strict=True)
    )
    values = {"FF": ff, "T1H2O": t1w, "T1fat": t1f, "df": df, "B1": b1}
    ours = readout_signals(T1FF, {k: np.array([v]) for k, v in values.items()})[0]
    np.testing.assert_allclose(ours, (1 - ff) * water + ff * fat, rtol=0, atol=1e-13)


def test_fat_phasor_has_its_reference_values():
    """The sum of the peaks at the three echo times, against one water signal with the T1 and T2 of fat."""
    values = {"T1H2O": 0.3, "T1fat": 0.3, "df": 0.0, "B1": 0.9}
    one = dataclasses.replace(T1FF, components=(dataclasses.replace(WATER, t2=FAT.t2), FAT))
    water, fat = readout_signals(one, {"FF": np.array([0.0, 1.0])} | {k: np.array([v] * 2) for k, v in values.items()})
    phasor = (fat / water)[[0, 800, 1200]]
    np.testing.assert_allclose(phasor, [0.629 - 0.447j, -0.344 + 0.457j, 0.198 - 0.432j], atol=1e-3)


def test_frames_are_means_of_their_readouts():
    values = {"FF": 0.4, "T1H2O": 1.2, "T1fat": 0.3, "df": -20.0, "B1": 0.9}
    voxels = {k: np.array([v, v]) for k, v in values.items()}
    readouts, frames = readout_signals(T1FF, voxels), fingerprints(T1FF, voxels)
    assert frames.shape == (2, 175)
    np.testing.assert_allclose(frames[0, 3], readouts[0, 24:32].mean(), rtol=1e-6)


def test_component_signals_are_the_fingerprints_of_pure_voxels():
    (of_water, of_fat), grid = component_signals(T1FF), T1FF.grid
    i, j, f, b = 17, 5, 20, 3
    values = {"T1H2O": grid["T1H2O"][i], "T1fat": grid["T1fat"][j], "df": grid["df"][f], "B1": grid["B1"][b]}
    voxels = {k: np.array([v, v]) for k, v in values.items()}
    water, fat = fingerprints(T1FF, {"FF": np.array([0.0, 1.0])} | voxels)
    np.testing.assert_allclose(of_water[i, f, b], water, rtol=0, atol=2e-8)
    np.testing.assert_allclose(of_fat[j, f, b], fat, rtol=0, atol=2e-8)


def test_the_train_is_steady_from_the_second_repetition_on(monkeypatch):
    t1, b1 = T1FF.grid["T1H2O"][[0, 60, 113]], T1FF.grid["B1"][[0, 7, 14]]

    def after(repetitions: int) -> np.ndarray:
        monkeypatch.setattr(events, "repetitions_before", lambda _: repetitions - 1)
        return np.array([echoes_of(T1FF.sequence, *pair, 0.04) for pair in zip(t1, b1, strict=True)])

    second, first, fifth = after(1 + events.repetitions_before(T1FF.sequence)), after(1), after(5)
    norm = np.linalg.norm(fifth, axis=1)
    assert np.max(np.linalg.norm(second - fifth, axis=1) / norm) < 3e-5
    assert 0.06 < np.max(np.linalg.norm(first - fifth, axis=1) / norm) < 0.08


@settings(deadline=None, max_examples=25)
@given(t1=st.floats(0.1, 3), degrees=st.floats(1, 60), tr=st.floats(0.003, 0.05))
def test_a_long_train_ends_in_the_ernst_steady_state(t1, degrees, tr):
    flip, te, t2 = np.deg2rad(degrees), 0.002, 0.05
    n = int(20 * t1 / tr)
    sequence = train(n, flip, te, tr)
    echo = echoes_of(sequence, t1, 1.0, t2)[-1].real
    e1 = np.exp(-tr / t1)
    ernst = np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip)) * np.exp(-te / t2)
    assert echo == pytest.approx(ernst, rel=1e-6)


def test_a_single_echo_after_inversion_recovers_as_it_should():
    t1, ti = 0.9, 0.4
    sequence = train(1, np.pi / 2, 1e-6, 2e-6, inversion_time=ti, recovery=60.0)
    echo = echoes_of(sequence, t1, 1.0, 1e6)[0]
    assert echo.real == pytest.approx(1 - 2 * np.exp(-ti / t1), abs=1e-6)


def test_positive_df_turns_the_signal_forward():
    values = {"FF": 0.0, "T1H2O": 1.2, "T1fat": 0.3, "B1": 0.9}
    on, off = (fingerprints(T1FF, {k: np.array([v]) for k, v in {**values, "df": df}.items()})[0] for df in (0.0, 50.0))
    turn = np.angle(off[[30, 110, 160]] / on[[30, 110, 160]])
    np.testing.assert_allclose(turn, 2 * np.pi * 50 * np.array([2.39e-3, 3.45e-3, 4.63e-3]), atol=1e-5)
