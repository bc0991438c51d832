"""The scans that studies are based on: phantoms, reconstructed and matched; all results are kept on disk."""

import json
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path

import torch

from mrfpipe.arrays import available_memory
from mrfpipe.dictionary import Dictionary, build_dictionary
from mrfpipe.errors import MismatchError, ResourceError
from mrfpipe.files.atomic import write_text
from mrfpipe.files.frames import load_frames, save_frames
from mrfpipe.files.maps import load_maps, save_maps
from mrfpipe.files.provenance import Provenance
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.maps import ParameterMaps
from mrfpipe.matching.match import match_series
from mrfpipe.phantom.cohort import Cohort, Subject
from mrfpipe.phantom.scanner import scan
from mrfpipe.phantom.truth import Phantom
from mrfpipe.protocol import Protocol
from mrfpipe.run.record import Record

MATCHINGS = {"match": False, "match-refined": True}
"""Ways of dictionary matching by name: whether estimates are refined between grid points. The paper has no refinement.
"""


def claim(path: Path, settings: Mapping[str, object]) -> None:
    """Write the settings of a folder, or of a part of it, to a file, or check that an existing file has the same ones.

    MismatchError if the file exists with other settings.
    """
    text = json.dumps(settings, indent=1, sort_keys=True)
    if not path.exists():
        write_text(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise MismatchError(
            f"{path.parent} holds a study of other settings, see {path}; choose another -o or delete it."
        )


class ScannedCohort:
    """A cohort's true maps, frames and matched maps, kept in a folder; existing files are read and not made again."""

    def __init__(
        self, cohort: Cohort, protocol: Protocol, *, n_slices: int, n_coils: int, folder: Path, device: torch.device
    ) -> None:
        self.cohort, self.protocol = cohort, protocol
        self._n_slices, self._n_coils, self._folder, self._device = n_slices, n_coils, folder, device

    def phantom(self, subject: Subject) -> Phantom:
        """Draw the anatomy of a subject, which is the truth."""
        return subject.as_scanned(self.protocol.sequence, self._n_slices)

    def make(self, subject: Subject) -> None:
        """Scan a subject and reconstruct the frames, unless their file exists."""
        path, record = self._frames_path(subject), Record(command=["study"], seed=subject.seed)
        if not path.exists():
            raw = scan(
                self.phantom(subject), self.protocol, n_coils=self._n_coils, seed=subject.seed, name=subject.name
            )
            series = Reconstruction(raw, self.protocol.sequence).series()
            provenance = partial(self._provenance, "nufft", record)
            save_frames(series, path, protocol=self.protocol, provenance=provenance)

    def series(self, subject: Subject) -> FrameSeries:
        """Read the frames of a subject, which are made first if necessary."""
        self.make(subject)
        return load_frames(self._frames_path(subject))

    def matched(self, subject: Subject, matching: str) -> ParameterMaps:
        """Match a subject's frames in one of the ways of `MATCHINGS`, or read the maps if they are stored."""
        if not self.kept(matching, subject):
            record = Record(command=["study"])
            found, _ = match_series(
                self.series(subject), self._dictionary, refined=MATCHINGS[matching], device=self._device
            )
            self.keep(found, matching, subject, record)
        return self.load(matching, subject)

    def kept(self, method: str, subject: Subject) -> bool:
        """Return whether the maps of a subject by a method are stored."""
        return self._maps_path(method, subject).exists()

    def load(self, method: str, subject: Subject) -> ParameterMaps:
        """Read the maps of a subject by a method; InputError if they are not stored."""
        return load_maps(self._maps_path(method, subject))

    def keep(self, maps: ParameterMaps, method: str, subject: Subject, record: Record) -> None:
        """Write the maps of a subject by a method, with provenance from the record of the work."""
        save_maps(maps, self._maps_path(method, subject), self._provenance(method, record), force=True)

    def check_memory(self, n_subjects: int) -> None:
        """Check that the frames of `n_subjects` subjects fit into memory at once.

        ResourceError if they do not.
        """
        sequence = self.protocol.sequence
        n_bytes = 8 * n_subjects * self._n_slices * sequence.n_frames * sequence.matrix**2
        if n_bytes > (free := available_memory()):
            raise ResourceError(
                f"The frames of {n_subjects} subjects take {n_bytes / 1e9:.0f} GB of memory and {free / 1e9:.0f} GB "
                "are free; run the study at a smaller scale or on a larger machine."
            )

    def _frames_path(self, subject: Subject) -> Path:
        return self._folder / "frames" / f"{subject.name}.h5"

    def _maps_path(self, method: str, subject: Subject) -> Path:
        return self._folder / "maps" / method / f"{subject.name}.h5"

    @cached_property
    def _dictionary(self) -> Dictionary:
        return build_dictionary(self.protocol, device=self._device)

    def _provenance(self, method: str, record: Record) -> Provenance:
        return record.provenance(
            recipe=None, inputs={}, protocol=self.protocol, method=method, device=str(self._device)
        )
