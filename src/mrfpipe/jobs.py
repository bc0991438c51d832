"""Jobs: from a scan's file to its result on disk, with a picture and a record of how it was made.

A job holds paths and options and no data, so that another process or machine can do it as well (see `batch`).
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from mrfpipe.arrays import Complex, resolve_device
from mrfpipe.dictionary import Dictionary
from mrfpipe.errors import InputError
from mrfpipe.evaluation.picture import COILS_FILE, draw_coils, draw_maps
from mrfpipe.files.atomic import refuse_existing
from mrfpipe.files.bids import is_bids, scan_entities
from mrfpipe.files.dicom import DICOM_FOLDER, require_highdicom
from mrfpipe.files.dictionaries import load_dictionary, load_groups
from mrfpipe.files.frames import read_frames_header, save_frames
from mrfpipe.files.maps import read_maps_header
from mrfpipe.files.provenance import Provenance, sha256_of
from mrfpipe.files.results import MAPS_FILE, save_result
from mrfpipe.files.schemas import FRAMES, schema_of
from mrfpipe.imaging.reconstruction import SUBSPACE_RANK, Imaging
from mrfpipe.maps import PARAMETERS, Fingerprints, ParameterMaps
from mrfpipe.matching.match import Method
from mrfpipe.pages import write_page
from mrfpipe.pipeline import MappedScan, load_truth, match_scan, open_series, with_tissue
from mrfpipe.progress import Progress, stage
from mrfpipe.protocol import Protocol
from mrfpipe.report.page import REPORT_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Takes the time of a piece of work from its creation on, for the provenance of what it makes."""

    command: list[str]
    """The command line that asked for it, word by word."""
    notes: Mapping[str, object] = field(default_factory=dict)
    """What else is to be known of it."""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it began."""
    clock: float = field(default_factory=time.perf_counter)
    """The same, to measure from."""

    def provenance(
        self,
        *,
        inputs: list[Path],
        protocol: Protocol,
        method: str,
        device: str,
        seed: int | None = None,
        notes: Mapping[str, object] | None = None,
    ) -> Provenance:
        """Say what was done with what, up to now."""
        return Provenance(
            command=self.command,
            inputs={str(path): sha256_of(path) for path in inputs},
            protocol_name=protocol.name,
            protocol_hash=protocol.hash,
            method=method,
            device=device,
            started=self.started.isoformat(timespec="seconds"),
            duration_s=round(time.perf_counter() - self.clock, 3),
            seed=seed,
            notes={**self.notes, **(notes or {})},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(ABC):
    """What turns one scan into one result."""

    source: Path
    """The scan."""
    target: Path
    """The result."""
    force: bool
    """Whether an existing result is replaced."""
    command: list[str]
    """The command line that asked for it, word by word."""
    batch: str = ""
    """Noted in the result, so that a job that is given out again after it was done knows; empty if none is."""
    threads: int | None = None
    """CPU threads to use; None for all cores."""

    @abstractmethod
    def made(self) -> Provenance | None:
        """Return how the result that is there was made; None if there is none, or none that can be read."""

    @abstractmethod
    def repeats(self, made: Provenance) -> bool:
        """Return whether the job would only make again what was made so.

        Raises
        ------
        InputError
            If an input cannot be read.
        """

    @abstractmethod
    def run(self, progress: Progress) -> str:
        """Make the result; return what to tell of it.

        Raises
        ------
        MrfpipeError
            If an input is not what it should be, or the result exists and is not to be replaced.
        """

    def record(self) -> Record:
        """Begin the record of the result."""
        return Record(command=self.command, notes={"batch": self.batch} if self.batch else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class MapsJob(Job):
    """Maps of a scan, in a result folder."""

    bids: bool
    """Whether the target is a scan of a BIDS derivative dataset."""
    dicom: bool = False
    """Whether the maps are written as DICOM parametric maps, too."""

    def made(self) -> Provenance | None:
        """Return how the maps that are there were made; None if there are none of this layout."""
        try:
            made = read_maps_header(self.target / MAPS_FILE).provenance
        except InputError:
            return None
        lacks_dicom = self.dicom and not (self.target / DICOM_FOLDER).exists()
        return made if is_bids(self.target) == self.bids and not lacks_dicom else None

    def begin(self) -> None:
        """Find out whether the result can be written, before the work."""
        refuse_existing(self.target, force=self.force, marker=MAPS_FILE)
        if self.dicom:
            require_highdicom()

    def write(self, mapped: MappedScan, provenance: Provenance) -> str:
        """Write the result folder; return a summary of the maps."""
        write_result(
            self.target,
            mapped.maps,
            provenance,
            fingerprints=mapped.fingerprints,
            truth=load_truth(self.source),
            bids=self.bids,
            dicom=self.dicom,
            force=self.force,
            coil_maps=mapped.coil_maps,
        )
        return f"{self.target}: {summarise(mapped.maps, provenance)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchJob(MapsJob):
    """Maps of a scan by dictionary matching, in a result folder."""

    dictionary: Path
    """The dictionary's file."""
    method: Method
    """How to match."""
    refined: bool
    """Whether the estimates leave the grid."""
    device: str
    """Where to: auto, cpu, cuda or cuda:N."""
    imaging: Imaging
    """How a raw scan becomes a series."""
    gap: bool
    """Whether the second-best explanation is looked for."""
    memory: int | None
    """Bytes of memory to match in; None for a quarter of what is free."""

    def repeats(self, made: Provenance) -> bool:
        """Return whether the maps were made of the same scan with the same dictionary and method."""
        inputs = sorted(map(sha256_of, (self.source, self.dictionary)))
        return inputs == sorted(made.inputs.values()) and made.method.startswith(self._method)

    @property
    def _method(self) -> str:
        images = "" if schema_of(self.source) == FRAMES.name else f"{self.imaging}; "
        kind = "refined" if self.refined else "on the grid"
        return f"{images}dictionary matching ({self.method}, {kind}{', with gap' if self.gap else ''},"

    def run(self, progress: Progress) -> str:
        """Match the scan and write its result folder; return a summary of the maps."""
        self.begin()
        with stage(progress, "dictionary"):
            dictionary = _dictionary(self.dictionary, sha256_of(self.dictionary))
        device, record = resolve_device(self.device), self.record()
        groups = load_groups(self.dictionary) if self.method == "group" else None
        matched = match_scan(
            self.source,
            dictionary,
            self.method,
            device,
            progress,
            imaging=self.imaging,
            groups=groups,
            refined=self.refined,
            gap=self.gap,
            memory=self.memory,
        )
        rank = matched.fingerprints.basis.shape[1]
        provenance = record.provenance(
            inputs=[self.source, self.dictionary],
            protocol=dictionary.protocol,
            method=f"{self._method} {dictionary.n_entries:,} entries, rank {rank}, {dictionary.model})",
            device=str(device),
            notes=matched.notes,
        )
        with stage(progress, "write"):
            return self.write(matched, provenance)


@lru_cache(maxsize=1)
def _dictionary(path: Path, sha256: str) -> Dictionary:  # noqa: ARG001 - a file that has changed is read again
    return load_dictionary(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesJob(Job):
    """Frames of a raw scan, in a file."""

    protocol: Protocol
    """What was scanned."""
    imaging: Imaging
    """How the scan becomes a series."""
    dictionary: Path | None = None
    """Whose leading basis vectors a subspace reconstruction takes."""
    device: str = "cpu"
    """Where a subspace reconstruction iterates."""

    def made(self) -> Provenance | None:
        """Return how the frames that are there were made; None if there are none."""
        try:
            return read_frames_header(self.target).provenance
        except InputError:
            return None

    def repeats(self, made: Provenance) -> bool:
        """Return whether the frames were made of the same scan with the same protocol, in the same way."""
        same_inputs = sorted(made.inputs.values()) == sorted(map(sha256_of, self._inputs))
        return same_inputs and (made.protocol_hash, made.method) == (self.protocol.hash, str(self.imaging))

    @property
    def _inputs(self) -> list[Path]:
        return [self.source] if self.dictionary is None else [self.source, self.dictionary]

    def run(self, progress: Progress) -> str:
        """Reconstruct the frames and write their file; return their shape."""
        refuse_existing(self.target, force=self.force)
        record, device = self.record(), resolve_device(self.device)
        source = open_series(
            self.source, self.protocol, progress, imaging=self.imaging, basis=self._basis(), device=device
        )

        def provenance() -> Provenance:
            return record.provenance(
                inputs=self._inputs,
                protocol=self.protocol,
                method=str(self.imaging),
                device=str(device),
                notes=source.notes,
            )

        slices = with_tissue(source, self.source)
        save_frames(slices, self.target, protocol=self.protocol, provenance=provenance, force=self.force)
        header = read_frames_header(self.target)
        images = f"{header.n_frames} frames" if header.rank is None else f"{header.rank} coefficients"
        return f"{self.target}: {header.n_slices} slice(s), {images} of {header.matrix[0]} x {header.matrix[1]}"

    def _basis(self) -> Complex | None:
        if self.dictionary is None:
            return None
        return _dictionary(self.dictionary, sha256_of(self.dictionary)).basis[:, :SUBSPACE_RANK]


def write_result(
    folder: Path,
    maps: ParameterMaps,
    provenance: Provenance,
    *,
    truth: ParameterMaps | None,
    bids: bool,
    dicom: bool = False,
    force: bool,
    fingerprints: Fingerprints | None = None,
    coil_maps: Complex | None = None,
) -> None:
    """Write a result folder with its page and pictures of coil maps and slices, beside the truth if there is any."""

    def draw(partial: Path) -> None:
        for s in range(len(maps.mask)):
            name = "maps.png" if len(maps.mask) == 1 else f"maps-{s + 1}.png"
            draw_maps(maps, partial / name, reference=truth, slice_index=s, title=scan_entities(folder))
        coils = None if coil_maps is None else partial / COILS_FILE
        if coil_maps is not None and coils is not None:
            draw_coils(coil_maps, coils)
        write_page(
            partial / REPORT_FILE,
            maps,
            provenance,
            title=scan_entities(folder),
            reference=truth,
            fingerprints=fingerprints,
            coils=coils,
        )

    save_result(folder, maps, provenance, fingerprints=fingerprints, bids=bids, dicom=dicom, force=force, extra=draw)


def summarise(maps: ParameterMaps, provenance: Provenance) -> str:
    """Return voxels and time, and a line a map: median and the range of nine voxels in ten, in file units."""
    lines = [f"{maps.mask.sum():,} voxels in {provenance.duration_s:.1f} s"]
    for parameter in PARAMETERS:
        low, middle, high = np.percentile(maps.in_file_units(parameter)[maps.mask], [5, 50, 95])
        unit = "" if parameter.unit == "1" else f" {parameter.unit}"
        lines.append(f"  {parameter.name:6} {middle:8.4g}{unit}   (5 to 95 %: {low:.4g} to {high:.4g})")
    return "\n".join(lines)
