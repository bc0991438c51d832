"""Joint reconstruction: the parameters of all voxels at once, from all samples of a slice.

A subspace reconstruction solves for more coefficients than a voxel has parameters, and must stop early, before noise
drowns the detail. Here the unknowns are the parameters theta and the complex scale of every voxel. The signals are
linearised around maps that are nearly right, ``x(theta) = x_0 + J (theta - theta_0)`` with x the coefficients of a
voxel, and the normal equations of all samples are solved by preconditioned conjugate gradients::

    (J' N J / v + P) theta = J' (b - N x_0 + N J theta_0) / v

N is the normal operator, which samples coefficient images with all coils and applies the adjoint to the samples; b is
the adjoint applied to the measured samples (`Equations`). The preconditioner is the block of J' J / v + P that belongs
to each voxel. The basis vectors have one value per readout, to model how signals recover within a frame.

P is the precision of the prior: how much neighbouring voxels may differ is learned from the scan itself (`smoothness`).
v is the noise variance per real number, estimated from the residual that no parameters can explain (`unexplained`): a
scan that is noisy, undersampled or poorly described by the model gets smoother maps. No setting is chosen for a single
parameter.

The conjugate gradients start from the maps that are most probable if N is approximated by the identity, as it is to
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
"""Iterations of conjugate gradients. On phantoms of thigh and leg, errors change by at most 3 % from 4 to 6."""
WEAKEST = 1.0
"""Prior precision of a parameter around its start, in units of its range, for parameters the data do not determine."""
SCALE_TRUST = 1e3
"""Prior standard deviation of a voxel's scale, relative to the scale: so large that the scale is free."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JointMaps:
    """The parameters of the voxels of a slice and their standard deviations."""

    parameters: Double
    """Parameters in SI units. Shape `(voxels, parameters)`."""
    deviations: Double
    """Standard deviation of each parameter, in SI units, given its neighbouring voxels, from the noise variance v and
    the learned smoothness. Shape `(voxels, parameters)`."""


def joint_maps(equations: Equations, dictionary: Dictionary, start: Double, images: Complex, mask: Bool) -> JointMaps:
    """Take one step from the starting maps of a slice towards those that explain all of its samples best.

    Parameters
    ----------
    equations
        Normal equations of the slice.
    dictionary
        Dictionary in as many basis vectors as the equations have.
    start
        Starting parameters of the voxels in the mask, in SI units, in the order of the grid. Shape `(voxels,
        parameters)`.
    images
        Coefficients that `start` was estimated from, in the leading basis vectors. Shape `(leading, y, x)`.
    mask
        Voxels whose parameters are fitted. Shape `(y, x)`.

    Returns
    -------
        Parameters of the voxels in the mask, with their standard deviations.
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
    # At least the noise of the receivers, since with few coefficients a step explains the whole residual; and at least
    # rounding errors.
    rounding = float(np.finfo(np.float32).eps ** 2 * np.mean(np.abs(full[:, inside]) ** 2))
    deviation = np.float32(np.sqrt(max(unexplained(jacobian, residual), equations.noise, rounding) / 2))
    step, left = _step(equations, jacobian / deviation, residual / deviation, (start - low) / spans, inside)
    return JointMaps(parameters=np.clip(start + step * spans, low, high), deviations=left * spans)


def unexplained(jacobian: Complex, residual: Complex) -> float:
    """Return the variance per coefficient of the residual that no step explains, its part orthogonal to J.

    It is estimated from the median over the voxels. Where the model is right, it is the variance of white noise. Shapes
    `(voxels, unknowns, rank)` and `(voxels, rank)`.
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
    """Return the derivatives of scaled signals with respect to every parameter, in units of its span, and to the scale.

    The last two are with respect to real and imaginary part of the scale's relative change. Shape `(voxels, parameters
    + 2, rank)`.
    """
    scaled = scale[:, None] * signals
    along = scale[:, None, None] * slopes * spans[:, None]
    jacobian: Complex = np.concatenate([along, scaled[:, None], 1j * scaled[:, None]], axis=1).astype(np.complex64)
    return jacobian


def _step(
    equations: Equations, jacobian: Complex, residual: Complex, start: Double, mask: Bool
) -> tuple[Double, Double]:
    """Return the step of the parameters and their standard deviations, as fractions of their ranges.

    Both have shape `(voxels, parameters)`. Jacobian and residual are divided by the standard deviation of the noise;
    their shapes are `(voxels, unknowns, rank)` and `(voxels, rank)`.
    """
    n, maps, left = start.shape[1], torch.from_numpy(start), torch.from_numpy(residual)
    # With complex numbers as pairs of real numbers, J is real. Shape (voxels, unknowns, 2 rank).
    slopes = torch.view_as_real(torch.from_numpy(jacobian)).flatten(2)
    weakest = torch.tensor([WEAKEST] * n + [1 / SCALE_TRUST**2] * 2, dtype=maps.dtype)
    # In double precision, or rounding would outweigh the weakest precisions where there is little noise.
    blocks = torch.bmm(slopes.double(), slopes.double().mT) + torch.diag(weakest)
    gradient = _back(slopes, left).double()
    # Information about the parameters alone, with the scale eliminated (Schur complement).
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
