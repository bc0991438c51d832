"""The slice profile against its closed form and against the Bloch equations of the whole pulse."""

import dataclasses

import numpy as np
import pytest
from scipy.special import sici

from mrfpipe.physics.simulate import MODELS, SignalModel, fingerprints
from mrfpipe.physics.slice_profile import EXTENT, N_LAYERS, flip_profile, layers_of
from mrfpipe.physics.tissue import Parts
from mrfpipe.protocol import Protocol, load_protocol


@pytest.mark.parametrize("tb", [2.0, 4.0, 8.0])
def test_flip_profile_is_the_spectrum_of_a_windowed_sinc(tb):
    """A sinc of finite length has a spectrum of sine integrals, and the window adds two neighbours a cycle off."""
    z = np.linspace(0, 2, 41)

    def of_sinc(f: np.ndarray) -> np.ndarray:
        return (sici(np.pi * (f + tb / 2))[0] - sici(np.pi * (f - tb / 2))[0]) / (np.pi * tb)

    def of_pulse(f: np.ndarray) -> np.ndarray:
        return of_sinc(f) / 2 + (of_sinc(f - 1) + of_sinc(f + 1)) / 4

    np.testing.assert_allclose(flip_profile(tb, z), of_pulse(tb * z) / of_pulse(np.zeros(1)), atol=1e-5)


@pytest.mark.parametrize(("degrees", "within"), [(5, 2e-3), (15, 1e-2), (60, 0.1)])
def test_flip_profile_is_what_the_bloch_equations_make_of_the_pulse(degrees, within):
    """The pulse as 2,000 small rotations about the field of each layer; small tips are proportional to the pulse."""
    tb, n, z = 4.0, 2000, np.linspace(0, EXTENT, 25)
    t = (np.arange(n) + 0.5) / n - 0.5
    pulse = np.sinc(tb * t) * (1 + np.cos(2 * np.pi * t))
    pulse *= np.deg2rad(degrees) / pulse.sum()
    mxy, mz = np.zeros(z.size, complex), np.ones(z.size)
    for tip in pulse:
        mxy = mxy * np.exp(1j * np.pi * tb * z / n)
        mxy, mz = np.cos(tip) * mxy.real + np.sin(tip) * mz + 1j * mxy.imag, np.cos(tip) * mz - np.sin(tip) * mxy.real
        mxy = mxy * np.exp(1j * np.pi * tb * z / n)
    refocused = (mxy * np.exp(-1j * np.pi * tb * z)).real
    expected = np.sin(np.deg2rad(degrees) * flip_profile(tb, z))
    np.testing.assert_allclose(expected, refocused, atol=within * np.sin(np.deg2rad(degrees)))


def test_an_even_slice_emits_what_it_would_without_a_profile():
    layers = layers_of(4.0)
    z = (np.arange(N_LAYERS) + 0.5) * EXTENT / N_LAYERS
    assert layers.weights[z < 0.5].sum() == pytest.approx(1)


def signals_of(protocol: Protocol, *, spoiling: str = "spoiled", slice_profile: bool = True) -> np.ndarray:
    voxels = {
        "FF": [0.0, 0.5, 1.0],
        "T1H2O": [0.6, 1.2, 2.0],
        "T1fat": [0.2, 0.3, 0.4],
        "df": [0, -40, 90],
        "B1": [1, 0.6, 0.4],
    }
    model = SignalModel(spoiling=spoiling, slice_profile=slice_profile)
    return fingerprints(protocol, {k: np.array(v, float) for k, v in voxels.items()}, model=model)


def models_and_products():
    """The protocol's product for the two models of every day; a model simulates layers, whatever made them, alike."""
    for spoiling in MODELS:
        for tb in (2.0, 4.0, 8.0):
            often = spoiling == "spoiled" or (spoiling == "epg" and tb == 4.0)
            yield pytest.param(spoiling, tb, marks=[] if often else [pytest.mark.slow])


@pytest.mark.parametrize(("spoiling", "tb"), list(models_and_products()))
def test_the_stated_layers_are_enough(monkeypatch, spoiling, tb):
    protocol = load_protocol("t1ff")
    protocol = dataclasses.replace(
        protocol, sequence=dataclasses.replace(protocol.sequence, excitation_time_bandwidth=tb)
    )
    ours = signals_of(protocol, spoiling=spoiling)
    z = (np.arange(120) + 0.5) * 3 / 120
    fine = Parts(np.full(120, 6 / 120), flip_profile(tb, z), np.zeros(120))
    monkeypatch.setattr("mrfpipe.physics.simulate.layers_of", lambda _: fine)
    finer = signals_of(protocol, spoiling=spoiling)
    assert np.all(np.linalg.norm(ours - finer, axis=1) < 1e-3 * np.linalg.norm(finer, axis=1))


def test_a_higher_time_bandwidth_product_comes_closer_to_an_even_slice():
    def from_even(tb: float) -> float:
        protocol = load_protocol("t1ff")
        sequence = dataclasses.replace(protocol.sequence, excitation_time_bandwidth=tb)
        protocol = dataclasses.replace(protocol, sequence=sequence)
        even = signals_of(protocol, slice_profile=False)
        return float(np.linalg.norm(signals_of(protocol) - even) / np.linalg.norm(even))

    assert from_even(2.0) > 1.5 * from_even(4.0) > 2 * from_even(8.0) > 0.01
