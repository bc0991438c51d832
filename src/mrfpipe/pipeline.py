"""Pipeline: from a file to a series of frames to maps, by matching or by a network.

Both paths take the same input, a raw scan or a frames file, and give the same value, so that nothing after them can
tell which one ran.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol as Interface

import numpy as np
import torch

from mrfpipe.acquisition.raw import read_raw
from mrfpipe.arrays import Complex, available_memory
from mrfpipe.dictionary import Dictionary, EntryGroups
from mrfpipe.errors import InputError, MismatchError, ResourceError
from mrfpipe.evaluation.reference import load_reference
from mrfpipe.files.frames import StoredSeries, read_frames_header
from mrfpipe.files.schemas import FRAMES, schema_of
from mrfpipe.imaging.reconstruction import BY_FRAMES, SUBSPACE_RANK, Imaging, Reconstruction, memory_needed
from mrfpipe.imaging.series import FrameSeries, stack_slices
from mrfpipe.learning.inference import Precision, reconstruct_signals
from mrfpipe.learning.model import TrainedModel
from mrfpipe.maps import Fingerprints, ParameterMaps
from mrfpipe.matching.match import Method, match_signals
from mrfpipe.progress import Progress, stage
from mrfpipe.protocol import Protocol, parse_protocol

CPU = torch.device("cpu")
CLOSE = "close other programs or use a larger machine"


def scan_name(path: Path) -> str:
    """Return what a raw scan or frames file calls its scan: results are named after it.

    Raises
    ------
    InputError
        If there is no such file, or a frames file cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path.")
    return read_frames_header(path).name if schema_of(path) == FRAMES.name else path.stem


class SeriesSource(Interface):
    """Where the series of a scan comes from, slice after slice: a raw scan or a frames file."""

    @property
    def n_slices(self) -> int:
        """Slices of the scan."""

    @property
    def notes(self) -> dict[str, object]:
        """What is to be recorded of the slices that were made."""

    @property
    def coil_maps(self) -> Complex | None:
        """Coil maps of the middle slice, if it was reconstructed. Shape `(coils, y, x)`."""

    def __iter__(self) -> Iterator[FrameSeries]:
        """Give one slice after the other."""


def open_series(
    path: Path,
    protocol: Protocol,
    progress: Progress,
    *,
    imaging: Imaging = BY_FRAMES,
    basis: Complex | None = None,
    device: torch.device = CPU,
) -> SeriesSource:
    """Get ready to read the series of a scan from a frames file, or to reconstruct it from a raw scan.

    Parameters
    ----------
    path
        A raw scan or a frames file.
    protocol
        What the scan is a scan of.
    progress
        Told of every stage.
    imaging
        How a raw scan is reconstructed.
    basis
        Of a subspace reconstruction. Shape `(frames, rank)`.
    device
        Where a subspace reconstruction iterates.

    Raises
    ------
    InputError
        If the file cannot be read.
    MismatchError
        If it is a scan of another protocol.
    ResourceError
        If a slice does not fit into memory, or the NUFFT asked for is not installed.
    """
    if schema_of(path) == FRAMES.name:
        header = read_frames_header(path)
        if header.sequence_hash != protocol.sequence.hash:
            raise MismatchError(
                f"{path} holds frames of another sequence (protocol '{header.protocol.name}') than protocol "
                f"'{protocol.name}'; make frames and dictionary or model with one protocol."
            )
        if imaging.recon == "subspace" and header.rank is None:
            raise MismatchError(f"{path} holds frames; a subspace reconstruction wants the raw scan.")
        _check_memory("A slice takes", _bytes(1, header.rank or header.n_frames, protocol), CLOSE)
        return StoredSeries(path=path, header=header)
    with stage(progress, "read"):
        scan = read_raw(path, protocol.sequence)
    basis = basis if imaging.recon == "subspace" else None
    rank = None if basis is None else basis.shape[1]
    kind = "frame by frame" if rank is None else f"in a subspace of rank {rank}"
    _check_memory(
        f"Reconstruction {kind} takes",
        memory_needed(scan, protocol.sequence, imaging, rank),
        CLOSE if rank is None else f"take a basis of lower rank, {CLOSE}",
    )
    return Reconstruction(
        scan, protocol.sequence, imaging, basis=basis, device=device, progress=progress(imaging.recon)
    )


def with_tissue(source: SeriesSource, path: Path) -> Iterator[FrameSeries]:
    """Give the slices of a scan.

    Raises
    ------
    InputError
        After the last, if none of them holds tissue.
    """
    found = False
    for one in source:
        found = found or bool(one.mask.any())
        yield one
    if not found:
        raise InputError(f"{path} holds no signal that stands out as tissue; check the scan.")


def load_series(path: Path, protocol: Protocol, progress: Progress) -> FrameSeries:
    """Get all slices of a scan into memory; parameters and errors as of `open_series` and `with_tissue`."""
    source = open_series(path, protocol, progress)
    n_bytes = _bytes(source.n_slices, protocol.sequence.n_frames, protocol)
    _check_memory(f"{source.n_slices} slice(s) take", n_bytes, CLOSE)
    return stack_slices(with_tissue(source, path), source.n_slices)


def _bytes(n_slices: int, n_images: int, protocol: Protocol) -> int:
    return n_slices * n_images * protocol.sequence.matrix**2 * np.dtype(np.complex64).itemsize


def _check_memory(what: str, needed: int, remedy: str) -> None:
    free = available_memory()
    if needed > free:
        raise ResourceError(f"{what} {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB of memory are free; {remedy}.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MappedScan:
    """What matching or a network makes of a scan."""

    maps: ParameterMaps
    """The maps."""
    fingerprints: Fingerprints
    """What they were read from."""
    notes: dict[str, object]
    """What is to be recorded of the reconstruction, with the time a stage took in s."""
    coil_maps: Complex | None
    """Those of the middle slice of a raw scan. Shape `(coils, y, x)`."""


def match_scan(
    path: Path,
    dictionary: Dictionary,
    method: Method,
    device: torch.device,
    progress: Progress,
    *,
    imaging: Imaging = BY_FRAMES,
    groups: EntryGroups | None = None,
    refined: bool = True,
    gap: bool = False,
    memory: int | None = None,
) -> MappedScan:
    """Turn a raw scan or a frames file into maps by matching, slice after slice.

    A subspace is that of the dictionary's leading `SUBSPACE_RANK` basis vectors.

    Raises
    ------
    MrfpipeError
        As `open_series`, `with_tissue` and `match_series`.
    """
    began = time.perf_counter()
    basis = dictionary.basis[:, :SUBSPACE_RANK]
    source = open_series(path, dictionary.protocol, progress, imaging=imaging, basis=basis, device=device)
    slices = _Timed(with_tissue(source, path), source.n_slices, seconds=time.perf_counter() - began)
    maps, fingerprints = match_signals(
        slices,
        dictionary,
        method,
        groups=groups,
        refined=refined,
        gap=gap,
        memory=memory,
        device=device,
        progress=progress("match"),
    )
    matching = time.perf_counter() - began - slices.seconds
    stages = {"images": round(slices.seconds, 2), "matching": round(matching, 2)}
    return MappedScan(
        maps=maps,
        fingerprints=fingerprints,
        notes={**source.notes, "seconds_of_stages": stages},
        coil_maps=source.coil_maps,
    )


class _Timed:
    """Slices as they come, and how long they were waited for."""

    def __init__(self, slices: Iterator[FrameSeries], n_slices: int, seconds: float) -> None:
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


def model_protocol(model: TrainedModel) -> Protocol:
    """Return the protocol that a network was trained for."""
    return parse_protocol(model.protocol_toml, "the model's protocol")


def reconstruct_scan(
    path: Path,
    model: TrainedModel,
    device: torch.device,
    progress: Progress,
    *,
    imaging: Imaging = BY_FRAMES,
    precision: Precision = "float32",
) -> MappedScan:
    """Turn a raw scan or a frames file into maps by a network, slice after slice.

    The model says whether a raw scan is reconstructed frame by frame or as coefficients, of its own basis; all else is
    as `imaging` says. Frames that a model without encoding is to read twice lie in a temporary file meanwhile.

    Raises
    ------
    MrfpipeError
        As `open_series`, `with_tissue` and `reconstruct`.
    """
    began, protocol = time.perf_counter(), model_protocol(model)
    source = open_series(
        path,
        protocol,
        progress,
        imaging=imaging_for(model, imaging),
        basis=None if model.encoding is None else model.encoding.basis,
        device=device,
    )
    with TemporaryDirectory(prefix="mrfpipe-") as folder:
        timed = _Timed(with_tissue(source, path), source.n_slices, seconds=time.perf_counter() - began)
        slices = timed if model.encoding is not None else _on_disk(timed, Path(folder))
        maps, fingerprints = reconstruct_signals(
            slices,
            model,
            protocol,
            device=device,
            precision=precision,
            progress=progress("network"),
        )
    stages = {"images": round(timed.seconds, 2), "network": round(time.perf_counter() - began - timed.seconds, 2)}
    return MappedScan(
        maps=maps,
        fingerprints=fingerprints,
        notes={**source.notes, "seconds_of_stages": stages},
        coil_maps=source.coil_maps,
    )


def imaging_for(model: TrainedModel, imaging: Imaging) -> Imaging:
    """Let a reconstruction make what a model reads."""
    return replace(imaging, recon="subspace" if model.reads == "coefficients" else "nufft")


def _on_disk(slices: Iterable[FrameSeries], folder: Path) -> list[FrameSeries]:
    """Write the images of slices to files as they come; what is returned reads them where it is looked at."""
    kept = []
    for s, one in enumerate(slices):
        file = folder / f"{s}.npy"
        try:
            np.save(file, one.images)
        except OSError as e:
            raise ResourceError(
                f"The frames do not fit into {folder.parent}: {e.strerror or e}; set TMPDIR to a larger folder."
            ) from e
        kept.append(replace(one, images=np.load(file, mmap_mode="r")))
    return kept


def truth_path(path: Path) -> Path:
    """Return where the truth of a phantom's raw scan or frames lies, if it is one: beside it, as ``NAME.truth.npz``."""
    return path.with_name(f"{scan_name(path)}.truth.npz")


def load_truth(path: Path) -> ParameterMaps | None:
    """Return the truth that lies beside a raw scan or frames file, if there is any."""
    truth = truth_path(path)
    return load_reference(truth)[0] if truth.exists() else None
