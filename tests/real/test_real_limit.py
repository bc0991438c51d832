"""The bound of a scan of real anatomy, against a computation that shares no code with ours."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.imaging.density import ramp_weights
from mrfpipe.limit import bounds, readout_noise
from mrfpipe.physics.simulate import readout_signals
from mrfpipe.protocol import load_protocol

SHARED = Path(__file__).parents[2].parent / "shared"
PROTOTYPE, SNR, COILS = SHARED / "prototypes" / "limit.py", 4000, 8
PROTOCOL = load_protocol("t1ff")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROTOTYPE.exists(), reason="the real anatomy is not beside this checkout"),
]


def scanner():
    """The program that simulates scans of the anatomy."""
    pytest.importorskip("finufft")
    spec = importlib.util.spec_from_file_location("make_raw", SHARED / "real" / "make_raw.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bound_of_a_scan_of_real_anatomy():
    """M0, coils, correlated noise and density of samples enter as that scan has them."""
    make_raw = scanner()
    printed = subprocess.run([sys.executable, PROTOTYPE], capture_output=True, text=True, check=True).stdout
    expected = {name: float(value) for name, value in (line.split() for line in printed.splitlines())}
    with np.load(SHARED / "real" / "thigh_truth.npz") as file:
        truth = dict(file)
    mask = truth["mask"] > 0
    at = {p.name: truth[p.name][mask].astype(float) / p.scale for p in PROTOCOL.parameters}
    at["FF"] = np.clip(at["FF"], 1e-3, 1 - 1e-3)
    m0, coils = 0.9 + 0.1 * at["FF"], make_raw.coil_maps(COILS)[:, mask]
    centre = sum(
        (coils[:, part] * m0[part]) @ readout_signals(PROTOCOL, {name: value[part] for name, value in at.items()})
        for part in (slice(start, start + 2000) for start in range(0, m0.size, 2000))
    )
    noise = np.abs(centre).mean() / SNR
    mixing = np.eye(COILS) + 0.15 * np.random.default_rng(0).standard_normal((COILS, COILS))
    whitened = np.linalg.norm(np.linalg.solve(mixing, coils), axis=0)
    density = ramp_weights(golden_angle_spokes(PROTOCOL.sequence), PROTOCOL.sequence.matrix)
    found = bounds(PROTOCOL, at, snr=m0 * whitened / (noise * readout_noise(density).mean()))
    for p in PROTOCOL.parameters:
        counts = {"T1H2O": at["FF"] < 0.7, "T1fat": at["FF"] > 0.3}.get(p.name, np.ones(m0.size, bool))
        ours = p.scale * np.sqrt(np.mean(found[p.name][counts] ** 2))
        # The other's slopes are wide differences, and its samples at the centre of k-space stand for nothing.
        assert ours == pytest.approx(expected[p.name], rel=0.02), p.name
