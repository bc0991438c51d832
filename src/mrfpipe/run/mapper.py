"""Mapper: turns a series of images into maps, by matching or by a network.

Code above the mappers does not know which of them ran.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol as Interface

import numpy as np
import torch

from mrfpipe.arrays import Complex
from mrfpipe.dictionary import Dictionary, EntryGroups, build_dictionary
from mrfpipe.errors import MismatchError, ResourceError
from mrfpipe.files.provenance import Recipe, Setting
from mrfpipe.imaging.choices import Imaging, Recon
from mrfpipe.imaging.joint import JointMaps
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.inference import Precision, reconstruct
from mrfpipe.learning.model import TrainedModel
from mrfpipe.maps import Fingerprints, ParameterMaps
from mrfpipe.matching.joint import fitted
from mrfpipe.matching.match import match_series
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.progress import Progress
from mrfpipe.protocol import Protocol, parse_protocol
from mrfpipe.readout_basis import at_readouts, readout_basis
from mrfpipe.run.apart import doubt_of
from mrfpipe.run.check import doubt
from mrfpipe.run.choices import MATCHING, Matching

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """File or folder that a dictionary or network was read from."""

    path: Path
    """File or folder."""
    sha256: str
    """SHA-256 digest of its content."""


class Mapper(Interface):
    """Turns the images of a scan into maps."""

    @property
    def protocol(self) -> Protocol:
        """Protocol that scans must have."""

    @property
    def signal_model(self) -> SignalModel:
        """Signal model that defines the maps."""

    @property
    def basis(self) -> Complex | None:
        """Temporal basis in which a subspace reconstruction of a raw scan is done. Shape `(frames, rank)`."""

    def readout_basis(self, recon: Recon | None) -> Complex | None:
        """Return the basis with a value per readout for a kind of reconstruction; None for frames.

        A joint reconstruction has more vectors than a subspace reconstruction. Shape `(readouts, rank)`.
        """

    @property
    def origin(self) -> Origin | None:
        """File or folder it was read from; None if it was made in memory."""

    @property
    def kind(self) -> str:
        """Kind of mapper, in one word for records."""

    def imaging(self, asked: Imaging) -> Imaging:
        """Return a reconstruction whose images the mapper can read, as close as possible to the one asked for."""

    def map(
        self, slices: Iterable[FrameSeries], device: torch.device, progress: Progress
    ) -> tuple[ParameterMaps, Fingerprints]:
        """Turn the images of slices, processed as they come, into maps and the fingerprints they were made from.

        Raises
        ------
        MrfpipeError
            If the mapper cannot read such images, or the machine lacks memory or another resource.
        """

    def doubt(self, maps: ParameterMaps, fingerprints: Fingerprints) -> str:
        """Return one line on why the maps may be wrong, e.g. another signal model fits clearly better, or nothing."""

    def describe(self, rank: int) -> str:
        """Describe in words how the maps are made; `rank` is the number of coefficients that were compared."""

    def recipe(self, scan: str, imaging: Mapping[str, Setting]) -> Recipe:
        """Return everything that determines the maps of a scan, given its sha256 and settings of reconstruction."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchMapper:
    """Maps by matching with a dictionary."""

    dictionary: Dictionary
    """Dictionary to match with."""
    groups: EntryGroups | None = None
    """Groups of its entries, for group matching."""
    matching: Matching = MATCHING
    """How to match."""
    origin: Origin | None = None
    """The dictionary's file."""
    kind = "matching"

    @property
    def protocol(self) -> Protocol:
        """Protocol that the dictionary was simulated for."""
        return self.dictionary.protocol

    @property
    def signal_model(self) -> SignalModel:
        """Signal model of the dictionary."""
        return self.dictionary.model

    @property
    def basis(self) -> Complex:
        """The dictionary's leading basis vectors, as many as a subspace reconstruction uses."""
        return self.dictionary.subspace

    def readout_basis(self, recon: Recon | None) -> Complex | None:
        """Return the dictionary's basis vectors with a value per readout, as many as a reconstruction uses."""
        if recon == "joint":
            return readout_basis(self.dictionary)
        return None if recon == "nufft" else at_readouts(self.basis, self.dictionary)

    def imaging(self, asked: Imaging) -> Imaging:
        """Return the reconstruction asked for, since frames and coefficients can both be matched; by default the best.

        MismatchError if a joint reconstruction is asked for without refinement between grid points.
        """
        if self.matching.refined:
            return asked.or_best()
        if asked.recon == "joint":
            raise MismatchError(
                "A joint reconstruction estimates maps between grid points; choose --recon subspace with --no-refine."
            )
        return replace(asked, recon=asked.recon or "subspace")

    def map(
        self, slices: Iterable[FrameSeries], device: torch.device, progress: Progress
    ) -> tuple[ParameterMaps, Fingerprints]:
        """Match every voxel inside the mask; errors are those of `match_series`."""
        return match_series(
            slices,
            self.dictionary,
            self.matching.method,
            groups=self.groups,
            refined=self.matching.refined,
            gap=self.matching.gap,
            memory=self.matching.memory,
            device=device,
            progress=progress("match"),
        )

    def doubt(self, maps: ParameterMaps, fingerprints: Fingerprints) -> str:
        """Return which history or inversion, if any, explains the signals clearly better than the dictionary's."""
        return doubt(maps, fingerprints, self.dictionary)

    def describe(self, rank: int) -> str:
        """Name method, entries and signal model."""
        how = f"{'refined' if self.matching.refined else 'on the grid'}{', with gap' if self.matching.gap else ''}"
        entries = f"{self.dictionary.n_entries:,} entries, rank {rank}, {self.signal_model}"
        return f"dictionary matching ({self.matching.method}, {how}, {entries})"

    def recipe(self, scan: str, imaging: Mapping[str, Setting]) -> Recipe:
        """Return everything that determines the maps, which the memory does not."""
        how = self.matching
        return Recipe(
            kind=self.kind,
            scan=scan,
            by=None if self.origin is None else self.origin.sha256,
            protocol=self.protocol.hash,
            signal_model=str(self.signal_model),
            imaging=imaging,
            options={"method": how.method, "refined": how.refined, "gap": how.gap},
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkMapper:
    """Maps by a trained network."""

    model: TrainedModel
    """The network."""
    precision: Precision
    """Precision of the computation."""
    origin: Origin | None = None
    """The network's folder."""
    kind = "network"

    @property
    def protocol(self) -> Protocol:
        """Protocol that the network was trained for."""
        return model_protocol(self.model)

    @property
    def signal_model(self) -> SignalModel:
        """Signal model of the labels that the network was trained on."""
        return self.model.signal_model

    @property
    def basis(self) -> Complex | None:
        """The basis of the network's own encoding, if it has one."""
        return None if self.model.encoding is None else self.model.encoding.basis

    def readout_basis(self, recon: Recon | None) -> Complex | None:
        """Return the encoding's basis with a value per readout; a joint reconstruction has further vectors."""
        if recon == "nufft" or self.basis is None:
            return None
        dictionary = _dictionary(self.model.protocol_toml, self.signal_model, CPU)
        return readout_basis(dictionary) if recon == "joint" else at_readouts(self.basis, dictionary)

    def imaging(self, asked: Imaging) -> Imaging:
        """Reconstruct as for the training data of the network; everything else as asked for.

        MismatchError if a network that corrects fitted maps is to be used with a field map: correction of off-resonance
        leaves no normal equations to fit maps with.
        """
        if self.model.corrects and asked.field_map is not None:
            raise MismatchError(
                "The network corrects maps that are fitted to all samples, which takes no field map; leave the field "
                "map out, or use mrfpipe match."
            )
        if self.model.corrects:
            return replace(asked, recon="joint")
        return replace(asked, recon="subspace" if self.model.reads == "coefficients" else "nufft")

    def map(
        self, slices: Iterable[FrameSeries], device: torch.device, progress: Progress
    ) -> tuple[ParameterMaps, Fingerprints]:
        """Estimate the maps; errors are those of `reconstruct`.

        A model without encoding reads the frames twice, so they are kept in temporary files.
        """
        fit = dictionary = None
        if self.model.corrects:
            dictionary = _dictionary(self.model.protocol_toml, self.signal_model, device)
            fit = partial(_fitted, dictionary=dictionary, device=device)
        with TemporaryDirectory(prefix="mrfpipe-") as folder:
            return reconstruct(
                slices if self.model.encoding is not None else _on_disk(slices, Path(folder)),
                self.model,
                self.protocol,
                device=device,
                fit=fit,
                dictionary=dictionary,
                precision=self.precision,
                progress=progress("network"),
            )

    def doubt(self, maps: ParameterMaps, fingerprints: Fingerprints) -> str:
        """Return where maps contradict the signals or matching, if the maps have standard deviations."""
        if maps.sd is None:
            return ""
        return doubt_of(maps, fingerprints, _dictionary(self.model.protocol_toml, self.signal_model, CPU))

    def describe(self, rank: int) -> str:  # noqa: ARG002 - the network determines the rank
        """Name size and signal model, and the precision if it is not float32."""
        size = f"{self.model.architecture.n_parameters:,} parameters"
        precision = "" if self.precision == "float32" else f", {self.precision}"
        matching = "dictionary matching (exact, refined, fitted to the samples), corrected by "
        matched = matching if self.model.corrects else ""
        return f"{matched}convolutional network ({size}, signal model {self.signal_model}{precision})"

    def recipe(self, scan: str, imaging: Mapping[str, Setting]) -> Recipe:
        """Return everything that determines the maps; the signal model is part of the network."""
        return Recipe(
            kind=self.kind,
            scan=scan,
            by=None if self.origin is None else self.origin.sha256,
            protocol=self.model.protocol_hash,
            imaging=imaging,
            options={"precision": self.precision},
        )


@lru_cache(maxsize=2)
def _dictionary(protocol_toml: str, signal_model: SignalModel, device: torch.device) -> Dictionary:
    """Simulate the dictionary of a network's protocol, once for many scans."""
    return build_dictionary(parse_protocol(protocol_toml, "the model's protocol"), model=signal_model, device=device)


def _fitted(series: FrameSeries, dictionary: Dictionary, device: torch.device) -> JointMaps:
    """Fit the maps of a slice to its samples; MismatchError if it has none."""
    if series.equations is None:
        raise MismatchError(
            f"The network corrects maps that are fitted to all samples, which {series.name} does not hold; reconstruct "
            "the raw scan, or use mrfpipe match."
        )
    return fitted(series, dictionary, device)


def model_protocol(model: TrainedModel) -> Protocol:
    """Return the protocol that a network was trained for."""
    return parse_protocol(model.protocol_toml, "the model's protocol")


def _on_disk(slices: Iterable[FrameSeries], folder: Path) -> list[FrameSeries]:
    """Write the images of slices to files as they come; return series that read them from these files when needed."""
    kept = []
    for s, one in enumerate(slices):
        file = folder / f"{s}.npy"
        try:
            np.save(file, one.images)
        except OSError as e:
            raise ResourceError(
                f"The frames do not fit into {folder.parent}: {e.strerror or e}; set TMPDIR to a larger folder."
            ) from e
        kept.append(replace(one, images=np.load(file, mmap_mode="r")))
    return kept
