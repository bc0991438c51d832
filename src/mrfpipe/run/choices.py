"""Choices: how signals are simulated and voxels matched, as plain values that are quick to import.

Each default stands here, in `mrfpipe.run.by` or in `mrfpipe.imaging.choices`, for the command line and for Python.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mrfpipe.matching.match import Method


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


MATCHING = Matching()
"""What is done unless told otherwise."""
