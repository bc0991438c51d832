"""Jobs: from a scan's file to its result on disk, with a picture and a record of how it was made.

A job holds paths and options and no data, so that another process or machine can do it as well (see `batch`).
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np

from mrfpipe.arrays import Complex, resolve_device
from mrfpipe.dictionary import Dictionary
from mrfpipe.errors import InputError, MrfpipeError
from mrfpipe.evaluation.picture import COILS_FILE, draw_coils, draw_maps
from mrfpipe.files.atomic import refuse_existing
from mrfpipe.files.bids import is_bids, scan_entities
from mrfpipe.files.dicom import DICOM_FOLDER, require_highdicom
from mrfpipe.files.dictionaries import load_dictionary, load_groups
from mrfpipe.files.frames import read_frames_header, save_frames
from mrfpipe.files.kinds import MAPS_FILE
from mrfpipe.files.maps import read_maps_header
from mrfpipe.files.provenance import Provenance, Recipe, Setting, sha256_of
from mrfpipe.files.results import save_result
from mrfpipe.files.schemas import FRAMES, schema_of
from mrfpipe.imaging.reconstruction import SUBSPACE_RANK, UNSTATED, Imaging
from mrfpipe.maps import Fingerprints, ParameterMaps
from mrfpipe.matching.match import Method
from mrfpipe.pages import write_page
from mrfpipe.pipeline import MappedScan, load_truth, match_scan, open_series, truth_path, usable_slices
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
        recipe: Recipe,
        inputs: Mapping[Path, str],
        protocol: Protocol,
        method: str,
        device: str,
        notes: Mapping[str, object],
    ) -> Provenance:
        """Say what was done with what, up to now."""
        return Provenance(
            command=self.command,
            inputs={str(path): digest for path, digest in inputs.items()},
            protocol_name=protocol.name,
            protocol_hash=protocol.hash,
            method=method,
            device=device,
            started=self.started.isoformat(timespec="seconds"),
            duration_s=round(time.perf_counter() - self.clock, 3),
            notes={**self.notes, **notes},
            recipe=recipe,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a job tells of the result it made."""

    text: str
    """What the result is, in a line or more."""
    warning: str = ""
    """What was not as it should be, in a line; empty if nothing was."""


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
    def recipe(self) -> Recipe:
        """Return all that decides the values of the result, to compare with that of the one that is there.

        Raises
        ------
        InputError
            If an input cannot be read.
        """

    def is_complete(self) -> bool:
        """Return whether the result that is there has all the files that are asked for."""
        return True

    @abstractmethod
    def run(self, progress: Progress) -> Made:
        """Make the result.

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
        """Return how the maps that are there were made; None if there are none that can be read."""
        try:
            return read_maps_header(self.target / MAPS_FILE).provenance
        except InputError:
            return None

    def is_complete(self) -> bool:
        """Return whether the images are of the layout asked for, with DICOM if that is."""
        lacks_dicom = self.dicom and not (self.target / DICOM_FOLDER).exists()
        return is_bids(self.target) == self.bids and not lacks_dicom

    def begin(self) -> "Truth":
        """Find out whether the result can be written, and look at the truth beside the scan, before the work."""
        refuse_existing(self.target, force=self.force, marker=MAPS_FILE)
        if self.dicom:
            require_highdicom()
        return Truth.beside(self.source)

    def write(self, mapped: MappedScan, provenance: Provenance, truth: "Truth") -> Made:
        """Write the result folder; return a summary of the maps."""
        truth = truth.of(mapped.maps)
        write_result(
            self.target,
            mapped.maps,
            provenance,
            fingerprints=mapped.fingerprints,
            truth=truth.maps,
            bids=self.bids,
            dicom=self.dicom,
            force=self.force,
            coil_maps=mapped.coil_maps,
        )
        return Made(text=f"{self.target}: {summarise(mapped.maps, provenance)}", warning=truth.warning)


_WITHOUT_TRUTH = "the maps are shown without the truth"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """The truth that pictures and page of a result show, if one lies beside its scan and fits.

    It is a neighbour that nobody asked for: what is wrong with it is told, and never stands in the way of the maps.
    """

    path: Path
    """Where it lies, or would."""
    maps: ParameterMaps | None
    """The truth; None if there is none that can be used."""
    warning: str = ""
    """Why one that is there cannot be used, in a line."""

    @classmethod
    def beside(cls, scan: Path) -> Self:
        """Read the truth beside a scan."""
        path = truth_path(scan)
        try:
            return cls(path=path, maps=load_truth(scan))
        except MrfpipeError as e:
            return cls(path=path, maps=None, warning=f"{_WITHOUT_TRUTH}: {e}")

    def of(self, maps: ParameterMaps) -> "Truth":
        """Return the truth if it is of the shape of these maps."""
        if self.maps is None or self.maps.mask.shape == maps.mask.shape:
            return self
        shapes = f"has shape {self.maps.mask.shape}, the maps {maps.mask.shape} (slices, y, x)"
        warning = f"{_WITHOUT_TRUTH}: {self.path} {shapes}; it is of another scan, take it away."
        return replace(self, maps=None, warning=warning)


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

    def recipe(self) -> Recipe:
        """Return all that decides the maps."""
        digest = sha256_of(self.dictionary)
        dictionary = _dictionary(self.dictionary, digest)
        return Recipe(
            kind="matching",
            scan=sha256_of(self.source),
            by=digest,
            protocol=dictionary.protocol.hash,
            signal_model=str(dictionary.model),
            imaging=imaging_settings(self.source, self.imaging),
            options={"method": self.method, "refined": self.refined, "gap": self.gap},
        )

    def run(self, progress: Progress) -> Made:
        """Match the scan and write its result folder."""
        truth, record, device = self.begin(), self.record(), resolve_device(self.device)
        with stage(progress, "dictionary"):
            recipe = self.recipe()
            dictionary = _dictionary(self.dictionary, str(recipe.by))
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
            recipe=recipe,
            inputs={self.source: recipe.scan, self.dictionary: str(recipe.by)},
            protocol=dictionary.protocol,
            method=self._method(dictionary, rank, recipe),
            device=str(device),
            notes=matched.notes,
        )
        with stage(progress, "write"):
            return self.write(matched, provenance, truth)

    def _method(self, dictionary: Dictionary, rank: int, recipe: Recipe) -> str:
        """Say in words how the maps are made."""
        images = f"{self.imaging}; " if recipe.imaging else ""
        matching = f"{self.method}, {'refined' if self.refined else 'on the grid'}{', with gap' if self.gap else ''}"
        entries = f"{dictionary.n_entries:,} entries, rank {rank}, {dictionary.model}"
        return f"{images}dictionary matching ({matching}, {entries})"


def imaging_settings(source: Path, imaging: Imaging) -> dict[str, Setting]:
    """Return how a raw scan becomes a series, for a `Recipe`; nothing for a scan that is one already."""
    if schema_of(source) == FRAMES.name:
        return {}
    return asdict(imaging) | {"virtual_coils": imaging.n_virtual}


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

    def recipe(self) -> Recipe:
        """Return all that decides the frames."""
        return Recipe(
            kind="frames",
            scan=sha256_of(self.source),
            by=None if self.dictionary is None else sha256_of(self.dictionary),
            protocol=self.protocol.hash,
            imaging=imaging_settings(self.source, self.imaging),
            options={},
        )

    def run(self, progress: Progress) -> Made:
        """Reconstruct the frames and write their file."""
        refuse_existing(self.target, force=self.force)
        record, recipe, device = self.record(), self.recipe(), resolve_device(self.device)
        inputs = {self.source: recipe.scan} | ({} if self.dictionary is None else {self.dictionary: str(recipe.by)})
        source = open_series(
            self.source, self.protocol, progress, imaging=self.imaging, basis=self._basis(), device=device
        )

        def provenance() -> Provenance:
            return record.provenance(
                recipe=recipe,
                inputs=inputs,
                protocol=self.protocol,
                method=str(self.imaging),
                device=str(device),
                notes=source.notes,
            )

        slices = usable_slices(source, self.source, self.protocol)
        save_frames(slices, self.target, protocol=self.protocol, provenance=provenance, force=self.force)
        header = read_frames_header(self.target)
        images = f"{header.n_frames} frames" if header.rank is None else f"{header.rank} coefficients"
        size = f"{header.matrix[0]} x {header.matrix[1]}"
        made = f"{self.target}: {header.n_slices} slice(s), {images} of {size}"
        return Made(text="\n".join([made, *_unchecked(header.provenance)]))

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
    for parameter in maps.parameters:
        low, middle, high = np.percentile(maps[parameter.name][maps.mask], [5, 50, 95])
        unit = "" if parameter.unit == "1" else f" {parameter.unit}"
        lines.append(f"  {parameter.name:6} {middle:8.4g}{unit}   (5 to 95 %: {low:.4g} to {high:.4g})")
    return "\n".join(lines + _unchecked(provenance))


def _unchecked(provenance: Provenance) -> list[str]:
    """Return the line that says what of the sequence nothing has checked, if that is so."""
    unstated = provenance.notes.get(UNSTATED)
    complaint = "as the scan does not list them and nothing has compared them with the protocol"
    return [] if unstated is None else [f"  check yourself, {complaint}: {unstated}"]
