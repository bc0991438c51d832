"""Choices: options of matching, as plain values that are quick to import.

Defaults for the command line and for Python are defined here, in `mrfpipe.run.by` and in `mrfpipe.imaging.choices`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mrfpipe.matching.match import Method


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Options of matching; see `mrfpipe.matching.match`."""

    method: "Method" = "exact"
    """``exact``, ``group`` or ``brute``."""
    refined: bool = True
    """Whether estimates are refined between grid points."""
    gap: bool = False
    """Whether the difference to the second-best local optimum is computed."""
    memory: int | None = None
    """Memory for matching in bytes; None for a quarter of the free memory."""


MATCHING = Matching()
"""The defaults."""
