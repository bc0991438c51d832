"""Frames: from a raw scan to a file of its images, from which other programs can make maps."""

import time
from dataclasses import dataclass
from pathlib import Path

from mrfpipe.arrays import resolve_device
from mrfpipe.errors import InputError
from mrfpipe.files.atomic import refuse_existing
from mrfpipe.files.frames import read_frames_header, save_frames
from mrfpipe.files.provenance import Provenance, Recipe, sha256_beside, sha256_of
from mrfpipe.imaging.choices import Imaging
from mrfpipe.progress import Progress
from mrfpipe.protocol import Protocol
from mrfpipe.run.by import MatchBy, load_mapper
from mrfpipe.run.job import Job, Made
from mrfpipe.run.record import unchecked
from mrfpipe.run.source import Timed, imaging_settings, open_series, usable_slices


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesJob(Job):
    """Job that reconstructs the frames of a raw scan into a file."""

    protocol: Protocol
    """Protocol of the scan."""
    imaging: Imaging
    """How the scan is reconstructed."""
    dictionary: Path | None = None
    """Dictionary whose leading basis vectors a subspace reconstruction uses."""
    device: str = "cpu"
    """Device that reconstructs the images."""

    def made(self) -> Provenance | None:
        """Return how existing frames were made; None if there are none."""
        try:
            return read_frames_header(self.target).provenance
        except InputError:
            return None

    def recipe(self) -> Recipe:
        """Return everything that determines the frames."""
        return self._recipe(sha256_of(self.source))

    def _recipe(self, scan: str) -> Recipe:
        return Recipe(
            kind="frames",
            scan=scan,
            by=None if self.dictionary is None else sha256_of(self.dictionary),
            protocol=self.protocol.hash,
            imaging=imaging_settings(self.source, self.imaging),
            options={},
        )

    def run(self, progress: Progress) -> Made:
        """Reconstruct the frames and write their file."""
        refuse_existing(self.target, force=self.force)
        record, sha256, device = self.record(), sha256_beside(self.source), resolve_device(self.device)
        began = time.perf_counter()
        mapper = None if self.dictionary is None else load_mapper(MatchBy(dictionary=self.dictionary), self.dictionary)
        source = open_series(
            self.source,
            self.protocol,
            progress,
            imaging=self.imaging,
            basis=None if mapper is None else mapper.basis,
            readout_basis=None if mapper is None else mapper.readout_basis(self.imaging.recon),
            device=device,
        )

        def provenance() -> Provenance:
            recipe = self._recipe(sha256())
            by = {} if self.dictionary is None else {self.dictionary: str(recipe.by)}
            return record.provenance(
                recipe=recipe,
                inputs={self.source: recipe.scan, **by},
                protocol=self.protocol,
                method=self.imaging.described(str(device)),
                device=str(device),
                notes={**source.notes, "seconds_of_stages": {"images": round(slices.seconds, 2)}},
            )

        usable = usable_slices(source, self.source, self.protocol)
        slices = Timed(usable, source.n_slices, seconds=time.perf_counter() - began)
        save_frames(slices, self.target, protocol=self.protocol, provenance=provenance, force=self.force)
        header = read_frames_header(self.target)
        images = f"{header.n_frames} frames" if header.rank is None else f"{header.rank} coefficients"
        size = f"{header.matrix[0]} x {header.matrix[1]}"
        made = f"{self.target}: {header.n_slices} slice(s), {images} of {size}"
        return Made(text="\n".join([made, *unchecked(header.provenance)]))
