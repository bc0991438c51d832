"""Source: the series of a scan, slice by slice, from a raw scan or a frames file."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from mrfpipe.acquisition.raw import read_raw
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.arrays import Complex, Float, available_memory
from mrfpipe.errors import InputError, MismatchError, ResourceError
from mrfpipe.files.field_map import load_field_map
from mrfpipe.files.frames import StoredSeries, read_frames_header
from mrfpipe.files.provenance import Setting, sha256_of
from mrfpipe.files.schemas import FRAMES, schema_of
from mrfpipe.imaging.choices import BY_FRAMES, Imaging
from mrfpipe.imaging.memory import memory_needed
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.imaging.series import FrameSeries, stack_slices
from mrfpipe.matching.phase_sign import few_entries, unexplained
from mrfpipe.progress import Progress, stage
from mrfpipe.protocol import Protocol

CPU = torch.device("cpu")
CLOSE = "close other programs or use a larger machine"

SeriesSource = Reconstruction | StoredSeries
"""Source of a scan's series, slice by slice: a raw scan or a frames file."""


def open_series(
    path: str | Path,
    protocol: Protocol,
    progress: Progress,
    *,
    imaging: Imaging = BY_FRAMES,
    basis: Complex | None = None,
    readout_basis: Complex | None = None,
    device: torch.device = CPU,
) -> SeriesSource:
    """Prepare to read the series of a scan from a frames file, or to reconstruct it from a raw scan.

    Parameters
    ----------
    path
        A raw scan or a frames file.
    protocol
        Protocol of the scan.
    progress
        Called in every stage.
    imaging, basis, readout_basis, device
        As for `mrfpipe.imaging.reconstruction.Reconstruction`.

    Raises
    ------
    InputError
        If the file cannot be read.
    MismatchError
        If the scan has another protocol, or a frames file cannot be reconstructed as asked for.
    ResourceError
        If a slice does not fit into memory, or the chosen NUFFT is not installed.
    """
    path = Path(path)
    if schema_of(path) == FRAMES.name:
        header = read_frames_header(path)
        if header.sequence_hash != protocol.sequence.hash:
            raise MismatchError(
                f"{path} holds frames of another sequence (protocol '{header.protocol.name}') than protocol "
                f"'{protocol.name}'; make frames and dictionary or model with the same protocol."
            )
        refuse_to_reconstruct(str(path), "frames" if header.rank is None else "coefficients", imaging)
        _check_memory("A slice takes", _bytes(1, header.rank or header.n_frames, protocol), CLOSE)
        return StoredSeries(path=path, header=header)
    with stage(progress, "read"):
        scan = read_raw(path, protocol.sequence, trusted=imaging.trust_protocol)
    basis, field = None if imaging.recon == "nufft" else basis, None
    if imaging.field_map is not None:
        field = load_field_map(imaging.field_map, (scan.n_slices, scan.matrix, scan.matrix), scan.affine)
    return reconstruction_of(
        scan,
        protocol,
        progress,
        imaging=imaging,
        basis=basis,
        readout_basis=readout_basis,
        field=field,
        device=device,
    )


def refuse_to_reconstruct(name: str, kind: str, imaging: Imaging) -> None:
    """Raise MismatchError if options of reconstruction are given for images, which are reconstructed already.

    `kind` is what the images are: frames or coefficients.
    """
    if imaging.recon == "joint" or (imaging.recon == "subspace" and kind == "frames"):
        raise MismatchError(f"{name} holds {kind}; a {imaging.recon} reconstruction needs the raw scan.")
    if imaging.field_map is not None:
        raise MismatchError(f"{name} holds {kind}; off-resonance is corrected in the raw scan.")
    if imaging.changed:
        raise MismatchError(
            f"{name} holds {kind}, which are reconstructed already; leave out the options of reconstruction "
            f"({', '.join(imaging.changed)}), or give the raw scan."
        )


def reconstruction_of(
    scan: RawScan,
    protocol: Protocol,
    progress: Progress,
    *,
    imaging: Imaging,
    basis: Complex | None,
    readout_basis: Complex | None = None,
    field: Float | None = None,
    denoised: bool = True,
    device: torch.device = CPU,
    before: Reconstruction | None = None,
) -> Reconstruction:
    """Prepare the reconstruction of a raw scan; parameters are those of `open_series` and `Reconstruction`.

    Raises
    ------
    ResourceError
        If a slice does not fit into memory, or the chosen NUFFT is not installed.
    """
    largest = basis if readout_basis is None else readout_basis
    rank = None if largest is None else largest.shape[1]
    kind = "frame by frame" if rank is None else f"in a subspace of rank {rank}"
    _check_memory(
        f"Reconstruction {kind} takes",
        memory_needed(scan, protocol.sequence, imaging, rank),
        CLOSE if rank is None else f"take a basis of lower rank, {CLOSE}",
    )
    return Reconstruction(
        scan,
        protocol.sequence,
        imaging,
        basis=basis,
        readout_basis=readout_basis,
        field=field,
        denoised=denoised,
        device=device,
        progress=progress(imaging.recon or "nufft"),
        before=before,
    )


def usable_slices(source: Iterable[FrameSeries], path: str | Path, protocol: Protocol) -> Iterator[FrameSeries]:
    """Yield the slices of a scan.

    Raises
    ------
    InputError
        After the last slice, if none of them contains tissue.
    MismatchError
        At the first slice whose signals fit the protocol only after complex conjugation.
    """
    found = False
    # With a single component, signals and their conjugates look the same.
    dictionary = few_entries(protocol) if len(protocol.components) > 1 else None
    for one in source:
        found = found or bool(one.mask.any())
        left = None if dictionary is None else unexplained(one, dictionary)
        if left is not None and left.is_conjugated:
            raise MismatchError(
                f"{path}: the sign of its phase is opposite to the protocol: {left.as_they_are:.1%} of the energy are "
                f"unexplained, {left.conjugated:.1%} after conjugation; reconstruct with --conjugate, or "
                "with --no-conjugate if the scan was conjugated."
            )
        yield one
        del one  # frees the memory of the slice before the next one
    if not found:
        raise InputError(f"{path} holds no signal that is distinguishable as tissue; check the scan.")


class Timed:
    """Iterates over slices and measures how long it waited for them, in s."""

    def __init__(self, slices: Iterator[FrameSeries], n_slices: int, seconds: float = 0.0) -> None:
        self._slices, self._n_slices = slices, n_slices
        self.seconds = seconds

    def __len__(self) -> int:
        return self._n_slices

    def __iter__(self) -> Iterator[FrameSeries]:
        while True:
            began = time.perf_counter()
            found = next(self._slices, None)
            self.seconds += time.perf_counter() - began
            if found is None:
                return
            yield found
            del found


def load_series(
    path: str | Path, protocol: Protocol, progress: Progress, *, imaging: Imaging = BY_FRAMES
) -> FrameSeries:
    """Read all slices of a scan into memory; parameters and errors are those of `open_series` and `usable_slices`."""
    source = open_series(path, protocol, progress, imaging=imaging)
    n_bytes = _bytes(source.n_slices, protocol.sequence.n_frames, protocol)
    _check_memory(f"{source.n_slices} slice(s) take", n_bytes, CLOSE)
    return stack_slices(usable_slices(source, path, protocol), source.n_slices)


def _bytes(n_slices: int, n_images: int, protocol: Protocol) -> int:
    return n_slices * n_images * protocol.sequence.matrix**2 * np.dtype(np.complex64).itemsize


def _check_memory(what: str, needed: int, remedy: str) -> None:
    free = available_memory()
    if needed > free:
        raise ResourceError(f"{what} {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB of memory are free; {remedy}.")


def imaging_settings(source: Path, imaging: Imaging) -> dict[str, Setting]:
    """Return the settings of reconstruction for a `Recipe`; none for a frames file, which is reconstructed already."""
    if schema_of(source) == FRAMES.name:
        return {}
    settings = asdict(imaging) | {"backend": imaging.nufft}
    # Left out if there is none, because older results do not have this setting.
    del settings["field_map"]
    return settings if imaging.field_map is None else settings | {"field_map": sha256_of(imaging.field_map)}
