"""What a command leaves behind for a scan: the result folder, with a picture and a record of how it was made."""

import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mrfpipe.errors import MismatchError
from mrfpipe.evaluation.picture import draw_maps
from mrfpipe.files.atomic import refuse_existing
from mrfpipe.files.provenance import Provenance, sha256_of
from mrfpipe.files.results import MAPS_FILE, save_result
from mrfpipe.maps import PARAMETERS, ParameterMaps
from mrfpipe.pipeline import scan_name
from mrfpipe.protocol import Protocol

from .options import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Takes the time of a piece of work from its creation on, for the provenance of what it makes."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.perf_counter)

    def provenance(
        self, *, inputs: list[Path], protocol: Protocol, method: str, device: str, seed: int | None = None
    ) -> Provenance:
        """Say what was done with what, up to now."""
        return Provenance(
            command=["mrfpipe", *sys.argv[1:]],
            inputs={str(path): sha256_of(path) for path in inputs},
            protocol_name=protocol.name,
            protocol_hash=protocol.hash,
            method=method,
            device=device,
            started=self.started.isoformat(timespec="seconds"),
            duration_s=round(time.perf_counter() - self.clock, 3),
            seed=seed,
        )


def result_folders(inputs: tuple[Path, ...], output: Path, *, force: bool) -> dict[Path, Path]:
    """Return the result folder of every input, refused if one exists or two inputs would share one."""
    folders = {path: output / scan_name(path) for path in inputs}
    for folder in folders.values():
        twins = [other for other in folders if folders[other] == folder]
        if len(twins) > 1:
            raise MismatchError(f"{twins[0]} and {twins[1]} would both be written to {folder}; match them one by one.")
        refuse_existing(folder, force=force, marker=MAPS_FILE)
    return folders


def write_result(
    folder: Path,
    maps: ParameterMaps,
    provenance: Provenance,
    settings: Settings,
    *,
    truth: ParameterMaps | None,
    bids: bool,
) -> None:
    """Write a result folder with a picture of every slice, beside the truth where there is one."""

    def draw(partial: Path) -> None:
        for s in range(len(maps.mask)):
            name = "maps.png" if len(maps.mask) == 1 else f"maps-{s}.png"
            draw_maps(maps, partial / name, reference=truth, slice_index=s, title=f"{folder.name}, slice {s}")

    save_result(folder, maps, provenance, bids=bids, force=settings.force, extra=draw)


def summarise(maps: ParameterMaps) -> str:
    """Return a line a map: median and the range of nine voxels in ten, in file units."""
    lines = []
    for parameter in PARAMETERS:
        low, middle, high = np.percentile(maps.in_file_units(parameter)[maps.mask], [5, 50, 95])
        unit = "" if parameter.unit == "1" else f" {parameter.unit}"
        lines.append(f"  {parameter.name:6} {middle:8.4g}{unit}   (5 to 95 %: {low:.4g} to {high:.4g})")
    return "\n".join(lines)
