"""By: a dictionary or network and its options, as a plain value that can be sent to another machine."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mrfpipe.files.provenance import sha256_of
from mrfpipe.run.choices import MATCHING, Matching

if TYPE_CHECKING:
    from mrfpipe.learning.inference import Precision
    from mrfpipe.run.mapper import Mapper


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchBy:
    """Maps by dictionary matching."""

    dictionary: Path
    """The dictionary's file."""
    matching: Matching = MATCHING
    """How to match."""
    noun = "dictionary"

    def file(self, scan: Path) -> Path:  # noqa: ARG002 - the same for all scans
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
    """The network's folder; None for the bundled pretrained network for the sequence of the scan."""
    precision: "Precision" = "float32"
    """Precision of the computation; see `mrfpipe.learning.inference`."""
    noun = "model"

    def file(self, scan: Path) -> Path:
        """Find the network for a scan: by the sequence in a frames file, or the default network for a raw scan.

        MrfpipeError if there is no network for the scan.
        """
        if self.model is not None:
            return self.model
        from mrfpipe.files.frames import read_frames_header
        from mrfpipe.files.schemas import FRAMES, schema_of
        from mrfpipe.learning.shipped import shipped_model

        if schema_of(scan) != FRAMES.name:
            return shipped_model()
        header = read_frames_header(scan)
        return shipped_model(header.sequence_hash, "frames" if header.rank is None else "coefficients")

    def read(self, file: Path, sha256: str) -> "Mapper":
        """Read the network."""
        from mrfpipe.learning.model import load_model
        from mrfpipe.run.mapper import NetworkMapper, Origin

        model = load_model(file)
        return NetworkMapper(model=model, precision=self.precision, origin=Origin(path=file, sha256=sha256))


MapsBy = MatchBy | NetworkBy
"""Dictionary or network that makes maps, before it is read: its path and how it is used."""
BY_NETWORK = NetworkBy()
"""By the bundled pretrained network."""


def load_mapper(by: MapsBy, file: Path) -> "Mapper":
    """Read a dictionary or network once for many scans; it is read again only if the file has changed.

    Raises
    ------
    MrfpipeError
        As `MapsBy.read`.
    """
    return _mapper(by, file, sha256_of(file))


@lru_cache(maxsize=1)
def _mapper(by: MapsBy, file: Path, sha256: str) -> "Mapper":
    return by.read(file, sha256)
