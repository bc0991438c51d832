"""Joint reconstruction: the parameters of all voxels at once, from all samples of a slice.

A subspace reconstruction solves for more numbers than a voxel has parameters, and stops early, before the noise of them
all drowns the detail. Here the unknowns are the parameters theta and the complex scale of every voxel themselves. From
maps that are nearly right the signals are linearised, ``x(theta) = x_0 + J (theta - theta_0)`` with x the coefficients
of a voxel, and the normal equations of all samples are solved by preconditioned conjugate gradients::

    (J' N J / v + P) theta = J' (b - N x_0 + N J theta_0) / v

N sums what the coils sample of coefficient images back into coefficients, b does so with the samples themselves
(`Equations`). The preconditioner is each voxel's own block of J' J / v + P. The basis vectors have one value per
frame, or one per readout, to model how signals recover within a frame.

P is the prior's precision: neighbouring voxels differ by no more than the scan itself tells (`smoothness`). v is the
variance of the noise per real number, for which stands what no parameters can explain (`unexplained`): maps of a scan
that is noisy, or undersampled, or not what the model says become smoother. Nothing is chosen for a single parameter.

The conjugate gradients start from the maps that are most probable if N is the identity, as which it was approximated to
learn the smoothness.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mrfpipe.arrays import Bool, Complex, Double, check_shape
from mrfpipe.dictionary import Dictionary
from mrfpipe.imaging.normal import Equations, solve_by_blocks, times
from mrfpipe.imaging.smoothness import learn
from mrfpipe.interpolation import Numbers, interpolated

N_ITERATIONS = 4
"""Iterations of conjugate gradients. On phantoms of thigh and leg errors change by at most 3 % from 4 to 6."""
WEAKEST = 1.0
"""Precision of a parameter around its start, in units of its range: it holds what nothing else tells."""
SCALE_TRUST = 1e3
"""How far a voxel's scale may go, as a share of itself: anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointMaps:
    """The parameters of the voxels of a slice, and how well each voxel determines them."""

    parameters: Double
    """In SI units. Shape `(voxels, parameters)`."""
    deviations: Double
    """Standard deviation of each parameter, in SI units, if the neighbouring voxels were known: by the variance that
    stands for the noise, and by the smoothness that was learned. Shape `(voxels, parameters)`."""


def joint_maps(equations: Equations, dictionary: Dictionary, start: Double, images: Complex, mask: Bool) -> JointMaps:
    """Take a step from the maps of a slice to those that explain all of its samples best.

    Parameters
    ----------
    equations
        Of the slice, in a basis of frames or of readouts.
    dictionary
        In as many basis vectors as the equations have.
    start
        Parameters of the voxels of the mask, in SI units, in the order of the grid. Shape `(voxels, parameters)`.
    images
        Coefficients that they were estimated from, in the leading basis vectors. Shape `(leading, y, x)`.
    mask
        Voxels that have parameters. Shape `(y, x)`.

    Returns
    -------
        What is found in the voxels of the mask.
    """
    n_leading, rank = check_shape("images", images, "leading y x")["leading"], len(equations.right)
    box, inside = equations.box, mask[equations.box]
    full = np.zeros((rank, *inside.shape), np.complex64)
    full[:n_leading] = images[:, *box]
    signals, slopes = interpolated(dictionary, start)
    scale = _scale(signals, full[:, inside].T)
    full[:, inside] = (scale[:, None] * signals).T
    low, high = dictionary.ends
    spans = np.where(high > low, high - low, 1)  # a parameter of one value has no range
    jacobian = scaled_jacobian(signals, slopes, scale, spans)
    here = torch.from_numpy(full).to(equations.right.device)
    residual: Complex = (equations.right - equations.normal(here)).cpu().numpy()[:, inside].T
    # No less than the receivers' noise: with few coefficients, steps explain all of a residual. And not below rounding.
    rounding = float(np.finfo(np.float32).eps ** 2 * np.mean(np.abs(full[:, inside]) ** 2))
    deviation = np.float32(np.sqrt(max(unexplained(jacobian, residual), equations.noise, rounding) / 2))
    step, left = _step(equations, jacobian / deviation, residual / deviation, (start - low) / spans, inside)
    return JointMaps(parameters=np.clip(start + step * spans, low, high), deviations=left * spans)


def unexplained(jacobian: Complex, residual: Complex) -> float:
    """Return the variance of what no step explains, of a coefficient: the part of the residual that is normal to J.

    It is told from the median over the voxels, and that of white noise where the model is right. Shapes `(voxels,
    unknowns, rank)` and `(voxels, rank)`.
    """
    rows = np.concatenate([jacobian.real, jacobian.imag], axis=2).astype(np.float64)
    left = np.concatenate([residual.real, residual.imag], axis=1).astype(np.float64)
    length = np.linalg.norm(rows, axis=2, keepdims=True)
    basis = np.linalg.qr(np.swapaxes(rows / np.maximum(length, np.finfo(np.float64).tiny), 1, 2))[0]
    normal = left - np.squeeze(basis @ (np.swapaxes(basis, 1, 2) @ left[..., None]), axis=-1)
    free = max(left.shape[1] - rows.shape[1], 1)
    # The median of a chi-squared variable, after Wilson and Hilferty.
    return float(2 * np.median(np.sum(normal**2, axis=1)) / (free * (1 - 2 / (9 * free)) ** 3))


def _scale(signals: Numbers, measured: Complex) -> Numbers:
    """Return the complex scale of signals that fits measured ones best. Shape `(voxels)`."""
    scale: Numbers = np.sum(signals.conj() * measured, axis=1) / np.sum(np.abs(signals) ** 2, axis=1)
    return scale


def scaled_jacobian(signals: Numbers, slopes: Numbers, scale: Numbers, spans: Double) -> Complex:
    """Return the slopes of scaled signals along every parameter, each in units of its span, and along their scale.

    The last two are along the scale's real and imaginary part, as shares of the scale. Shape `(voxels, parameters + 2,
    rank)`.
    """
    scaled = scale[:, None] * signals
    along = scale[:, None, None] * slopes * spans[:, None]
    jacobian: Complex = np.concatenate([along, scaled[:, None], 1j * scaled[:, None]], axis=1).astype(np.complex64)
    return jacobian


def _step(
    equations: Equations, jacobian: Complex, residual: Complex, start: Double, mask: Bool
) -> tuple[Double, Double]:
    """Return the step of the parameters and their deviations, as shares of their ranges. Shape `(voxels, parameters)`.

    Jacobian and residual are over the deviation of the noise, of shapes `(voxels, unknowns, rank)` and `(voxels,
    rank)`.
    """
    n, maps, left = start.shape[1], torch.from_numpy(start), torch.from_numpy(residual)
    # Complex numbers as pairs of real ones, of which J is real. Shape (voxels, unknowns, 2 rank).
    slopes = torch.view_as_real(torch.from_numpy(jacobian)).flatten(2)
    weakest = torch.tensor([WEAKEST] * n + [1 / SCALE_TRUST**2] * 2, dtype=maps.dtype)
    # In double precision, or rounding would outweigh what is weakest where there is little noise.
    blocks = torch.bmm(slopes.double(), slopes.double().mT) + torch.diag(weakest)
    gradient = _back(slopes, left).double()
    # Of the parameters alone, whatever the scale is.
    of_scale = torch.linalg.solve(blocks[:, n:, n:], blocks[:, n:, :n]).mT
    information = blocks[:, :n, :n] - torch.bmm(of_scale, blocks[:, n:, :n])
    likely, smooth = learn(maps, information, gradient[:, :n] - times(of_scale, gradient[:, n:]), mask)
    step = torch.zeros_like(gradient)
    step[:, :n] = likely - maps
    step[:, n:] = torch.linalg.solve(blocks[:, n:, n:], gradient[:, n:] - times(blocks[:, n:, :n], step[:, :n]))
    blocks[:, :n, :n] += torch.diag_embed(smooth.diagonal())
    gradient[:, :n] -= smooth.apply(maps)
    sampled = partial(_sampled, equations, slopes.to(equations.right.device), smooth.voxels)

    def apply(values: Tensor) -> Tensor:
        applied = sampled(values) + weakest * values
        applied[:, :n] += smooth.apply(values[:, :n])
        return applied

    found = solve_by_blocks(apply, blocks, gradient, step, n_iterations=N_ITERATIONS)
    variances = torch.diagonal(torch.linalg.inv(blocks), dim1=1, dim2=2)
    return found[:, :n].numpy(), variances[:, :n].sqrt().numpy()


def _sampled(equations: Equations, slopes: Tensor, voxels: Tensor, step: Tensor) -> Tensor:
    """Apply J' N J to a step, on the device of the equations. Shape `(voxels, unknowns)`."""
    pairs = times(slopes.mT, step.float().to(slopes.device)).reshape(len(step), -1, 2)
    image, voxels = torch.zeros_like(equations.right).flatten(1), voxels.to(slopes.device)
    image[:, voxels] = torch.view_as_complex(pairs).T
    applied = equations.normal(image.reshape(equations.right.shape)).flatten(1)
    return _back(slopes, applied[:, voxels].T).double().cpu()


def _back(slopes: Tensor, coefficients: Tensor) -> Tensor:
    """Apply J' to coefficients `(voxels, rank)`. Shape `(voxels, unknowns)`."""
    return times(slopes, torch.view_as_real(coefficients.contiguous()).flatten(1))
