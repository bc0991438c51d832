"""The sign of the phase of a scan is found out, and no scan is taken for conjugated that is not."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import complex_normal, small_protocol

from mrfpipe.arrays import Complex
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.matching.phase_sign import few_entries, unexplained
from mrfpipe.physics.simulate import fingerprints

PROTOCOL = small_protocol()
DICTIONARY = few_entries(PROTOCOL)
SIDE = 16
NOISE = 0.05
"""Of a frame, over the root mean square of the signals: about what undersampling leaves inside the basis."""


def signals(ff: tuple[float, float], df: tuple[float, float] = (-80.0, 80.0), b1: float = 1.0) -> Complex:
    """Fingerprints of a patch of tissue with noise. Shape `(frames, y, x)`."""
    rng = np.random.default_rng(0)
    n = SIDE**2
    made = fingerprints(
        PROTOCOL,
        {
            "FF": rng.uniform(*ff, n),
            "T1H2O": rng.uniform(0.7, 1.5, n),
            "T1fat": rng.uniform(0.25, 0.35, n),
            "df": rng.uniform(*df, n),
            "B1": b1 * rng.uniform(0.6, 1.0, n),
        },
    )
    phase = np.exp(2j * np.pi * rng.uniform(size=(n, 1)))  # of the coils, of its own in every voxel
    made = made * phase / np.sqrt(np.mean(np.abs(made) ** 2)) + NOISE * complex_normal(rng, *made.shape)
    return np.ascontiguousarray(made.T.reshape(-1, SIDE, SIDE).astype(np.complex64))


def series(images: Complex, basis: Complex | None = None) -> FrameSeries:
    return FrameSeries(
        name="patch",
        images=images[None],
        mask=np.ones((1, SIDE, SIDE), bool),
        affine=np.eye(4),
        sequence_hash=PROTOCOL.sequence.hash,
        basis=basis,
    )


@pytest.mark.parametrize("ff", [(0.0, 1.0), (0.05, 0.15), (0.9, 1.0)], ids=["all", "little fat", "fat"])
def test_conjugated_signals_are_found(ff):
    images = signals(ff)
    found = unexplained(series(images), DICTIONARY)
    assert not found.is_conjugated
    assert found.as_they_are < 0.01
    assert found.conjugated > 3 * found.as_they_are
    turned = unexplained(series(images.conj()), DICTIONARY)
    assert turned.is_conjugated
    # The same two figures, the other way around: both are of the same voxels, and rounding is float32's.
    assert turned.conjugated == pytest.approx(found.as_they_are, rel=1e-2)
    assert turned.as_they_are == pytest.approx(found.conjugated, rel=1e-2)


def test_coefficients_tell_it_too():
    images = signals((0.0, 1.0))
    basis = DICTIONARY.basis
    for turned, is_conjugated in ((images, False), (images.conj(), True)):
        coefficients = np.tensordot(basis.conj().T, turned, 1).astype(np.complex64)
        assert unexplained(series(coefficients, basis), DICTIONARY).is_conjugated == is_conjugated


HONEST = {
    "water": signals((0.0, 0.0)),
    "hardly any fat": signals((0.0, 0.01)),
    "off resonance by 150 Hz": signals((0.0, 1.0), df=(140.0, 160.0)),
    "off resonance by -150 Hz": signals((0.0, 1.0), df=(-160.0, -140.0)),
    "water off by -150 Hz": signals((0.0, 0.0), df=(-160.0, -140.0)),
    "water off by -400 Hz": signals((0.0, 0.0), df=(-410.0, -390.0)),
    "off by 400 Hz": signals((0.0, 1.0), df=(390.0, 410.0)),
    "off by -400 Hz": signals((0.0, 1.0), df=(-410.0, -390.0)),
    "weak B1": signals((0.0, 1.0), b1=0.3),
    "drift of a radian": signals((0.0, 1.0)) * np.exp(1j * np.linspace(0, 1, 175, dtype=np.float32))[:, None, None],
    "drift of water": signals((0.0, 0.0)) * np.exp(-1j * np.linspace(0, 1, 175, dtype=np.float32))[:, None, None],
    "noise": complex_normal(np.random.default_rng(1), 175, SIDE, SIDE),
    "nothing": np.zeros((175, SIDE, SIDE), np.complex64),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_signals_pass(name):
    assert not unexplained(series(HONEST[name].astype(np.complex64)), DICTIONARY).is_conjugated


@pytest.mark.parametrize("name", ["water", "noise"])
def test_conjugated_signals_that_look_the_same_pass_too(name):
    assert not unexplained(series(HONEST[name].conj()), DICTIONARY).is_conjugated


def test_empty_mask():
    empty = replace(series(signals((0.0, 1.0))), mask=np.zeros((1, SIDE, SIDE), bool))
    assert not unexplained(empty, DICTIONARY).is_conjugated
