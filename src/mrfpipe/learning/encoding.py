"""Encoding: frames as a small network reads them, a few numbers a voxel instead of all frames.

A large network that is trained for long may read the frames as they are (Balsiger et al., 2020). One that is trained
for minutes learns faster from what frames say of the parameters: each voxel is compressed to its coefficients in the
dictionary's basis, unless it comes as coefficients, and loses its phase and its length, which do not depend on the
parameters. The length over the noise may be kept, as it tells how accurate they can be. Every coefficient is brought to
about mean 0 and deviation 1, by the same numbers for all scans: what a patient is made of does not matter.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mrfpipe.arrays import Complex, Float, check_dtype, check_shape
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.scaling import check_frames


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoding:
    """Turns frames, or coefficients of another basis, into standardised coefficients."""

    basis: Complex
    """Orthonormal temporal basis. Shape `(frames, rank)`."""
    mean: Complex
    """Mean of every coefficient over the training voxels. Shape `(rank)`."""
    deviation: Float
    """Standard deviation of every coefficient's real and imaginary part. Shape `(rank)`."""
    lengths: bool = False
    """Whether the length of a voxel's signal over its noise is told, too, as `directions` puts it."""

    def __post_init__(self) -> None:
        sizes = check_shape("basis", self.basis, "frames rank")
        check_shape("mean", self.mean, "rank", sizes)
        check_shape("deviation", self.deviation, "rank", sizes)
        for name, dtype in (("basis", np.complex64), ("mean", np.complex64), ("deviation", np.float32)):
            array = getattr(self, name)
            check_dtype(name, array, dtype)
            if not np.all(np.isfinite(array)):
                raise ValueError(f"{name} is not finite everywhere.")
        if not np.all(self.deviation > 0):
            raise ValueError("deviation must be positive.")

    @classmethod
    def of(cls, basis: Complex, scans: Sequence[FrameSeries]) -> "Encoding":
        """Measure mean and deviation over all voxels of the masks of some scans."""
        parts = [
            _directions(_projection(basis, scan), scan.images[s][:, scan.mask[s]])
            for scan in scans
            for s in range(scan.n_slices)
        ]
        return cls.measured(basis, np.concatenate(parts, axis=1))

    @classmethod
    def measured(cls, basis: Complex, parts: Complex, *, lengths: bool = False) -> "Encoding":
        """Measure mean and deviation over directions `(rank, voxels)`, as `directions` gives them."""
        mean = parts.mean(axis=1)
        deviation = np.sqrt(np.mean(np.abs(parts - mean[:, None]) ** 2, axis=1) / 2)
        deviation = np.where(deviation > 0, deviation, 1).astype(np.float32)
        return cls(basis=basis, mean=mean.astype(np.complex64), deviation=deviation, lengths=lengths)

    def encode(self, series: FrameSeries) -> FrameSeries:
        """Put standardised coefficients in the place of images, `(slices, rank, y, x)`, zero outside the mask.

        Errors as of `check_frames`; ValueError if lengths are told and the noise of the series is unknown.
        """
        check_frames(series)
        if self.lengths and series.noise is None:
            raise ValueError(f"The noise of {series!r} is unknown.")
        noise = series.noise if self.lengths else None
        images = np.zeros((series.n_slices, self.mean.size, *series.mask.shape[1:]), np.complex64)
        projection = _projection(self.basis, series)
        for coefficients, signals, mask in zip(images, series.images, series.mask, strict=True):
            found = _directions(projection, signals[:, mask], noise)
            coefficients[:, mask] = (found - self.mean[:, None]) / self.deviation[:, None]
        return dataclasses.replace(series, images=images, basis=None)


def _projection(basis: Complex, series: FrameSeries) -> Complex:
    """Return what turns the images of a series into coefficients in the basis. Shape `(rank, frames or rank)`."""
    projection: Complex = basis.conj().T if series.basis is None else basis.conj().T @ series.basis
    return projection


def _directions(projection: Complex, signals: Complex, noise: float | None = None) -> Complex:
    found: Complex = directions(torch.from_numpy(projection @ signals), noise=noise).numpy()
    return found


def directions(coefficients: Tensor, *, noise: float | None) -> Tensor:
    """Take from the coefficients of voxels what says nothing of the parameters, their phase and their unit.

    Parameters
    ----------
    coefficients
        Complex. Shape `(rank, voxels)`.
    noise
        Variance of the noise of a coefficient. The logarithm of the norm that is taken out, over the standard deviation
        of the noise, replaces the imaginary part of the first coefficient, which would be zero: it tells how accurate
        the parameters can be, and which signals are strong enough to spread into neighbours. None not to keep it.

    Returns
    -------
        Coefficients of unit norm, the first one real and positive; zero where there is no signal. Shape
        `(rank, voxels)`.
    """
    norm = torch.linalg.vector_norm(coefficients, dim=0)
    units = coefficients * torch.polar(torch.where(norm > 0, 1 / norm, 0), -coefficients[0].angle())
    if noise is not None:
        # A scan without noise is as sure as single precision allows.
        least = norm.max() * torch.finfo(torch.float32).eps
        units[0] = torch.complex(units[0].real, torch.where(norm > 0, norm / least.clamp(min=noise**0.5), 1).log())
    return units
