"""Fingerprints on disk: ``fingerprints.h5`` beside the maps of a result, used by its page.

Measured coefficients are stored as integer steps, where `STEPS` steps are the largest coefficient of the voxel. Matched
coefficients are stored as their difference from the measured ones in the same steps: for a good match, the differences
are small and compress well.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import Complex, Float
from mrfpipe.files.schemas import FINGERPRINTS
from mrfpipe.files.sink import creating
from mrfpipe.files.source import opening
from mrfpipe.maps import Fingerprints

STEPS = 255
"""Steps between zero and the largest coefficient of a voxel: the rounding error of a curve of rank 12 is about 0.5 % of
its size (root mean square), hardly more than the width of its line, and five slices stay small enough to be sent."""

_FURTHEST = 32767
"""The largest 16-bit integer."""
_Steps = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rounded:
    """Coefficients as integer steps, with real and imaginary parts interleaved."""

    measured: _Steps
    """Shape `(voxels, 2 rank)`."""
    residual: _Steps
    """Fitted minus measured coefficients. Shape `(voxels, 2 rank)`."""
    step: Float
    """Size of a step in each voxel. Shape `(voxels)`."""


def rounded(fingerprints: Fingerprints) -> Rounded:
    """Round the measured and the fitted coefficients; rounding them again changes nothing."""
    measured, fitted = parts(fingerprints.measured), parts(fingerprints.fitted)
    largest = np.abs(measured).max(axis=1, initial=0)
    step = (np.where(largest > 0, largest, 1) / STEPS).astype(np.float32)
    near = np.round(measured / step[:, None])
    residual = np.clip(np.round(fitted / step[:, None]) - near, -_FURTHEST, _FURTHEST)
    return Rounded(measured=near.astype(np.int16), residual=residual.astype(np.int16), step=step)


def parts(signals: Complex) -> Float:
    """Interleave real and imaginary parts: `(n, rank)` complex to `(n, 2 rank)`."""
    return np.ascontiguousarray(signals).view(np.float32)


def write_fingerprints(fingerprints: Fingerprints, path: Path) -> None:
    """Write rounded fingerprints to a temporary path, as part of a result that is renamed as a whole.

    OSError if the file cannot be written to the disk.
    """
    steps = rounded(fingerprints)
    with creating(path, FINGERPRINTS) as sink:
        sink.array("basis", fingerprints.basis, "frames rank", "1")
        sink.array("measured", steps.measured, "voxels parts", "steps", gzip=True)
        sink.array("residual", steps.residual, "voxels parts", "steps", gzip=True)
        sink.array("step", steps.step, "voxels", "arbitrary", gzip=True)


def load_fingerprints(path: str | Path) -> Fingerprints:
    """Read fingerprints; InputError if the file is missing, of another kind or damaged."""
    with opening(path, FINGERPRINTS) as source:
        sizes = source.shape("basis", "frames rank", np.complex64)
        sizes |= source.shape("measured", "voxels parts", np.int16, {"parts": 2 * sizes["rank"]})
        step = source.finite("step", "voxels", np.float32, sizes)
        near, residual = (source.array(name, "voxels parts", np.int16, sizes) for name in ("measured", "residual"))
        return Fingerprints(
            basis=source.finite("basis", "frames rank", np.complex64),
            measured=_coefficients(near, step),
            simulated=_coefficients(near.astype(np.int32) + residual, step),
        )


def _coefficients(steps: npt.NDArray[np.integer[Any]], step: Float) -> Complex:
    return (steps * step[:, None]).astype(np.float32).view(np.complex64)
