"""Frame series on disk: ``frames.h5``, with a dataset ``basis`` if it holds coefficients instead of frames."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrfpipe.files.atomic import writing
from mrfpipe.files.provenance import Provenance
from mrfpipe.files.schemas import FRAMES
from mrfpipe.files.sink import creating
from mrfpipe.files.source import Source, opening
from mrfpipe.imaging.series import FrameSeries, of_slice
from mrfpipe.protocol import Protocol

_IMAGES = "slices frames y x"
_COEFFICIENTS = "slices rank y x"
_BASIS = "frames rank"
_CHUNK_BYTES = 8 << 20
"""Frames of one slice are stored together up to this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesHeader:
    """Contents of a frames file, without its images."""

    name: str
    """Name of the scan."""
    n_slices: int
    """Number of slices."""
    n_frames: int
    """Number of frames per slice, whether the file holds frames or coefficients."""
    rank: int | None
    """Number of coefficients per voxel; None if the file holds frames."""
    matrix: tuple[int, int]
    """Number of voxels along y and along x."""
    sequence_hash: str
    """Hash of the sequence that was measured."""
    protocol: Protocol
    """Protocol for which the frames were reconstructed."""
    provenance: Provenance
    """How they were made."""


def save_frames(
    series: FrameSeries | Iterable[FrameSeries],
    path: str | Path,
    *,
    protocol: Protocol,
    provenance: Callable[[], Provenance],
    force: bool = False,
) -> None:
    """Write a frame series, whole or slice by slice, with the protocol of the measured sequence.

    `provenance` returns how the series was made, and is called after the last slice. ValueError if series and protocol
    differ in their sequence; for other errors, see `atomic.writing`.
    """
    with writing(path, force=force) as partial, creating(partial, FRAMES) as sink:
        sink.protocol(protocol)
        for s, part in enumerate([series] if isinstance(series, FrameSeries) else series):
            _check_sequence(part, protocol)
            if s == 0:
                sink.text("name", part.name)
                sink.text("sequence_hash", part.sequence_hash)
                sink.array("affine", part.affine, "4 4", "mm")
                if part.basis is not None:
                    sink.array("basis", part.basis, _BASIS, "1")
            n_images, n_y, n_x = part.images.shape[1:]
            together = min(n_images, max(1, _CHUNK_BYTES // (n_y * n_x * part.images.itemsize)))
            axes = _IMAGES if part.basis is None else _COEFFICIENTS
            sink.append("images", part.images, axes, "arbitrary", chunks=(1, together, n_y, n_x))
            sink.append("mask", part.mask, "slices y x", "1", chunks=(1, n_y, n_x), gzip=True)
            if part.noise is not None and part.basis is None:
                sink.append("noise", np.full(part.n_slices, part.noise), "slices", "1", chunks=(1,))
        sink.text("provenance", provenance().to_json())


def _check_sequence(series: FrameSeries, protocol: Protocol) -> None:
    if series.sequence_hash != protocol.sequence.hash or series.n_frames != protocol.sequence.n_frames:
        raise ValueError(f"The frames of {series.name} are not of the sequence of protocol {protocol.name}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSeries:
    """The slices of a frames file, each read on demand."""

    path: Path
    """The file."""
    header: FramesHeader
    """Contents of the file, without its images."""

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return self.header.n_slices

    @property
    def notes(self) -> dict[str, object]:
        """Notes that were recorded when the slices were made."""
        return dict(self.header.provenance.notes)

    @property
    def coil_maps(self) -> None:
        """None: a frames file holds no coil maps."""

    def __iter__(self) -> Iterator[FrameSeries]:
        """Read one slice after the other; for the errors, see `load_frames`."""
        for s in range(self.n_slices):
            with opening(self.path, FRAMES) as source:
                one = _read(source, self.header, slice(s, s + 1))
            yield one
            del one  # release this slice before the next is read


def load_frames(path: str | Path) -> FrameSeries:
    """Read a frame series.

    InputError if the file is missing, of another kind or damaged, or has images that are not finite.
    """
    with opening(path, FRAMES) as source:
        return _read(source, _header(source), slice(None))


def _read(source: Source, header: FramesHeader, slices: slice) -> FrameSeries:
    if source.text("sequence_hash") != header.sequence_hash:
        raise source.error("it was replaced by frames of another sequence while it was read")
    sizes = {"slices": header.n_slices, "frames": header.n_frames, "y": header.matrix[0], "x": header.matrix[1]}
    coefficients = header.rank is not None
    if header.rank is not None:
        sizes["rank"] = header.rank
    noise = source.finite("noise", "slices", np.float64, sizes, slices) if source.holds("noise") else None
    affine = source.finite("affine", "4 4", np.float64)
    return FrameSeries(
        name=header.name,
        images=source.finite("images", _COEFFICIENTS if coefficients else _IMAGES, np.complex64, sizes, slices),
        basis=source.finite("basis", _BASIS, np.complex64, sizes) if coefficients else None,
        mask=source.mask(sizes)[slices],
        affine=of_slice(affine, slices.start or 0),
        sequence_hash=header.sequence_hash,
        noise=None if noise is None else float(noise.mean()),
    )


def read_frames_header(path: str | Path) -> FramesHeader:
    """Read the contents of a frames file without its images; for the errors, see `load_frames`."""
    with opening(path, FRAMES) as source:
        return _header(source)


def _header(source: Source) -> FramesHeader:
    protocol = source.protocol()
    sequence_hash = source.text("sequence_hash")
    if sequence_hash != protocol.sequence.hash:
        raise source.error(f"its frames are not of the sequence of its protocol '{protocol.name}'")
    coefficients, sizes = source.holds("basis"), {"frames": protocol.sequence.n_frames}
    if coefficients:
        sizes = source.shape("basis", _BASIS, np.complex64, sizes)
    sizes = source.shape("images", _COEFFICIENTS if coefficients else _IMAGES, np.complex64, sizes)
    return FramesHeader(
        name=source.text("name"),
        n_slices=sizes["slices"],
        n_frames=sizes["frames"],
        rank=sizes["rank"] if coefficients else None,
        matrix=(sizes["y"], sizes["x"]),
        sequence_hash=sequence_hash,
        protocol=protocol,
        provenance=source.provenance(),
    )
