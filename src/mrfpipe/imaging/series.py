"""FrameSeries: the images of a scan over time, the input of matching and of networks.

Images are frames, or coefficients in a temporal basis: ``frames = basis @ coefficients``.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from mrfpipe.arrays import Bool, Complex, Double, check_dtype, check_shape, frozen

if TYPE_CHECKING:
    from mrfpipe.imaging.normal import Equations

Kind = Literal["frames", "coefficients"]

REPLICA_NOISE = 0.25
"""Standard deviation of the noise added for a replica, over the standard deviation of the noise in the samples.

More noise makes the prior smoother, and this change would count as noise. With 0.5, standard deviations of B1 were a
tenth too large in the joint reconstruction of a noisy phantom; with 0.25 they were 4 % too large."""
ORTHONORMAL = 1e-3
"""Largest deviation of inner products of basis vectors from 0 and 1; rounding to complex64 is far smaller."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameSeries:
    """Coil-combined images of all slices, frame by frame or as coefficients, with the mask of what is tissue.

    Images are indexed `(y, x)`; the centre of the field of view is voxel ``N // 2`` on either axis.
    """

    name: str
    """Name of the scan: the stem of its raw file."""
    images: Complex
    """The frames, shape `(slices, frames, y, x)`, or their coefficients, shape `(slices, rank, y, x)`."""
    mask: Bool
    """True where there is tissue. Shape `(slices, y, x)`."""
    affine: Double
    """Voxel `(x, y, slice)` to RAS in mm. Shape `(4, 4)`."""
    sequence_hash: str
    """Hash of the sequence that was measured."""
    basis: Complex | None = None
    """Orthonormal basis of the coefficients, shape `(frames, rank)`; None for frames."""
    equations: "Equations | None" = None
    """Normal equations of a single slice, to which matching fits parameters; see `mrfpipe.imaging.joint`."""
    noise: float | None = None
    """Variance of the noise of an image before any denoising, for white noise in k-space; None if unknown."""
    replica: "Callable[[], FrameSeries] | None" = None
    """Reconstructs the images again, with noise added to the samples (`REPLICA_NOISE` times theirs); see
    `mrfpipe.matching.deviation`."""

    def __post_init__(self) -> None:
        if self.basis is None:
            sizes = check_shape("images", self.images, "slices frames y x")
        else:
            sizes = check_shape("images", self.images, "slices rank y x", _check_basis(self.basis))
            object.__setattr__(self, "basis", frozen(self.basis))
        check_dtype("images", self.images, np.complex64)
        check_shape("mask", self.mask, "slices y x", sizes)
        check_dtype("mask", self.mask, np.bool_)
        check_shape("affine", self.affine, "4 4")
        for array in ("images", "mask", "affine"):
            object.__setattr__(self, array, frozen(getattr(self, array)))

    def __repr__(self) -> str:
        n_images, n_y, n_x = self.images.shape[1:]
        images = f"{n_images} {self.kind}" + ("" if self.basis is None else f" of {self.n_frames} frames")
        return f"<FrameSeries {self.name}: {self.n_slices} slice(s), {images}, {n_y} x {n_x}>"

    @property
    def n_slices(self) -> int:
        """Slices of the scan."""
        return int(self.images.shape[0])

    @property
    def kind(self) -> Kind:
        """What the images are."""
        return "frames" if self.basis is None else "coefficients"

    @property
    def n_frames(self) -> int:
        """Number of frames of a slice, also if the series holds coefficients."""
        return int(self.images.shape[1] if self.basis is None else self.basis.shape[0])


def of_slice(affine: Double, s: int) -> Double:
    """Move the origin of a stack's affine to slice s. Shape `(4, 4)`."""
    moved: Double = affine.copy()
    moved[:, 3] += s * affine[:, 2]
    return moved


def each_slice(series: FrameSeries) -> Iterator[FrameSeries]:
    """Split a series into slices, the inverse of `stack_slices`."""
    for s in range(series.n_slices):
        some = slice(s, s + 1)
        affine = of_slice(series.affine, s)
        yield replace(series, images=series.images[some], mask=series.mask[some], affine=affine)


def stack_slices(slices: Iterable[FrameSeries], n_slices: int) -> FrameSeries:
    """Put slices that come one after the other into one series.

    Raises
    ------
    ValueError
        If the number of slices is not `n_slices`, or there are none.
    """
    images, masks, first = None, [], None
    for s, one in enumerate(slices):
        if images is None or first is None:
            first, images = one, np.empty((n_slices, *one.images.shape[1:]), np.complex64)
        images[s] = one.images[0]
        masks.append(one.mask)
    if images is None or first is None or len(masks) != n_slices:
        raise ValueError(f"{len(masks)} slices came instead of {n_slices}.")
    return replace(first, images=images, mask=np.concatenate(masks), equations=None, replica=None)


def _check_basis(basis: Complex) -> dict[str, int]:
    """Return the sizes of a basis whose vectors are orthonormal."""
    sizes = check_shape("basis", basis, "frames rank")
    check_dtype("basis", basis, np.complex64)
    # Written so that NaN is refused, too.
    if not np.all(np.abs(basis.conj().T @ basis - np.eye(sizes["rank"])) < ORTHONORMAL):
        raise ValueError("The vectors of the basis are not orthonormal.")
    return sizes
