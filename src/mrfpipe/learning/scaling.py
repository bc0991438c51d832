"""Scaling: networks read frames of mean 0 and standard deviation 1 and return maps from 0 to 1.

Section 2.5 of Balsiger et al., Med Image Anal 64:101741 (2020): frames are normalised scan by scan, maps by the limits
of the dictionary's grid.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mrfpipe.arrays import Complex, Double, Float
from mrfpipe.errors import InputError
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.protocol import Protocol
from mrfpipe.quantities import Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalScaling:
    """Mean and standard deviation that normalise a scan's frames, separately for real and imaginary part."""

    mean_real: float
    """Mean of the real parts."""
    std_real: float
    """Standard deviation of the real parts."""
    mean_imag: float
    """Mean of the imaginary parts."""
    std_imag: float
    """Standard deviation of the imaginary parts."""

    @classmethod
    def of(cls, series: FrameSeries | Iterable[FrameSeries]) -> "SignalScaling":
        """Measure the means and standard deviations of a scan over the voxels of the mask in all slices and frames.

        Air is excluded, so that the numbers do not depend on how much air is in the field of view. The slices of a scan
        may be given together or one after the other.

        InputError if a frame is not finite everywhere, the mask is empty, or there is no signal in it.
        """
        count, sums, squares, name, number = 0, np.zeros(2), np.zeros(2), "The scan", 1
        for part in [series] if isinstance(series, FrameSeries) else series:
            check_finite(part, number)
            for frames, mask in zip(part.images, part.mask, strict=True):
                parts = frames[:, mask].astype(np.complex128)
                count += parts.size
                sums += parts.real.sum(), parts.imag.sum()
                squares += np.square(parts.real).sum(), np.square(parts.imag).sum()
            name, number = part.name, number + part.n_slices
        if count == 0:
            raise no_voxel(name)
        mean = sums / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        if not np.all(std > 0):
            raise InputError(f"{name}: the frames hold no signal inside the mask; check the scan.")
        return cls(mean_real=float(mean[0]), std_real=float(std[0]), mean_imag=float(mean[1]), std_imag=float(std[1]))

    def window(self, frames: Complex, y: int, x: int, height: int, width: int) -> Float:
        """Cut a window out of a slice `(frames, y, x)` and normalise it; outside the slice it is zero.

        Zero is the mean after normalisation. Training and inference pad in the same way, so that an estimate does not
        depend on the window. The real parts of all frames come first, then the imaginary parts. Shape `(2 frames,
        height, width)`.
        """
        n_frames, n_y, n_x = frames.shape
        window = np.zeros((2 * n_frames, height, width), np.float32)
        y0, y1, x0, x1 = max(y, 0), min(y + height, n_y), max(x, 0), min(x + width, n_x)
        if y0 < y1 and x0 < x1:
            source = frames[:, y0:y1, x0:x1]
            inside = window[:, y0 - y : y1 - y, x0 - x : x1 - x]
            inside[:n_frames] = (source.real - np.float32(self.mean_real)) / np.float32(self.std_real)
            inside[n_frames:] = (source.imag - np.float32(self.mean_imag)) / np.float32(self.std_imag)
        return window


def cut(maps: Float, y: int, x: int, height: int, width: int) -> Float:
    """Cut a window out of maps `(maps, y, x)`; outside the slice it is zero."""
    (n_y, n_x), ends = maps.shape[1:], (y + height, x + width)
    over = [(max(-start, 0), max(end - n, 0)) for start, end, n in zip((y, x), ends, (n_y, n_x), strict=True)]
    window: Float = np.pad(maps[:, max(y, 0) : ends[0], max(x, 0) : ends[1]], [(0, 0), *over])
    return window


UNSCALED = SignalScaling(mean_real=0.0, std_real=1.0, mean_imag=0.0, std_imag=1.0)
"""For encoded frames, which are standardised already."""


def check_frames(series: FrameSeries) -> None:
    """Check that a network can read a scan; InputError if a frame is not finite everywhere or the mask is empty."""
    check_finite(series)
    if not series.mask.any():
        raise no_voxel(series.name)


def check_finite(series: FrameSeries, first: int = 1) -> None:
    """Raise InputError if a frame is not finite everywhere; `first` is the number of the first slice in the scan."""
    for number, frames in enumerate(series.images, start=first):
        if not np.all(np.isfinite(frames)):
            raise InputError(f"{series.name}: the frames of slice {number} are not finite; reconstruct them again.")


def no_voxel(name: str) -> InputError:
    """Return the error for a scan whose mask is empty."""
    return InputError(f"{name}: the mask holds no voxel; there is nothing to reconstruct.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MapScaling:
    """The range in SI units that is scaled to 0..1, for each map in the order of the parameters."""

    parameters: tuple[Parameter, ...]
    """Parameters that are mapped."""
    low: tuple[float, ...]
    """Values that become 0."""
    high: tuple[float, ...]
    """Values that become 1."""

    def __post_init__(self) -> None:
        if not len(self.low) == len(self.high) == len(self.parameters):
            raise ValueError(f"A scaling of {len(self.parameters)} maps has {len(self.low)} and {len(self.high)} ends.")
        for low, high, parameter in zip(self.low, self.high, self.parameters, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ValueError(f"The scaling of {parameter.name} from {low} to {high} is not a range.")

    @classmethod
    def of(cls, protocol: Protocol) -> "MapScaling":
        """Use the smallest and largest value of every axis of a protocol's grid."""
        axes = protocol.grid.values()
        return cls(
            parameters=protocol.parameters,
            low=tuple(float(axis[0]) for axis in axes),
            high=tuple(float(axis[-1]) for axis in axes),
        )

    def to_unit(self, maps: npt.NDArray[np.floating]) -> Float:
        """Scale maps in SI units to 0..1; a map whose range is a single value becomes 0. Shape `(maps, ...)`."""
        low, span = self._columns(maps.ndim)
        unit: Float = ((maps - low) / np.where(span > 0, span, 1)).astype(np.float32)
        return unit

    def from_unit(self, maps: npt.NDArray[np.floating]) -> Float:
        """Scale maps back to SI units and clip them to the range. Shape `(maps, ...)`."""
        low, span = self._columns(maps.ndim)
        physical: Float = np.clip(low + maps * span, low, low + span).astype(np.float32)
        return physical

    def to_shares(self, deviations: npt.NDArray[np.floating]) -> Float:
        """Convert standard deviations of maps from SI units to fractions of the ranges. Shape `(maps, ...)`."""
        span = self._columns(deviations.ndim)[1]
        shares: Float = (deviations / np.where(span > 0, span, 1)).astype(np.float32)
        return shares

    def spans(self, shares: npt.NDArray[np.floating]) -> Float:
        """Convert standard deviations of scaled maps, fractions of the ranges, to SI units. Shape `(maps, ...)`."""
        physical: Float = (shares * self._columns(shares.ndim)[1]).astype(np.float32)
        return physical

    def counted(self, maps: Tensor) -> Tensor:
        """Return where every map counts: where its parameter's condition holds for the true maps, given scaled to 0..1.

        Shape `(..., maps, y, x)`.
        """
        names, counts = [parameter.name for parameter in self.parameters], []
        for number, parameter in enumerate(self.parameters):
            if parameter.counts is None:
                counts.append(torch.ones_like(maps[..., number, :, :], dtype=torch.bool))
            else:
                other = names.index(parameter.counts.parameter)
                low, high = self.low[other], self.high[other]
                counts.append(parameter.counts.holds(low + (high - low) * maps[..., other, :, :]))
        return torch.stack(counts, dim=-3)

    def at_ends(self, maps: Float) -> npt.NDArray[np.bool_]:
        """Return where maps in SI units from `from_unit` are at a limit of their range. Shape `(maps, ...)`."""
        low, span = self._columns(maps.ndim)
        ends: npt.NDArray[np.bool_] = (maps <= low.astype(np.float32)) | (maps >= (low + span).astype(np.float32))
        return ends

    def _columns(self, n_axes: int) -> tuple[Double, Double]:
        shape = (-1, *(1,) * (n_axes - 1))
        low, high = np.array(self.low).reshape(shape), np.array(self.high).reshape(shape)
        return low, high - low
