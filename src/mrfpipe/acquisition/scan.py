"""RawScan: the k-space of one scan as measured, before any processing."""

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from mrfpipe.acquisition.trajectory import check_spokes
from mrfpipe.arrays import Complex, Double, Float, Int, check_dtype, check_shape, frozen
from mrfpipe.protocol import Sequence

_TURNED = ("siemens",)
"""Manufacturers whose samples are conjugated with respect to the conventions here, see `RawScan.is_turned`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawScan:
    """Raw multi-coil k-space of all slices of a scan.

    The trajectory is in cycles/FOV, with ``|k|`` up to half the matrix. The forward model is
    ``sum over x, y of m(x, y) exp(-2 pi i (kx x + ky y) / matrix)`` with x and y counted from the centre voxel
    ``matrix // 2``, x along the columns and y along the rows of an image.
    """

    name: str
    """Name of the scan: the stem of its file name."""
    kspace: Complex
    """Samples, including readout oversampling. Shape `(slices, coils, readouts, samples)`."""
    trajectory: Float
    """Position of every sample as (kx, ky) in cycles/FOV. Shape `(readouts, samples, 2)`."""
    noise: Complex | None
    """Samples of a noise scan, if there is one. Shape `(coils, samples)`."""
    affine: Double
    """Affine from voxel `(x, y, slice)` to RAS in mm. Shape `(4, 4)`."""
    matrix: int
    """Number of voxels along x and along y."""
    fov: float
    """Field of view along x and along y in m."""
    readout: Literal["golden-radial", "stored"] = "golden-radial"
    """Kind of readouts: golden-angle spokes, which have a density in closed form and show gradient delays, or any
    others, with a stored trajectory."""
    vendor: str | None = None
    """Manufacturer of the scanner, if the file says."""
    times: Float | None = None
    """Sampling times in s, relative to an arbitrary moment of each readout; None if unknown. Shape
    `(readouts, samples)`."""
    order: Int | None = None
    """Number of slices measured before each slice, if the file says. Shape `(slices)`."""
    readouts_per_frame: int | None = None
    """Number of consecutive readouts per frame, if the file says."""
    flip: Double | None = None
    """Nominal flip angle in rad, if the file has it. Shape `(readouts)`."""
    te: Double | None = None
    """Echo time in s, if the file has it. Shape `(readouts)`."""
    tr: Double | None = None
    """Repetition time in s, if the file has it. Shape `(readouts)`."""
    inversion_time: float | None = None
    """Inversion time in s, if the file has it."""
    remarks: tuple[str, ...] = ()
    """Decisions made where the file does not say something, or says something that cannot be right."""

    def __post_init__(self) -> None:
        sizes = check_shape("kspace", self.kspace, "slices coils readouts samples")
        check_dtype("kspace", self.kspace, np.complex64)
        check_shape("trajectory", self.trajectory, "readouts samples 2", sizes)
        check_dtype("trajectory", self.trajectory, np.float32)
        if self.readout == "golden-radial":
            check_spokes(self.trajectory)
        check_shape("affine", self.affine, "4 4")
        if self.noise is not None:
            check_shape("noise", self.noise, "coils readings", {"coils": sizes["coils"]})
        if self.times is not None:
            check_shape("times", self.times, "readouts samples", sizes)
        if self.order is not None:
            check_shape("order", self.order, "slices", sizes)
        for train in ("flip", "te", "tr"):
            if getattr(self, train) is not None:
                check_shape(train, getattr(self, train), "readouts", sizes)
        for array in ("kspace", "trajectory", "times", "noise", "affine", "order", "flip", "te", "tr"):
            if getattr(self, array) is not None:
                object.__setattr__(self, array, frozen(getattr(self, array)))

    @property
    def first(self) -> int:
        """The slice that was measured first, as far as is known."""
        return 0 if self.order is None else int(np.argmin(self.order))

    def __repr__(self) -> str:
        size = f"{self.n_slices} slice(s), {self.n_coils} coils, {self.n_readouts} readouts of {self.kspace.shape[3]}"
        return f"<RawScan {self.name}: {size} samples, matrix {self.matrix}, FOV {self.fov * 1e3:g} mm>"

    def unstated(self, sequence: Sequence) -> tuple[str, ...]:
        """Return the sequence parameters that the file does not list, and that were not compared with the protocol."""
        missing = {"flip angles": self.flip is None, "TE": self.te is None, "TR": self.tr is None}
        missing["TI"] = self.inversion_time is None and sequence.inversion_time is not None
        return tuple(name for name, is_missing in missing.items() if is_missing)

    @property
    def is_turned(self) -> bool:
        """Whether the vendor is known to store the complex conjugate of the signal as defined here.

        Siemens does: to match its samples unchanged, the software of the T1-FF authors (mrftools 0.1.1) lets fat
        precess as ``exp(-2 pi i 396 Hz TE)``, and in BIDS a growing phase means a higher Larmor frequency.
        """
        return (self.vendor or "").lower().startswith(_TURNED)

    def conjugated(self) -> Self:
        """Return the scan as a receiver with the opposite sense of rotation measures it.

        The samples are conjugated and the trajectory is negated, so that the images are conjugated in place: their
        phase changes sign, and the anatomy does not move.
        """
        noise = None if self.noise is None else self.noise.conj()
        return replace(self, kspace=self.kspace.conj(), trajectory=-self.trajectory, noise=noise)

    def within_matrix(self) -> Self:
        """Return the scan without the sample positions that lie beyond the matrix in any readout."""
        inside = np.abs(self.trajectory).max(axis=(0, 2)) <= self.matrix / 2
        if inside.all():
            return self
        places = np.flatnonzero(inside)
        # A contiguous range is taken as a slice, without a copy.
        kept = slice(places[0], places[-1] + 1) if np.ptp(places) < places.size else places
        times = None if self.times is None else self.times[:, kept]
        return replace(self, trajectory=self.trajectory[:, kept], kspace=self.kspace[..., kept], times=times)

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return int(self.kspace.shape[0])

    @property
    def n_coils(self) -> int:
        """Number of receive coils."""
        return int(self.kspace.shape[1])

    @property
    def n_readouts(self) -> int:
        """Number of readouts per slice."""
        return int(self.kspace.shape[2])
