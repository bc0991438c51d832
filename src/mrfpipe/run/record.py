"""Record: what is noted of a piece of work while it is done, for the provenance of what it makes."""

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
    """Takes the time of a piece of work from its creation on."""

    command: list[str] = field(default_factory=list)
    """The command line that asked for it, word by word; empty if none did."""
    notes: Mapping[str, object] = field(default_factory=dict)
    """What else is to be known of it."""
    seed: int | None = None
    """Seed of the random numbers, if any are drawn."""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it began."""
    clock: float = field(default_factory=time.perf_counter)
    """The same, to measure from."""

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
            seed=self.seed,
            notes={**self.notes, **(notes or {})},
            recipe=recipe,
        )


def unchecked(provenance: Provenance) -> list[str]:
    """Return the lines that say what was decided and what of the sequence nothing has checked, if that is so."""
    unstated, remarks = provenance.notes.get(UNSTATED), provenance.notes.get(REMARKS)
    complaint = "the scan does not state them, so they were not compared with the protocol"
    lines = [] if remarks is None else [f"  {remarks}"]
    return lines if unstated is None else [*lines, f"  check these yourself, {complaint}: {unstated}"]
