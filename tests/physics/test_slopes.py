"""Slopes against differentiation without differences, closed forms, and steps of half the size."""

from dataclasses import replace

import numpy as np
import pytest
from trains import T1FF, with_train

from mrfpipe.physics import slopes
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.physics.slopes import readout_slopes
from mrfpipe.protocol import Grid, Protocol, load_protocol

EXACT = 1e-8
"""Relative to a slope's norm: differences of fourth order, and rounding over the step."""
FISP = load_protocol("fisp")


def voxels(protocol: Protocol, n: int) -> dict[str, np.ndarray]:
    """Voxels all over the grid; of two components the first and the last have one alone."""
    rng, grid = np.random.default_rng(0), protocol.grid
    values = {name: rng.uniform(axis[0], axis[-1], n) for name, axis in grid.items()}
    if protocol.share:
        values[protocol.share][[0, -1]] = 0, 1
    return values


def errors(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Norm of the difference over the norm, 0 where both are 0. Shape (voxels, parameters)."""
    norm = np.linalg.norm(expected, axis=2)
    error = np.linalg.norm(found - expected, axis=2)
    return np.divide(error, norm, where=norm > 0, out=error)


def envelopes(t1: np.ndarray, t2: np.ndarray, b1: np.ndarray) -> np.ndarray:
    """Ideally spoiled echoes of T1-FF, of the second time it is played, for T1 and B1 that may be complex.

    Without the phase of off-resonance. Shape (readouts, signals).
    """
    sequence, mz, echoes = T1FF.sequence, np.ones(t1.size, complex), []
    decay = {time: np.exp(-time / t1) for time in (8.32e-3, 4.2, *np.unique(sequence.tr))}
    tips = {flip: (np.sin(flip * b1), np.cos(flip * b1)) for flip in np.unique(sequence.flip)}
    for _ in range(2):
        mz, echoes = 1 - (1 + mz) * decay[8.32e-3], []
        for flip, tr in zip(sequence.flip, sequence.tr, strict=True):
            sine, cosine = tips[flip]
            echoes.append(mz * sine)
            mz = 1 - (1 - mz * cosine) * decay[tr]
        mz = 1 - (1 - mz) * decay[4.2]
    return np.array(echoes) * np.exp(-sequence.te[:, None] / t2)


def test_ideal_spoiling_by_a_complex_step():
    """The imaginary part of f(x + i h) is h f'(x) to all digits: nothing is subtracted."""
    at, n, h = voxels(T1FF, 6), 6, 1e-30
    at["B1"][:2] = T1FF.grid["B1"][[0, -1]]
    water, fat = T1FF.components
    t1 = np.concatenate([at["T1H2O"] + 1j * h, at["T1H2O"], at["T1fat"] + 1j * h, at["T1fat"]])
    b1 = np.concatenate([at["B1"], at["B1"] + 1j * h] * 2)
    made = envelopes(t1, np.repeat([water.t2, fat.t2], 2 * n), b1).T.reshape(2, 2, n, -1)
    spectrum = np.exp(2j * np.pi * np.outer(T1FF.sequence.te, fat.shifts)) @ fat.amplitudes
    turn = np.exp(2j * np.pi * np.outer(at["df"], T1FF.sequence.te))
    (w, f), slopes_of = made[:, 0].real * [turn, turn * spectrum], made.imag / h * [[turn], [turn * spectrum]]
    ff = at["FF"][:, None]
    signals = (1 - ff) * w + ff * f
    expected = {
        "FF": f - w,
        "T1H2O": (1 - ff) * slopes_of[0, 0],
        "T1fat": ff * slopes_of[1, 0],
        "df": 2j * np.pi * T1FF.sequence.te * signals,
        "B1": (1 - ff) * slopes_of[0, 1] + ff * slopes_of[1, 1],
    }
    found_signals, found = readout_slopes(T1FF, at)
    np.testing.assert_allclose(found_signals, signals, rtol=0, atol=1e-13)
    assert errors(found, np.stack([expected[name] for name in at], axis=1)).max() < EXACT
    assert np.all(found[0, list(at).index("T1fat")] == 0)
    assert np.all(found[-1, list(at).index("T1H2O")] == 0)


def balanced() -> Protocol:
    """FISP without dephasing, for T1, T2 and df: signals stay coherent for seconds."""
    axes = {"T1": FISP.grid["T1"], "T2": FISP.grid["T2"], "df": np.array([-20.0, 20.0])}
    parameters = (*FISP.parameters[:2], next(p for p in T1FF.parameters if p.name == "df"))
    return with_train(replace(FISP, parameters=parameters, grid=Grid(axes=axes)), dephasing=0)


@pytest.mark.parametrize(
    ("protocol", "n"),
    [
        pytest.param(FISP, 12, id="fisp"),
        pytest.param(balanced(), 12, id="balanced"),
        pytest.param(T1FF, 6, id="t1ff", marks=pytest.mark.slow),
    ],
)
def test_phase_graphs_by_half_the_step(protocol, n, monkeypatch):
    """An error of fourth order would change by 15/16 of itself."""
    at, model = voxels(protocol, n), SignalModel(spoiling="epg")
    whole = readout_slopes(protocol, at, model)[1]
    for name in ("RELATIVE_STEP", "OFF_RESONANCE_STEP", "ANGLE_STEP"):
        monkeypatch.setattr(slopes, name, getattr(slopes, name) / 2)
    error = errors(whole, readout_slopes(protocol, at, model)[1])
    assert error.max() < EXACT
