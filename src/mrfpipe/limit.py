"""Limit: how precisely a scan can determine each parameter in each voxel, by Fisher information.

A voxel's signal is ``M0 d(parameters)`` plus noise, M0 being complex. Noise is circular: its real and imaginary part
are independent, each with half of the variance. The rows of a Jacobian J are the derivatives of the signal along the
parameters and along the real and the imaginary part of M0, with real and imaginary parts side by side as real numbers.

With white noise of variance 1 the Fisher information is ``2 J J'``. The diagonal of its inverse, the Cramer-Rao bound,
is the least variance of estimates without bias (for fingerprinting: Zhao et al., IEEE Trans Med Imaging 38:844, 2019).

Signals at every readout come from `mrfpipe.physics.slopes`, coefficients from `mrfpipe.interpolation`.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import Double, Float, check_shape
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.physics.slopes import readout_slopes
from mrfpipe.protocol import Protocol

AT_ONCE = 4096
"""Voxels whose deviations are computed at a time."""
SIMULATED_AT_ONCE = 128
"""Voxels whose readouts are simulated at a time."""
UNDETERMINED = 1e-10
"""A parameter cannot be determined if its slope, except for this share of its energy, is a linear combination of
others; rounding to single precision leaves 1e-14."""
FAR_FROM_GRID = 10
"""A T1 or T2 that is so many times beyond the ends of its grid is in another unit."""

MEDIAN_OF_NORMAL = 0.6745
"""Median of the magnitude of a normal variable of unit variance."""

Numbers = npt.NDArray[np.complex128]


def fisher(signals: Numbers, slopes: Numbers) -> Double:
    """Compute the Fisher information for white complex noise of variance 1, 1/2 of it in each part, and an M0 of 1.

    Parameters
    ----------
    signals
        Shape `(voxels, samples)`, the samples being readouts, or coefficients in an orthonormal basis.
    slopes
        Derivatives of the signals along every parameter. Shape `(voxels, parameters, samples)`.

    Returns
    -------
        Information on the parameters, the real and the imaginary part of M0. Shape
        `(voxels, parameters + 2, parameters + 2)`.
    """
    jacobian = _jacobian(signals, slopes)
    return 2 * jacobian @ jacobian.swapaxes(1, 2)


def deviations(signals: Numbers, slopes: Numbers) -> Double:
    """Compute the Cramer-Rao bound of the parameters, for white complex noise of variance 1 and an M0 of 1.

    Parameters
    ----------
    signals, slopes
        As for `fisher`.

    Returns
    -------
        Standard deviations, which are inversely proportional to M0, in the units of the parameters. Infinite where a
        parameter has no effect, such as T1 of an absent component, or the same effect as a combination of others. Shape
        `(voxels, parameters)`.

    Raises
    ------
    ValueError
        If shapes do not match.
    """
    sizes = check_shape("signals", signals, "voxels samples")
    check_shape("slopes", slopes, "voxels parameters samples", sizes)
    found = np.empty(slopes.shape[:2])
    for start in range(0, len(found), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        found[some] = _deviations(_jacobian(signals[some], slopes[some]))
    return found


def bounds(
    protocol: Protocol,
    at: Mapping[str, Double],
    *,
    snr: float | Double = 1.0,
    model: SignalModel | None = None,
) -> dict[str, Double]:
    """Compute the Cramer-Rao bound of every parameter from all readouts of a protocol.

    Parameters
    ----------
    protocol
        What is measured.
    at
        Parameters of the voxels in SI units, by name. Shape `(voxels)` each.
    snr
        M0 over the standard deviation of the noise in the voxel from one readout: the signal-to-noise ratio of the
        image of all readouts, over the root of their number. It is the same for two protocols that read the same
        k-space at the same bandwidth. `readout_noise` computes this noise from that of the receiver. One number, or one
        per voxel.
    model
        How signals are simulated; by default as `mrfpipe.physics.simulate.signal_model` chooses.

    Returns
    -------
        Least standard deviations in SI units, by name; infinite as `deviations` says. Shape `(voxels)` each.

    Raises
    ------
    ValueError
        As `mrfpipe.physics.simulate.readout_signals`, and if a signal-to-noise ratio is not positive.
    """
    if not np.all(np.asarray(snr) > 0):
        raise ValueError(f"snr must be positive, not {snr}.")
    n_voxels = next(iter(at.values())).size
    found = np.empty((n_voxels, len(protocol.parameters)))
    for start in range(0, n_voxels, SIMULATED_AT_ONCE):
        some = slice(start, start + SIMULATED_AT_ONCE)
        found[some] = deviations(*readout_slopes(protocol, {name: value[some] for name, value in at.items()}, model))
    return {p.name: found[:, number] / snr for number, p in enumerate(protocol.parameters)}


def points_of(protocol: Protocol, given: Mapping[str, npt.ArrayLike]) -> dict[str, Double]:
    """Return the parameters of voxels in SI units.

    Parameters
    ----------
    protocol
        Defines the parameters.
    given
        Some parameters by name, in the units of files: one value, or one per voxel. Others are the median of their
        grid.

    Returns
    -------
        Shape `(voxels)` each.

    Raises
    ------
    ValueError
        If there is no parameter of a name, its quantity cannot have the value, or a T1 or T2 is in another unit.
    """
    names = [p.name for p in protocol.parameters]
    for name in given:
        if name not in names:
            raise ValueError(f"protocol '{protocol.name}' has no parameter {name!r}; it has {', '.join(names)}.")
    points = {name: np.array([np.median(axis)]) for name, axis in protocol.grid.items()}
    for p in protocol.parameters:
        if p.name in given:
            values = np.atleast_1d(np.asarray(given[p.name], np.float64))
            points[p.name] = values / p.scale
            if not np.all((points[p.name] >= p.quantity.least) & (points[p.name] <= p.quantity.most)):
                low, high = p.quantity.least * p.scale, p.quantity.most * p.scale
                raise ValueError(f"{p.heading} must lie from {low:g} to {high:g}.")
            low, high = p.scale * protocol.grid[p.name][[0, -1]]
            far = values[(values < low / FAR_FROM_GRID) | (values > high * FAR_FROM_GRID)]
            if p.scale != 1 and far.size:
                grid = f"the grid, {low:g} to {high:g}"
                raise ValueError(f"{p.name} of {far[0]:g} is far from {grid}; values are in {p.unit}.")
    return dict(zip(names, np.broadcast_arrays(*points.values()), strict=True))


def readout_noise(density: Float) -> Double:
    """Compute the standard deviation of the noise that each readout leaves in a voxel, for samples of variance 1.

    A voxel on its own is estimated from one readout by the mean of the demodulated samples, weighted by the density
    compensation. The estimate has no bias and the variance ``sum w^2 / (sum w)^2``, which is 4 / (3 n) for the n
    samples of a spoke. If coils with white noise of variance 1 are combined, divide the standard deviation by the root
    of the sum of the squared sensitivities.

    Parameters
    ----------
    density
        Weights, as `mrfpipe.imaging.density` computes them. Shape `(readouts, samples)`.

    Returns
    -------
        Shape `(readouts)`.
    """
    weights = density.astype(np.float64)
    noise: Double = np.linalg.norm(weights, axis=1) / weights.sum(axis=1)
    return noise


def _jacobian(signals: Numbers, slopes: Numbers) -> Double:
    """Stack the derivatives along parameters and M0, real parts beside imaginary ones."""
    jacobian = np.concatenate([slopes, np.stack([signals, 1j * signals], axis=1)], axis=1)
    return np.concatenate([jacobian.real, jacobian.imag], axis=2)


def _deviations(jacobian: Double) -> Double:
    """Compute `deviations` of a Jacobian `(voxels, unknowns, 2 samples)`, the last two unknowns being M0.

    Rows are scaled to length 1. A small diagonal is added to the matrix of their products, which makes it invertible;
    the inverse is large where the matrix was singular.
    """
    length = np.linalg.norm(jacobian, axis=2, keepdims=True)
    unit = np.divide(jacobian, length, where=length > 0, out=np.zeros_like(jacobian))
    inverse = np.linalg.inv(unit @ unit.swapaxes(1, 2) + UNDETERMINED / 100 * np.eye(unit.shape[1]))
    variance = np.diagonal(inverse, axis1=1, axis2=2)[:, :-2]
    determined = (variance > 0) & (variance < 1 / UNDETERMINED)
    found: Double = np.full(determined.shape, np.inf)
    np.divide(
        np.sqrt(variance / 2, where=determined, out=np.ones_like(variance)),
        length[:, :-2, 0],
        where=determined,
        out=found,
    )
    return found
