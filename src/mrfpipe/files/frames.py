"""Frame series on disk: ``frames.h5``, with a dataset ``basis`` if it holds coefficients instead of frames."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrfpipe.files.atomic import writing
from mrfpipe.files.provenance import Provenance
from mrfpipe.files.schemas import FRAMES
from mrfpipe.files.sink import creating
from mrfpipe.files.source import Source, opening
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.protocol import Protocol

_IMAGES = "slices frames y x"
_COEFFICIENTS = "slices rank y x"
_BASIS = "frames rank"
_CHUNK_BYTES = 8 << 20
"""Frames of one slice are stored together up to this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesHeader:
    """What a frames file holds, without its images."""

    name: str
    """The scan's name."""
    n_slices: int
    """Slices of the scan."""
    n_frames: int
    """Frames of a slice, whether the file holds them or their coefficients."""
    rank: int | None
    """Coefficients of a voxel; None if the file holds frames."""
    matrix: tuple[int, int]
    """Voxels along y and along x."""
    sequence_hash: str
    """Hash of the sequence that was measured."""
    protocol: Protocol
    """What the frames were reconstructed for."""
    provenance: Provenance
    """How they were made."""


def save_frames(
    series: FrameSeries, path: Path, *, protocol: Protocol, provenance: Provenance, force: bool = False
) -> None:
    """Write a frame series and the protocol it was reconstructed for.

    Parameters
    ----------
    series
        What to write.
    path
        The file to be.
    protocol
        The protocol whose sequence was measured.
    provenance
        How the series was made.
    force
        Whether an existing file is replaced.

    Raises
    ------
    ValueError
        If the series and the protocol are not of one sequence.
    OutputExistsError, ResourceError
        As `atomic.writing`.
    """
    if series.sequence_hash != protocol.sequence.hash or series.n_frames != protocol.sequence.n_frames:
        raise ValueError(f"The frames of {series.name} are not of the sequence of protocol {protocol.name}.")
    n_images, n_y, n_x = series.images.shape[1:]
    together = min(n_images, max(1, _CHUNK_BYTES // (n_y * n_x * series.images.itemsize)))
    with writing(path, force=force) as partial, creating(partial, FRAMES) as sink:
        sink.text("name", series.name)
        sink.text("sequence_hash", series.sequence_hash)
        sink.text("provenance", provenance.to_json())
        sink.protocol(protocol)
        axes = _IMAGES if series.basis is None else _COEFFICIENTS
        sink.array("images", series.images, axes, "arbitrary", chunks=(1, together, n_y, n_x))
        if series.basis is not None:
            sink.array("basis", series.basis, _BASIS, "1")
        sink.array("mask", series.mask, "slices y x", "1", gzip=True)
        sink.array("affine", series.affine, "4 4", "mm")


def load_frames(path: Path) -> FrameSeries:
    """Read a frame series.

    Raises
    ------
    InputError
        If the file is missing, of another kind or damaged, or has images that are not finite.
    """
    with opening(path, FRAMES) as source:
        header, sizes = _header(source)
        coefficients = header.rank is not None
        return FrameSeries(
            name=header.name,
            images=source.finite("images", _COEFFICIENTS if coefficients else _IMAGES, np.complex64, sizes),
            basis=source.finite("basis", _BASIS, np.complex64, sizes) if coefficients else None,
            mask=source.mask("mask", sizes),
            affine=source.finite("affine", "4 4", np.float64),
            sequence_hash=header.sequence_hash,
        )


def read_frames_header(path: Path) -> FramesHeader:
    """Read what a frames file holds, leaving the images where they are.

    Raises
    ------
    InputError
        As `load_frames`.
    """
    with opening(path, FRAMES) as source:
        return _header(source)[0]


def _header(source: Source) -> tuple[FramesHeader, dict[str, int]]:
    protocol = source.protocol()
    sequence_hash = source.text("sequence_hash")
    if sequence_hash != protocol.sequence.hash:
        raise source.error(f"its frames are not of the sequence of its protocol '{protocol.name}'")
    coefficients, sizes = source.holds("basis"), {"frames": protocol.sequence.n_frames}
    if coefficients:
        sizes = source.shape("basis", _BASIS, np.complex64, sizes)
    sizes = source.shape("images", _COEFFICIENTS if coefficients else _IMAGES, np.complex64, sizes)
    header = FramesHeader(
        name=source.text("name"),
        n_slices=sizes["slices"],
        n_frames=sizes["frames"],
        rank=sizes["rank"] if coefficients else None,
        matrix=(sizes["y"], sizes["x"]),
        sequence_hash=sequence_hash,
        protocol=protocol,
        provenance=source.provenance(),
    )
    return header, sizes
