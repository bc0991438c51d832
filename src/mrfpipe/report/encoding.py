"""Encoding: arrays as text in an HTML page, which any browser can decode."""

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import Double

LEVELS = 65535
"""Number of steps between the smallest and the largest value of a map: the largest 16-bit number."""

_GZIP = 31
"""Value of ``wbits`` for which zlib writes gzip."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantised:
    """Values as integers: ``offset + scale * numbers`` is within `precision` of the values."""

    numbers: npt.NDArray[np.uint16]
    """Shape `(voxels)`."""
    scale: float
    """Size of a step."""
    offset: float
    """The smallest value."""

    @property
    def precision(self) -> float:
        """Largest rounding error: half a step."""
        return self.scale / 2


def quantise(values: npt.NDArray[np.floating[Any]]) -> Quantised:
    """Quantise values, shape `(voxels)`, to 16 bits over their range; ValueError if a value is not finite."""
    wide: Double = values.astype(np.float64)
    if not np.all(np.isfinite(wide)):
        raise ValueError("Values to quantise must be finite.")
    low, high = (float(wide.min()), float(wide.max())) if wide.size else (0.0, 0.0)
    scale = (high - low) / LEVELS
    steps = (wide - low) / scale if scale > 0 else np.zeros_like(wide)
    return Quantised(numbers=np.round(steps).astype(np.uint16), scale=scale, offset=low)


def pack(array: npt.NDArray[Any]) -> str:
    """Encode the little-endian bytes of an array with gzip and base64.

    Bytes are grouped by significance, first the lowest bytes of all numbers: high bytes, which are nearly always equal,
    then compress to almost nothing. For bytes and booleans this changes nothing. Gzip only looks for runs of equal
    bytes, because measured values have no other repetitions, and searching for these takes three times as long.
    """
    little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    planes = little.reshape(-1).view(np.uint8).reshape(-1, little.dtype.itemsize).T
    packer = zlib.compressobj(wbits=_GZIP, strategy=zlib.Z_RLE)
    return base64.b64encode(packer.compress(planes.tobytes()) + packer.flush()).decode("ascii")
