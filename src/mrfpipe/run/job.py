"""Jobs: from a scan's file to its result on disk, with pictures and a record of how it was made.

A job holds paths and options and no data, so that another process or machine can do it as well (see `batch`).
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

        InputError if an input cannot be read.
        """

    def is_complete(self) -> bool:
        """Return whether the result that is there has all the files that are asked for."""
        return True

    @abstractmethod
    def run(self, progress: Progress) -> Made:
        """Make the result.

        MrfpipeError if an input is not what it should be, or the result exists and is not to be replaced.
        """

    def record(self) -> Record:
        """Begin the record of the result."""
        return Record(command=self.command, notes={"batch": self.batch} if self.batch else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class MapsJob(Job):
    """Maps of a scan, in a result folder."""

    by: MapsBy
    """What makes the maps."""
    imaging: Imaging
    """How a raw scan becomes a series, as far as it is not for what makes the maps to say."""
    device: str
    """Where to: auto, cpu, cuda or cuda:N."""
    bids: bool
    """Whether the target is a scan of a BIDS derivative dataset."""
    dicom: bool = False
    """Whether the maps are written as DICOM parametric maps, too."""
    dicom_int16: bool = False
    """Whether they are written as plain MR images of DICOM, too."""
    like: Path | None = None
    """The DICOM image that patient and study are taken from; None to take them from the scan."""

    def made(self) -> Provenance | None:
        """Return how the maps that are there were made; None if there are none that can be read."""
        try:
            return read_maps_provenance(self.target / MAPS_FILE)
        except InputError:
            return None

    def is_complete(self) -> bool:
        """Return whether the images are of the layout asked for, with DICOM of the patient and study if that is."""
        asked = [DICOM_FOLDER] * self.dicom + [IMAGES_FOLDER] * self.dicom_int16
        made = self.made() if asked else None
        if made is not None:
            described = describe_identity(self.identity(), scan_entities(self.target), made)
            asked = [folder for folder in asked if not holds_dicom_of(self.target / folder, described)]
        return is_bids(self.target) == self.bids and not asked

    def identity(self) -> Identity:
        """Read whom the maps are of, for DICOM; InputError if it is not what DICOM can hold, or cannot be read."""
        identity = identity_of_scan(self.source) if self.like is None else identity_of_image(self.like)
        check_identity(identity, self.like or self.source)
        return identity

    def mapper(self) -> Mapper:
        """Read what makes the maps."""
        return load_mapper(self.by, self.by.file(self.source))

    def recipe(self) -> Recipe:
        """Return all that decides the maps."""
        return recipe_of(self.source, self.mapper(), self.imaging)

    def run(self, progress: Progress) -> Made:
        """Map the scan and write its result folder, once it is known that it can be written."""
        refuse_existing(self.target, force=self.force, marker=MAPS_FILE)
        if self.dicom or self.dicom_int16:
            require_highdicom()
            self.identity()  # what is wrong with it is told before the work
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
