"""Fingerprints: what every voxel emitted and what it was matched with, small enough for a page."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mrfpipe.arrays import Bool, Complex, check_dtype, check_shape, frozen
from mrfpipe.report.encoding import pack

STEPS = 511
"""Steps between zero and a voxel's largest coefficient: a curve is off by a thousandth at most of what is seen, and
five slices stay small enough to be sent."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fingerprints:
    """Coefficients of the measured and of the matched signals in one temporal basis."""

    basis: Complex
    """Orthonormal temporal basis. Shape `(frames, rank)`."""
    measured: Complex
    """Coefficients of the scan. Shape `(slices, rank, y, x)`."""
    simulated: Complex
    """Coefficients of the matched entries, on any scale, in the order of the mask's voxels. Shape `(voxels, rank)`."""

    def __post_init__(self) -> None:
        sizes = check_shape("basis", self.basis, "frames rank")
        sizes = check_shape("measured", self.measured, "slices rank y x", sizes)
        check_shape("simulated", self.simulated, "voxels rank", sizes)
        for name in ("basis", "measured", "simulated"):
            array = getattr(self, name)
            check_dtype(name, array, np.complex64)
            object.__setattr__(self, name, frozen(array))


def encode_fingerprints(fingerprints: Fingerprints, mask: Bool) -> dict[str, Any]:
    """Prepare the fingerprints of the mask's voxels for a page.

    Measured coefficients are rounded to steps of `STEPS` to a voxel's largest. The matched entry, scaled to the
    measured signal, is written as what it lacks to it, in the same steps: a good match leaves little to write.

    Raises
    ------
    ValueError
        If the shapes do not fit those of the mask, or a coefficient in the mask is not finite.
    """
    rank = fingerprints.basis.shape[1]
    n_slices, n_y, n_x = mask.shape
    check_shape("measured", fingerprints.measured, f"{n_slices} {rank} {n_y} {n_x}")
    check_shape("simulated", fingerprints.simulated, f"{int(mask.sum())} {rank}")
    measured = np.moveaxis(fingerprints.measured, 1, -1)[mask]
    fitted = scaled_to(fingerprints.simulated, measured)
    if not (np.all(np.isfinite(measured)) and np.all(np.isfinite(fitted))):
        raise ValueError("Fingerprints are not finite everywhere inside the mask.")
    parts = _parts(measured)
    largest = np.abs(parts).max(axis=1, keepdims=True, initial=0)
    step = np.where(largest > 0, largest, 1) / STEPS
    rounded = np.round(parts / step)
    residual = np.round(_parts(fitted) / step) - rounded
    return {
        "frames": fingerprints.basis.shape[0],
        "rank": rank,
        "steps": STEPS,
        "basis": pack(_parts(fingerprints.basis)),
        "measured": pack(rounded.astype(np.int16).T),
        "residual": pack(residual.astype(np.int16).T),
    }


def scaled_to(simulated: Complex, measured: Complex) -> Complex:
    """Scale every simulated signal by the complex number that brings it nearest to the measured. `(voxels, rank)`."""
    energy = np.sum(np.abs(simulated) ** 2, axis=1)
    product = np.sum(simulated.conj() * measured, axis=1)
    scale = np.divide(product, energy, out=np.zeros_like(product), where=energy > 0)
    scaled: Complex = scale[:, None] * simulated
    return scaled


def _parts(signals: Complex) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Put real and imaginary parts side by side: `(n, rank)` complex to `(n, 2 rank)`."""
    return np.ascontiguousarray(signals).view(np.float32)
