"""Fisher information and bounds against fits of noise, an explicit Jacobian, and matching."""

import numpy as np
import pytest
from helpers import complex_normal, small_protocol

from mrfpipe.dictionary import build_dictionary
from mrfpipe.interpolation import interpolated
from mrfpipe.limit import bounds, deviations, fisher, readout_noise
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.refine import refine
from mrfpipe.physics.simulate import fingerprints, readout_signals
from mrfpipe.protocol import load_protocol

N_DRAWS = 20_000
"""Fits of noise; a standard deviation of them is known to 0.5 %."""
N_SEEDS = 50
"""Matches of each voxel; the median over 150 voxels of their standard deviations is known to 1 %."""


def problem(seed: int = 0, n_voxels: int = 3, n_parameters: int = 4, n_samples: int = 6):
    """Random signals, and slopes of very different sizes."""
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** np.arange(n_parameters)[:, None]
    signals, slopes = complex_normal(rng, n_voxels, n_samples), complex_normal(rng, n_voxels, n_parameters, n_samples)
    return signals.astype(complex), slopes.astype(complex) * sizes


def fitted(signal: np.ndarray, slopes: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """What least squares makes of noise (draws, samples) in a linear model: estimates (draws, parameters + 2)."""
    columns = np.concatenate([slopes, [signal, 1j * signal]]).T
    matrix = np.concatenate([columns.real, columns.imag])
    return np.linalg.lstsq(matrix, np.concatenate([noise.real, noise.imag], axis=1).T, rcond=None)[0].T


def test_information_is_the_inverse_of_what_white_noise_does():
    """Variance 1 of complex noise is 1/2 in each part; the scale, real and imaginary part, is estimated too."""
    signals, slopes = problem(n_parameters=2)
    noise = complex_normal(np.random.default_rng(1), N_DRAWS, signals.shape[1])
    covariance = np.cov(fitted(signals[0], slopes[0], noise).T)
    information = fisher(signals, slopes)
    np.testing.assert_array_equal(information, information.swapaxes(1, 2))
    expected = np.linalg.inv(information[0])
    deviation = np.sqrt(np.diag(expected))
    unit = np.outer(deviation, deviation)
    np.testing.assert_allclose(covariance / unit, expected / unit, rtol=0, atol=0.03)  # four times its error
    np.testing.assert_allclose(deviations(signals, slopes)[0], deviation[:2], rtol=1e-9)


def test_deviations_are_inverse_to_m0():
    signals, slopes = problem()
    white = deviations(signals, slopes)
    np.testing.assert_allclose(deviations(5j * signals, 5j * slopes), white / 5, rtol=1e-9)


def test_what_cannot_be_told_is_infinite_and_takes_nothing_from_the_rest():
    """One without effect, then two with the same effect but for rounding, then one that is the phase."""
    signals, slopes = problem(n_parameters=5, n_samples=12)
    slopes[0, 1] = 0
    slopes[1, 3] = -1e-3 * (slopes[1, 2] + 1e-15)
    slopes[2, 4] = 2j * signals[2]
    found = deviations(signals, slopes)
    np.testing.assert_array_equal(np.isinf(found), np.eye(5)[[1, 3, 4]] + np.eye(5)[[1, 2, 4]] > 0)
    for v, left in enumerate(([0, 2, 3, 4], [0, 1, 2, 4], [0, 1, 2, 3])):
        alone = deviations(signals[[v]], slopes[[v]][:, left])[0]
        kept = np.isfinite(found[v, left])
        np.testing.assert_allclose(found[v, left][kept], alone[kept], rtol=1e-4)  # of a matrix hardly invertible
    assert np.all(np.isinf(deviations(np.zeros((1, 6), complex), np.zeros((1, 2, 6), complex))))


def test_bounds_are_those_of_an_explicit_jacobian():
    """Slopes by plain differences of all readouts, a voxel's SNR of one readout; water alone has no T1 of fat."""
    protocol = small_protocol()
    at = {"FF": [0.2, 0.05, 0.0], "T1H2O": [1.4] * 3, "T1fat": [0.3] * 3, "df": [10.0] * 3, "B1": [0.8] * 3}
    at = {name: np.array(values) for name, values in at.items()}
    found = bounds(protocol, at, snr=np.array([50.0, 100.0, 100.0]))
    clean = readout_signals(protocol, at)
    steps = {"FF": 1e-3, "T1H2O": 1e-3, "T1fat": 1e-3, "df": 0.1, "B1": 1e-3}
    slopes = [
        (readout_signals(protocol, at | {name: at[name] + h}) - readout_signals(protocol, at | {name: at[name] - h}))
        / (2 * h)
        for name, h in steps.items()
    ]
    for v, snr in enumerate((50, 100)):
        jacobian = snr * np.stack([*(slope[v] for slope in slopes), clean[v], 1j * clean[v]])
        information = 2 * (jacobian.conj() @ jacobian.T).real
        expected = np.sqrt(np.diag(np.linalg.inv(information)))[: len(at)]
        np.testing.assert_allclose([found[name][v] for name in at], expected, rtol=1e-3)  # of plain differences
    assert np.isinf(found["T1fat"][2])
    assert all(np.isfinite(found[name][2]) for name in at if name != "T1fat")


def test_noise_of_a_readout():
    """That of a weighted mean of its samples, by noise; 4 / (3 n) for spokes."""
    ramp = np.abs(np.arange(-350, 350) + 0.5).astype(np.float32)
    found = readout_noise(np.stack([ramp, 7 * np.ones_like(ramp)]))
    np.testing.assert_allclose(found, np.sqrt([4 / 3 / 700, 1 / 700]), rtol=1e-4)
    noise = complex_normal(np.random.default_rng(0), 2000, 700)
    assert (noise @ ramp / ramp.sum()).std() == pytest.approx(found[0], rel=0.06)  # four times its error


def monte_carlo(name: str, **values: np.ndarray) -> np.ndarray:
    """Deviations of refined matches of noisy fingerprints over those computed, (voxels, parameters)."""
    dictionary = build_dictionary(load_protocol(name))
    rng = np.random.default_rng(0)
    clean = dictionary.compress(fingerprints(dictionary.protocol, values, model=dictionary.model))
    level = 7e-4 * np.linalg.norm(clean, axis=1).min()
    noisy = np.tile(clean, (N_SEEDS, 1))
    noisy = (noisy + level * complex_normal(rng, *noisy.shape)).astype(np.complex64)
    found = refine(noisy, match_exact(noisy, dictionary).entry, dictionary).parameters
    spread = np.stack([found[name].reshape(N_SEEDS, -1).std(axis=0, ddof=1) for name in values], axis=1)
    signals, slopes = interpolated(dictionary, np.stack(list(values.values()), axis=1))
    return spread / (level * deviations(signals, slopes))


@pytest.mark.slow
def test_matches_of_t1ff_scatter_as_computed():
    """Also with hardly any fat, where noise this low still tells its T1."""
    rng, n = np.random.default_rng(1), 300
    ff = np.where(np.arange(n) % 2, 0.05, rng.uniform(0.35, 0.65, n))
    others = {"T1H2O": (0.8, 1.7), "T1fat": (0.3, 0.33), "df": (-60, 60), "B1": (0.6, 0.9)}
    ratio = monte_carlo("t1ff", FF=ff, **{name: rng.uniform(low, high, n) for name, (low, high) in others.items()})
    for some in (ratio[::2], ratio[1::2]):
        np.testing.assert_allclose(np.median(some, axis=0), 1, atol=0.05)


@pytest.mark.slow
def test_matches_of_fisp_scatter_as_computed():
    rng, n = np.random.default_rng(2), 150
    ratio = monte_carlo("fisp", T1=rng.uniform(0.5, 1.8, n), T2=rng.uniform(0.04, 0.15, n), B1=rng.uniform(0.8, 1.1, n))
    np.testing.assert_allclose(np.median(ratio, axis=0), 1, atol=0.05)


@pytest.mark.parametrize("snr", [0, -1, np.nan, np.array([100, np.nan])])
def test_a_ratio_that_there_is_not(snr):
    with pytest.raises(ValueError, match="snr must be positive, not"):
        bounds(small_protocol(), {"FF": np.array([0.1, 0.2])}, snr=snr)
