"""Encoding: arrays as text that a page can hold, and read back with what every browser has."""

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import Double

LEVELS = 65535
"""Steps between the smallest and the largest value of a map; one more value than steps fits 16 bits."""

_GZIP = 31
"""What zlib calls its format."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantised:
    """Values as whole numbers: ``offset + scale * numbers`` is within `precision` of them."""

    numbers: npt.NDArray[np.uint16]
    """Shape `(voxels)`."""
    scale: float
    """What a step is worth."""
    offset: float
    """The smallest value."""

    @property
    def precision(self) -> float:
        """Half a step: by how much a value may be off."""
        return self.scale / 2


def quantise(values: npt.NDArray[np.floating[Any]]) -> Quantised:
    """Spread 16 bits over the range of finite values. Shape `(voxels)`; ValueError if a value is not finite."""
    wide: Double = values.astype(np.float64)
    if not np.all(np.isfinite(wide)):
        raise ValueError("Values to quantise must be finite.")
    low, high = (float(wide.min()), float(wide.max())) if wide.size else (0.0, 0.0)
    scale = (high - low) / LEVELS
    steps = (wide - low) / scale if scale > 0 else np.zeros_like(wide)
    return Quantised(numbers=np.round(steps).astype(np.uint16), scale=scale, offset=low)


def pack(array: npt.NDArray[Any]) -> str:
    """Write an array's little-endian bytes in gzip in base64.

    The bytes are written significance by significance, the lowest of all numbers first: those high bytes that are
    nearly always the same then take nearly no room. For bytes and booleans this changes nothing. Of repetitions only
    runs of a byte are looked for: measured values have no others, and the search takes three times as long.
    """
    little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    planes = little.reshape(-1).view(np.uint8).reshape(-1, little.dtype.itemsize).T
    packer = zlib.compressobj(wbits=_GZIP, strategy=zlib.Z_RLE)
    return base64.b64encode(packer.compress(planes.tobytes()) + packer.flush()).decode("ascii")
