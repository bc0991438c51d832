"""The price of the signal model's assumptions, on few voxels."""

import numpy as np
import pytest

from mrfpipe.physics.simulate import fingerprints
from mrfpipe.protocol import load_protocol
from mrfpipe.studies import assumptions
from mrfpipe.studies.assumptions import SCANS, price_assumptions

PROTOCOL = load_protocol("t1ff")


@pytest.fixture(scope="module")
def prices():
    return {price.broken: price for price in price_assumptions(PROTOCOL, n_voxels=40)}


def test_a_scan_as_assumed_costs_next_to_nothing(prices):
    assert abs(prices["as assumed"].bias["T1H2O"]) < 2  # of the grid that refinement interpolates


def test_magnetisation_that_the_inversion_leaves_looks_like_a_shorter_t1(prices):
    half, whole = (prices[f"inversion efficiency {e}"].bias["T1H2O"] for e in ("0.95", "0.90"))
    assert -100 < half < -50
    assert whole == pytest.approx(2 * half, rel=0.1)
    assert prices["inversion of 180 degrees times B1"].bias["T1H2O"] < 2 * whole


def test_slices_that_saw_no_train_before_look_like_a_longer_t1(prices):
    for order in ("first", "second", "third", "fifth"):
        assert 20 < prices[f"{order} of several slices"].bias["T1H2O"] < 80


def truth_of(t1, b1=0.8):
    one = np.array([1.0])
    return {"FF": 0.1 * one, "T1H2O": t1 * one, "T1fat": 0.3 * one, "df": 20 * one, "B1": b1 * one}


def test_a_hard_inversion_of_180_degrees_is_a_full_one():
    voxel = truth_of(1.4, b1=1.0)
    found = SCANS["inversion of 180 degrees times B1"](PROTOCOL, voxel)
    np.testing.assert_allclose(found, fingerprints(PROTOCOL, voxel), rtol=1e-5)


def test_history_is_forgotten_where_recovery_is_complete():
    """With a T1 of water of 0.2 s and of fat of 0.3 s nothing of an earlier train is left after 4.2 s of recovery."""
    voxel = truth_of(0.2)
    for name in ("first of several slices", "fifth of several slices"):
        np.testing.assert_allclose(SCANS[name](PROTOCOL, voxel), fingerprints(PROTOCOL, voxel), rtol=1e-5)


def test_the_first_slice_begins_in_equilibrium():
    """Its first echo, of water alone: -1 recovers for TI, is tipped by 5 degrees times B1 and decays by T2."""
    voxel = truth_of(1.4) | {"FF": np.array([0.0]), "df": np.array([0.0])}
    flat = np.array([SCANS["first of several slices"](PROTOCOL, voxel)[0, 0]])
    sequence, water = PROTOCOL.sequence, PROTOCOL.components[0]
    mz, echoes = 1 - 2 * np.exp(-sequence.inversion_time / 1.4), []
    for _ in range(sequence.readouts_per_frame):
        echoes.append(mz * np.sin(0.8 * sequence.flip[0]) * np.exp(-sequence.te[0] / water.t2))
        mz = 1 + (mz * np.cos(0.8 * sequence.flip[0]) - 1) * np.exp(-sequence.tr[0] / 1.4)
    np.testing.assert_allclose(flat, np.mean(echoes), rtol=1e-5)


def test_table(tmp_path, monkeypatch):
    monkeypatch.setattr(assumptions, "SCANS", {name: SCANS[name] for name in list(SCANS)[:2]})
    text = assumptions.run(tmp_path, "small")
    assert "| as assumed |" in text
    assert (tmp_path / "assumptions.md").read_text() == text
    assert (tmp_path / "assumptions.csv").read_text().startswith("scan,bias_FF,rmse_FF,bias_T1H2O_ms")
