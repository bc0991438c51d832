"""FrameSeries: the images of a scan over time, the one thing that matching and networks look at."""

from dataclasses import dataclass

import numpy as np

from mrfpipe.arrays import Bool, Complex, Double, check_dtype, check_shape, frozen


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameSeries:
    """Coil-combined images of all slices, frame by frame, with the mask of what is tissue.

    Images are indexed `(y, x)`; the centre of the field of view is voxel ``N // 2`` on either axis.
    """

    name: str
    """What to call the scan: its raw file's stem."""
    images: Complex
    """The frames. Shape `(slices, frames, y, x)`."""
    mask: Bool
    """True where there is tissue. Shape `(slices, y, x)`."""
    affine: Double
    """Voxel `(x, y, slice)` to RAS in mm. Shape `(4, 4)`."""
    sequence_hash: str
    """Hash of the sequence that was measured."""

    def __post_init__(self) -> None:
        sizes = check_shape("images", self.images, "slices frames y x")
        check_dtype("images", self.images, np.complex64)
        check_shape("mask", self.mask, "slices y x", sizes)
        check_dtype("mask", self.mask, np.bool_)
        check_shape("affine", self.affine, "4 4")
        for array in ("images", "mask", "affine"):
            object.__setattr__(self, array, frozen(getattr(self, array)))

    @property
    def n_slices(self) -> int:
        """Slices of the scan."""
        return int(self.images.shape[0])

    @property
    def n_frames(self) -> int:
        """Frames of a slice."""
        return int(self.images.shape[1])
