"""Choices: how dictionaries and maps are made, as plain values that are quick to import.

Each default stands here, in `mrfpipe.run.by` or in `mrfpipe.imaging.choices`, for the command line and for Python.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from mrfpipe.dictionary import Dictionary
    from mrfpipe.matching.match import Method
    from mrfpipe.physics.simulate import Spoiling
    from mrfpipe.progress import Steps
    from mrfpipe.protocol import Protocol


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


SIMULATION, MATCHING = Simulation(), Matching()
"""What is done unless told otherwise."""
