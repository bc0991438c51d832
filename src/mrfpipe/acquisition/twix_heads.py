"""Heads of the blocks in a Siemens Twix file (MDHs): their layout, and their conversion to ISMRMRD heads."""

from dataclasses import dataclass

import ismrmrd
import numpy as np
import numpy.typing as npt

from mrfpipe.acquisition.heads import HEAD, Heads
from mrfpipe.arrays import Double

ACQEND, SYNCDATA = 1 << 0, 1 << 5
"""Mask bits of the block that ends a measurement, and of blocks without samples."""

_FLAGS = {
    1: ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
    2: ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
    14: ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE,
    15: ismrmrd.ACQ_IS_PHASE_STABILIZATION,
    21: ismrmrd.ACQ_IS_PHASECORR_DATA,
    22: ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,
    23: ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING,
    24: ismrmrd.ACQ_IS_REVERSE,
    25: ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
    44: ismrmrd.ACQ_IS_NAVIGATION_DATA,
    51: ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
}
"""Bits of a block's mask, counted from 0, and the corresponding ISMRMRD flags, counted from 1."""

# Name, format, and offsets in heads of VB and of VD; the counters are consecutive.
_FIELDS = (
    ("dma", "<u4", 0, 0),
    ("mask", "<u8", 20, 40),
    ("samples", "<u2", 28, 48),
    ("coils", "<u2", 30, 50),
    ("line", "<u2", 32, 52),
    ("average", "<u2", 34, 54),
    ("slice", "<u2", 36, 56),
    ("partition", "<u2", 38, 58),
    ("repetition", "<u2", 44, 64),
    ("cut_before", "<u2", 60, 80),
    ("cut_after", "<u2", 62, 82),
    ("centre", "<u2", 64, 84),
    ("position", ("<f4", 3), 96, 100),
    ("quaternion", ("<f4", 4), 108, 112),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Layout of the blocks of a file."""

    head: np.dtype[np.void]
    """Head of a block."""
    scan: int
    """Bytes before the first coil."""
    coil: int
    """Bytes before the samples of each coil."""

    def block(self, n_coils: int, n_samples: int) -> int:
        """Return the length of a block with samples, in bytes."""
        return self.scan + n_coils * (self.coil + 8 * n_samples)


def _head(offsets: list[int], size: int) -> np.dtype[np.void]:
    names, formats = [f[0] for f in _FIELDS], [f[1] for f in _FIELDS]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


VB = Layout(head=_head([f[2] for f in _FIELDS], 128), scan=0, coil=128)
VD = Layout(head=_head([f[3] for f in _FIELDS], 192), scan=192, coil=32)


def heads_of(blocks: npt.NDArray[np.void]) -> Heads:
    """Convert the heads of blocks with samples to ISMRMRD heads; `number` counts from 0."""
    heads = np.zeros(blocks.size, HEAD)
    heads["number"] = np.arange(blocks.size)
    for bit, flag in _FLAGS.items():
        heads["flags"] |= (blocks["mask"] >> np.uint64(bit) & np.uint64(1)) << np.uint64(flag - 1)
    for name, field in (
        ("number_of_samples", "samples"),
        ("active_channels", "coils"),
        ("discard_pre", "cut_before"),
        ("discard_post", "cut_after"),
        ("center_sample", "centre"),
        ("kspace_encode_step_1", "line"),
        ("kspace_encode_step_2", "partition"),
        ("average", "average"),
        ("slice", "slice"),
        ("repetition", "repetition"),
        ("position", "position"),
    ):
        with np.errstate(invalid="ignore"):  # NaN and infinity are refused by the reader
            heads[name] = blocks[field]
    with np.errstate(invalid="ignore", over="ignore"):
        axes = _rotations(blocks["quaternion"].astype(np.float64))
    heads["phase_dir"], heads["read_dir"], heads["slice_dir"] = axes[..., 0], axes[..., 1], axes[..., 2]
    return heads


def _rotations(quaternions: Double) -> Double:
    """Return rotation matrices of quaternions (w, x, y, z); columns: phase, read, slice in LPS. Shape `(n, 3, 3)`.

    A quaternion that is not of unit length gives a matrix that is not a rotation; the check of directions refuses it.
    """
    w, x, y, z = quaternions.T
    rows = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
    matrices: Double = np.moveaxis(np.array(rows), 2, 0)
    return matrices
