"""Record: notes about a piece of work while it runs, for the provenance of its result."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mrfpipe.files.provenance import Provenance, Recipe
from mrfpipe.imaging.reconstruction import REMARKS, UNSTATED
from mrfpipe.protocol import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Record of a piece of work; the time is taken from the creation of this object."""

    command: list[str] = field(default_factory=list)
    """The command line that started it, word by word; empty if there was none."""
    notes: Mapping[str, object] = field(default_factory=dict)
    """Further notes by name."""
    seed: int | None = None
    """Seed of the random numbers, if any are drawn."""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    """Time of the start."""
    clock: float = field(default_factory=time.perf_counter)
    """Reading of the performance counter at the start, in s."""

    def provenance(
        self,
        *,
        recipe: Recipe | None,
        inputs: Mapping[Path, str],
        protocol: Protocol,
        method: str,
        device: str,
        notes: Mapping[str, object] | None = None,
    ) -> Provenance:
        """Return the provenance of the result: inputs, method, and the time up to now."""
        return Provenance(
            command=self.command,
            inputs={str(path): digest for path, digest in inputs.items()},
            protocol_name=protocol.name,
            protocol_hash=protocol.hash,
            method=method,
            device=device,
            started=self.started.isoformat(timespec="seconds"),
            duration_s=round(time.perf_counter() - self.clock, 3),
            seed=self.seed,
            notes={**self.notes, **(notes or {})},
            recipe=recipe,
        )


def unchecked(provenance: Provenance) -> list[str]:
    """Return lines with remarks on decisions made for the scan, and with settings that could not be checked, if any."""
    unstated, remarks = provenance.notes.get(UNSTATED), provenance.notes.get(REMARKS)
    complaint = "the scan does not state them, so they were not compared with the protocol"
    lines = [] if remarks is None else [f"  {remarks}"]
    return lines if unstated is None else [*lines, f"  check these yourself, {complaint}: {unstated}"]
