"""Comparison: how the maps of a page agree with their reference, map by map."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.report.encoding import pack

MOST_POINTS = 3000
"""Points of a plot; more would only blacken it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """One map beside its reference: its errors, and the points and lines of two plots. Values in units of files."""

    name: str
    """Name of the map."""
    unit: str
    """Its unit."""
    errors: Mapping[str, float]
    """Columns of the table, in their order; NaN where a metric is not defined."""
    points: str
    """What a point is: a voxel or a region's mean."""
    estimate: Double
    """The map's values. Shape `(points)`."""
    reference: Double
    """The reference's. Shape `(points)`."""
    lines: Mapping[str, float]
    """``bias``, ``lower`` and ``upper`` limits of agreement, ``slope`` and ``intercept`` of the regression."""

    def encode(self) -> dict[str, Any]:
        """Prepare for a page: of many points, some evenly spread over the image."""
        every = max(1, math.ceil(self.estimate.size / MOST_POINTS))
        return {
            "name": self.name,
            "unit": "" if self.unit == "1" else self.unit,
            "errors": {name: _plain(value) for name, value in self.errors.items()},
            "points": self.points,
            "n": int(self.estimate.size),
            "estimate": pack(self.estimate[::every].astype(np.float32)),
            "reference": pack(self.reference[::every].astype(np.float32)),
            "lines": {name: _plain(value) for name, value in self.lines.items()},
        }


def _plain(value: float) -> float | None:
    """JSON knows no NaN and nothing infinite."""
    return float(value) if math.isfinite(value) else None
