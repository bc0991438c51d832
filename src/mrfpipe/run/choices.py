"""Choices: what is asked for, as plain values that are quick to import and that another machine can be sent.

Each default stands here, or in `mrfpipe.imaging.choices`; the command line and Python take it from here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Protocol as Interface

if TYPE_CHECKING:
    import torch

    from mrfpipe.dictionary import Dictionary
    from mrfpipe.learning.inference import Precision
    from mrfpipe.matching.match import Method
    from mrfpipe.physics.simulate import Spoiling
    from mrfpipe.progress import Steps
    from mrfpipe.protocol import Protocol
    from mrfpipe.run.mapper import Mapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """How a dictionary is simulated."""

    spoiling: "Spoiling" = "spoiled"
    """Signal model; see `mrfpipe.physics.simulate`."""
    slice_profile: bool = False
    """Whether the flip angle varies across the slice, as the excitation makes it."""
    rank: int | None = None
    """Basis vectors to keep; None for the least that keep `energy`."""
    energy: float | None = None
    """Share of the entries' energy to keep; None for that of `mrfpipe.dictionary`."""

    def __post_init__(self) -> None:
        if self.rank is not None and self.energy is not None:
            raise ValueError("rank and energy exclude each other.")

    def dictionary(self, protocol: "Protocol", device: "torch.device", progress: "Steps | None" = None) -> "Dictionary":
        """Simulate the dictionary of a protocol; errors as of `mrfpipe.dictionary.build_dictionary`."""
        from mrfpipe.dictionary import DEFAULT_ENERGY, build_dictionary
        from mrfpipe.physics.simulate import SignalModel

        return build_dictionary(
            protocol,
            model=SignalModel(spoiling=self.spoiling, slice_profile=self.slice_profile),
            rank=self.rank,
            energy=DEFAULT_ENERGY if self.energy is None else self.energy,
            device=device,
            progress=progress,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """How voxels are matched with a dictionary; see `mrfpipe.matching.match`."""

    method: "Method" = "exact"
    """``exact``, ``group`` or ``brute``."""
    refined: bool = True
    """Whether the estimates leave the grid."""
    gap: bool = False
    """Whether the second-best explanation is looked for."""
    memory: int | None = None
    """Bytes of memory to match in; None for a quarter of what is free."""


class MapsBy(Interface):
    """What maps are made by, before it is read: where it lies and how it is used."""

    @property
    def noun(self) -> str:
        """What it is, in a word."""

    def __hash__(self) -> int:
        """Tell equal ones, of which one is read."""

    def file(self, scan: Path) -> Path:
        """Find the file or folder that a scan is to be mapped by.

        Raises
        ------
        MrfpipeError
            If there is none for the scan.
        """

    def read(self, file: Path, sha256: str) -> "Mapper":
        """Read it.

        Raises
        ------
        InputError
            If it is damaged, or not what it should be.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchBy:
    """Maps by dictionary matching."""

    dictionary: Path
    """The dictionary's file."""
    matching: Matching
    """How to match."""
    noun = "dictionary"

    def file(self, scan: Path) -> Path:  # noqa: ARG002 - one for all scans
        """Return the dictionary's file."""
        return self.dictionary

    def read(self, file: Path, sha256: str) -> "Mapper":
        """Read the dictionary, and its groups if they are needed."""
        from mrfpipe.files.dictionaries import load_dictionary, load_groups
        from mrfpipe.run.mapper import MatchMapper, Origin

        return MatchMapper(
            dictionary=load_dictionary(file),
            groups=load_groups(file) if self.matching.method == "group" else None,
            matching=self.matching,
            origin=Origin(path=file, sha256=sha256),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkBy:
    """Maps by a trained network."""

    model: Path | None = None
    """The network's folder; None for the one that ships for the scan's sequence."""
    precision: "Precision" = "float32"
    """What it computes in; see `mrfpipe.learning.inference`."""
    noun = "model"

    def file(self, scan: Path) -> Path:
        """Find the network: a frames file says what was measured, a raw scan is taken for what most are."""
        if self.model is not None:
            return self.model
        from mrfpipe.files.frames import read_frames_header
        from mrfpipe.files.schemas import FRAMES, schema_of
        from mrfpipe.learning.shipped import shipped_model

        return shipped_model(read_frames_header(scan).sequence_hash if schema_of(scan) == FRAMES.name else None)

    def read(self, file: Path, sha256: str) -> "Mapper":
        """Read the network."""
        from mrfpipe.learning.model import load_model
        from mrfpipe.run.mapper import NetworkMapper, Origin

        model = load_model(file)
        return NetworkMapper(model=model, precision=self.precision, origin=Origin(path=file, sha256=sha256))


SIMULATION, MATCHING, BY_NETWORK = Simulation(), Matching(), NetworkBy()
"""What is done unless told otherwise."""
