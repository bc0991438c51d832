import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrfpipe.physics.simulate import component_signals, fingerprints, spoke_signals
from mrfpipe.physics.spoiled import spoiled_signals
from mrfpipe.protocol import Sequence, load_protocol


def echoes_of(sequence: Sequence, t1: float, b1: float, t2: float, repetitions: int = 2) -> np.ndarray:
    """The kernel's on-resonance echoes of one signal."""
    single = dataclasses.replace(sequence, spokes_per_frame=1)
    values = {name: np.array([value]) for name, value in (("t1", t1), ("b1", b1), ("t2", t2), ("df", 0.0))}
    return spoiled_signals(single, **values, repetitions=repetitions)[0]


def bloch_echoes(sequence: Sequence, t1: float, t2: float, b1: float, df: float, repetitions: int) -> np.ndarray:
    """Rotate and relax a magnetisation vector step by step, its transverse part zeroed before every pulse.

    Excitation turns it from z towards y' such that the signal is real on resonance; positive df turns the transverse
    part counterclockwise, exp(+2 pi i df t).
    """
    mxy, mz, echoes = 0j, 1.0, []

    def wait(mxy: complex, mz: float, time: float) -> tuple[complex, float]:
        return mxy * np.exp(-time / t2 + 2j * np.pi * df * time), 1 - (1 - mz) * np.exp(-time / t1)

    for _ in range(repetitions):
        echoes = []
        mz = -mz
        mxy, mz = wait(mxy, mz, sequence.inversion_time)
        for flip, te, tr in zip(sequence.flip * b1, sequence.te, sequence.tr, strict=True):
            mxy = 0j  # ideal spoiling
            mxy, mz = mxy * np.cos(flip) + mz * np.sin(flip), mz * np.cos(flip)
            mxy, mz = wait(mxy, mz, te)
            echoes.append(mxy)
            mxy, mz = wait(mxy, mz, tr - te)
        mxy, mz = wait(mxy, mz, sequence.recovery)
    return np.array(echoes)


def train(n: int, flip: float, te: float, tr: float, **changes: float) -> Sequence:
    full = np.full(n, 1.0)
    arrays = {"flip": full * flip, "te": full * te, "tr": full * tr}
    return dataclasses.replace(load_protocol("t1ff").sequence, spokes_per_frame=1, **arrays, **changes)


@pytest.fixture(scope="module")
def t1ff():
    return load_protocol("t1ff")


def test_the_kernel_is_the_vector_simulation(t1ff):
    tissue = t1ff.tissue
    for t1, b1 in ((0.55, 0.3), (1.23, 0.87), (2.0, 1.0)):
        fast = echoes_of(t1ff.sequence, t1, b1, tissue.t2_water)
        slow = bloch_echoes(t1ff.sequence, t1, tissue.t2_water, b1, 0.0, 2)
        np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-13)


def test_a_voxel_is_water_and_six_fat_peaks(t1ff):
    """Each fat peak simulated by itself, at its own frequency: the signs of df and of the shifts are one."""
    tissue = t1ff.tissue
    ff, t1w, t1f, df, b1 = 0.3, 1.1, 0.31, 35.0, 0.8
    water = bloch_echoes(t1ff.sequence, t1w, tissue.t2_water, b1, df, 2)
    fat = sum(
        amplitude * bloch_echoes(t1ff.sequence, t1f, tissue.t2_fat, b1, df + shift, 2)
        for amplitude, shift in zip(tissue.fat_amplitudes, tissue.fat_shifts, strict=True)
    )
    values = {"ff": ff, "t1w": t1w, "t1f": t1f, "df": df, "b1": b1}
    ours = spoke_signals(t1ff, **{k: np.array([v]) for k, v in values.items()})[0]
    np.testing.assert_allclose(ours, (1 - ff) * water + ff * fat, rtol=0, atol=1e-13)


def test_fat_phasor_has_its_reference_values(t1ff):
    """The sum of the peaks at the three echo times, against one water signal with the T1 and T2 of fat."""
    values = {"t1w": 0.3, "t1f": 0.3, "df": 0.0, "b1": 0.9}
    one = dataclasses.replace(t1ff, tissue=dataclasses.replace(t1ff.tissue, t2_water=t1ff.tissue.t2_fat))
    water, fat = spoke_signals(
        one, ff=np.array([0.0, 1.0]), **{name: np.array([value] * 2) for name, value in values.items()}
    )
    phasor = (fat / water)[[0, 800, 1200]]
    np.testing.assert_allclose(phasor, [0.629 - 0.447j, -0.344 + 0.457j, 0.198 - 0.432j], atol=1e-3)


def test_frames_are_means_of_their_spokes(t1ff):
    values = {k: np.array([v, v]) for k, v in (("ff", 0.4), ("t1w", 1.2), ("t1f", 0.3), ("df", -20.0), ("b1", 0.9))}
    spokes = spoke_signals(t1ff, **values)
    frames = fingerprints(t1ff, **values)
    assert frames.shape == (2, 175)
    np.testing.assert_allclose(frames[0, 3], spokes[0, 24:32].mean(), rtol=1e-6)


def test_component_signals_are_the_fingerprints_of_pure_voxels(t1ff):
    signals, grid = component_signals(t1ff), t1ff.grid
    i, j, b, f = 17, 5, 3, 20
    values = {"t1w": grid.t1w[i], "t1f": grid.t1f[j], "b1": grid.b1[b], "df": grid.df[f]}
    values = {k: np.array([v, v]) for k, v in values.items()}
    water, fat = fingerprints(t1ff, ff=np.array([0.0, 1.0]), **values)
    np.testing.assert_allclose(signals.water[i, b, f], water, rtol=0, atol=2e-8)
    np.testing.assert_allclose(signals.fat[j, b, f], fat, rtol=0, atol=2e-8)


def test_the_train_is_steady_from_the_second_repetition_on(t1ff):
    t1, b1 = t1ff.grid.t1w[[0, 60, 113]], t1ff.grid.b1[[0, 7, 14]]
    first, second, fifth = (
        np.array([echoes_of(t1ff.sequence, *pair, 0.04, n) for pair in zip(t1, b1, strict=True)]) for n in (1, 2, 5)
    )
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


def test_positive_df_turns_the_signal_forward(t1ff):
    values = {"ff": 0.0, "t1w": 1.2, "t1f": 0.3, "b1": 0.9}
    on, off = (
        fingerprints(t1ff, **{k: np.array([v]) for k, v in {**values, "df": df}.items()})[0] for df in (0.0, 50.0)
    )
    turn = np.angle(off[[30, 110, 160]] / on[[30, 110, 160]])
    np.testing.assert_allclose(turn, 2 * np.pi * 50 * np.array([2.39e-3, 3.45e-3, 4.63e-3]), atol=1e-5)
