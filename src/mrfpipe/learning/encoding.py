"""Encoding: the input of a small network, a few numbers per voxel instead of all frames.

A large network that is trained for long may read the frames as they are (Balsiger et al., 2020). A network that is
trained for minutes learns faster from the part of the signal that depends on the parameters. So each voxel is
compressed to its coefficients in the dictionary's basis, unless it is given as coefficients, and its phase and norm,
which do not depend on the parameters, are removed. Every coefficient is then standardised to about mean 0 and standard
deviation 1 with the same numbers for all scans, whatever the tissue of the patient.

A network that corrects fitted maps reads these maps and their standard deviations, too (`fit_channels`).
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
        """Measure mean and standard deviation over all voxels in the masks of some scans."""
        parts = [
            _directions(_projection(basis, scan), scan.images[s][:, scan.mask[s]])
            for scan in scans
            for s in range(scan.n_slices)
        ]
        return cls.measured(basis, np.concatenate(parts, axis=1))

    @classmethod
    def measured(cls, basis: Complex, parts: Complex) -> "Encoding":
        """Measure mean and standard deviation of what `directions` returns for voxels. Shape `(rank, voxels)`."""
        mean = parts.mean(axis=1)
        deviation = np.sqrt(np.mean(np.abs(parts - mean[:, None]) ** 2, axis=1) / 2)
        deviation = np.where(deviation > 0, deviation, 1).astype(np.float32)
        return cls(basis=basis, mean=mean.astype(np.complex64), deviation=deviation)

    def encode(self, series: FrameSeries) -> FrameSeries:
        """Replace the images by standardised coefficients `(slices, rank, y, x)`, zero outside the mask.

        Raises the errors of `check_frames`.
        """
        check_frames(series)
        images = np.zeros((series.n_slices, self.mean.size, *series.mask.shape[1:]), np.complex64)
        projection = _projection(self.basis, series)
        for coefficients, signals, mask in zip(images, series.images, series.mask, strict=True):
            found = _directions(projection, signals[:, mask])
            coefficients[:, mask] = (found - self.mean[:, None]) / self.deviation[:, None]
        return dataclasses.replace(series, images=images, basis=None)


def _projection(basis: Complex, series: FrameSeries) -> Complex:
    """Return the matrix that turns a series' images into coefficients in the basis. Shape `(rank, frames or rank)`."""
    projection: Complex = basis.conj().T if series.basis is None else basis.conj().T @ series.basis
    return projection


def _directions(projection: Complex, signals: Complex) -> Complex:
    found: Complex = directions(torch.from_numpy(projection @ signals)).numpy()
    return found


def directions(coefficients: Tensor) -> Tensor:
    """Remove phase and norm, which do not depend on the parameters, from the coefficients of voxels.

    Returns
    -------
        Coefficients of unit norm, the first one real and positive; zero where there is no signal. Shape
        `(rank, voxels)`.
    """
    norm = torch.linalg.vector_norm(coefficients, dim=0)
    return coefficients * torch.polar(torch.where(norm > 0, 1 / norm, 0), -coefficients[0].angle())


def fit_channels(maps: Tensor, log_sd: Tensor) -> Tensor:
    """Turn fitted maps and the logarithms of their standard deviations into channels of about -1 to 1.

    Maps are scaled to 0..1, standard deviations are fractions of the same ranges, the smallest about exp(-10). Both
    have shape `(..., maps, y, x)`, the channels have shape `(..., 2 maps, y, x)`.
    """
    return torch.cat([2 * maps - 1, 1 + log_sd / 5], dim=-3)
