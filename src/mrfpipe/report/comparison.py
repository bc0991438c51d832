"""Comparison: how the maps of a page agree with their reference, for its table and plots."""

import math
from typing import Any

import numpy as np

from mrfpipe.evaluation.comparison import Comparison
from mrfpipe.report.encoding import pack

MOST_POINTS = 3000
"""Points of a plot; more would only blacken it."""


def encode_comparison(comparison: Comparison) -> dict[str, Any]:
    """Prepare the comparison of a map for a page: of many points, some evenly spread over the image."""
    every = max(1, math.ceil(comparison.estimate.size / MOST_POINTS))
    return {
        "name": comparison.name,
        "unit": "" if comparison.unit == "1" else comparison.unit,
        "errors": {name: _plain(value) for name, value in comparison.errors.items()},
        "points": comparison.points,
        "n": int(comparison.estimate.size),
        "estimate": pack(comparison.estimate[::every].astype(np.float32)),
        "reference": pack(comparison.reference[::every].astype(np.float32)),
        "lines": {name: _plain(value) for name, value in comparison.lines.items()},
    }


def _plain(value: float) -> float | None:
    """JSON knows no NaN and nothing infinite."""
    return float(value) if math.isfinite(value) else None
