"""Jobs: from a scan's file to its result on disk, with pictures and a record of how it was made.

A job holds only paths and options, no data, so that it can run in another process or on another machine (see `batch`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from mrfpipe.acquisition.identity import Identity
from mrfpipe.arrays import resolve_device
from mrfpipe.errors import InputError
from mrfpipe.files.atomic import refuse_existing
from mrfpipe.files.bids import is_bids, scan_entities
from mrfpipe.files.dicom import DICOM_FOLDER, require_highdicom
from mrfpipe.files.dicom_identity import (
    check_identity,
    describe_identity,
    holds_dicom_of,
    identity_of_image,
    identity_of_scan,
)
from mrfpipe.files.dicom_images import IMAGES_FOLDER
from mrfpipe.files.kinds import MAPS_FILE
from mrfpipe.files.maps import read_maps_provenance
from mrfpipe.files.provenance import Provenance, Recipe
from mrfpipe.imaging.choices import Imaging
from mrfpipe.progress import Progress, stage
from mrfpipe.run.by import MapsBy, load_mapper
from mrfpipe.run.mapper import Mapper
from mrfpipe.run.record import Record
from mrfpipe.run.scan import map_scan, recipe_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Messages of a job about its result."""

    text: str
    """Description of the result, in one or more lines."""
    warning: str = ""
    """Warning in one line; empty if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(ABC):
    """Work that turns one scan into one result."""

    source: Path
    """The scan."""
    target: Path
    """The result."""
    force: bool
    """Whether an existing result is replaced."""
    command: list[str]
    """The command line that started it, word by word."""
    batch: str = ""
    """Identifier of the batch, recorded in the result so that a repeated job finds its own result; may be empty."""
    threads: int | None = None
    """CPU threads to use; None for all cores."""

    @abstractmethod
    def made(self) -> Provenance | None:
        """Return how an existing result was made; None if there is none, or it cannot be read."""

    @abstractmethod
    def recipe(self) -> Recipe:
        """Return everything that determines the values of the result, to compare with the recipe of an existing one.

        InputError if an input cannot be read.
        """

    def is_complete(self) -> bool:
        """Return whether an existing result has all the files that are asked for."""
        return True

    @abstractmethod
    def run(self, progress: Progress) -> Made:
        """Make the result.

        MrfpipeError if an input is not usable, or the result exists and is not to be replaced.
        """

    def record(self) -> Record:
        """Begin the record of the result."""
        return Record(command=self.command, notes={"batch": self.batch} if self.batch else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class MapsJob(Job):
    """Job that makes the maps of a scan in a result folder."""

    by: MapsBy
    """Dictionary or network that makes the maps."""
    imaging: Imaging
    """How a raw scan is reconstructed, as far as the dictionary or network leaves a choice."""
    device: str
    """Device to compute on: auto, cpu, cuda or cuda:N."""
    bids: bool
    """Whether the target is a scan of a BIDS derivative dataset."""
    dicom: bool = False
    """Whether the maps are also written as DICOM parametric maps."""
    dicom_int16: bool = False
    """Whether the maps are also written as plain DICOM MR images."""
    like: Path | None = None
    """The DICOM image that patient and study are taken from; None to take them from the scan."""

    def made(self) -> Provenance | None:
        """Return how existing maps were made; None if there are none that can be read."""
        try:
            return read_maps_provenance(self.target / MAPS_FILE)
        except InputError:
            return None

    def is_complete(self) -> bool:
        """Return whether the images have the requested layout and, if requested, DICOM of this patient and study."""
        asked = [DICOM_FOLDER] * self.dicom + [IMAGES_FOLDER] * self.dicom_int16
        made = self.made() if asked else None
        if made is not None:
            described = describe_identity(self.identity(), scan_entities(self.target), made)
            asked = [folder for folder in asked if not holds_dicom_of(self.target / folder, described)]
        return is_bids(self.target) == self.bids and not asked

    def identity(self) -> Identity:
        """Read patient and study for DICOM; InputError if they cannot be read or DICOM cannot hold a value."""
        identity = identity_of_scan(self.source) if self.like is None else identity_of_image(self.like)
        check_identity(identity, self.like or self.source)
        return identity

    def mapper(self) -> Mapper:
        """Read the dictionary or network that makes the maps."""
        return load_mapper(self.by, self.by.file(self.source))

    def recipe(self) -> Recipe:
        """Return everything that determines the maps."""
        return recipe_of(self.source, self.mapper(), self.imaging)

    def run(self, progress: Progress) -> Made:
        """Map the scan and write its result folder, after checking that it can be written."""
        refuse_existing(self.target, force=self.force, marker=MAPS_FILE)
        if self.dicom or self.dicom_int16:
            require_highdicom()
            self.identity()  # raises its errors before the work begins
        record, device = self.record(), resolve_device(self.device)
        with stage(progress, self.by.noun):
            mapper = self.mapper()
        result = map_scan(self.source, mapper, imaging=self.imaging, device=device, progress=progress, record=record)
        with stage(progress, "write"):
            result.save(
                self.target,
                bids=self.bids,
                dicom=self.dicom,
                dicom_int16=self.dicom_int16,
                like=self.like,
                force=self.force,
            )
        return Made(text=f"{self.target}: {result.summary()}", warning=result.warning)
