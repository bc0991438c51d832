"""NetworkJob: from a scan's file to its result on disk by a trained network, as `jobs.MatchJob` does by matching."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from mrfpipe.arrays import resolve_device
from mrfpipe.files.frames import read_frames_header
from mrfpipe.files.provenance import Recipe, sha256_of
from mrfpipe.files.schemas import FRAMES, schema_of
from mrfpipe.imaging.reconstruction import Imaging
from mrfpipe.jobs import Made, MapsJob, imaging_settings
from mrfpipe.learning.inference import Precision
from mrfpipe.learning.model import TrainedModel, load_model
from mrfpipe.learning.shipped import shipped_model
from mrfpipe.pipeline import imaging_for, model_protocol, reconstruct_scan
from mrfpipe.progress import Progress, stage


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkJob(MapsJob):
    """Maps of a scan by a network, in a result folder."""

    model: Path | None
    """The network's folder; None for the one that ships for the scan's sequence."""
    device: str
    """Where to: auto, cpu, cuda or cuda:N."""
    imaging: Imaging
    """How a raw scan becomes a series; whether of frames or of coefficients, the model says."""
    precision: Precision
    """What the network computes in."""

    def recipe(self) -> Recipe:
        """Return all that decides the maps."""
        folder = self._folder()
        digest = sha256_of(folder)
        model = _model(folder, digest)
        return Recipe(
            kind="network",
            scan=sha256_of(self.source),
            by=digest,
            protocol=model.protocol_hash,
            imaging=imaging_settings(self.source, imaging_for(model, self.imaging)),
            options={"precision": self.precision},
        )

    def run(self, progress: Progress) -> Made:
        """Reconstruct the scan and write its result folder."""
        truth, record, device = self.begin(), self.record(), resolve_device(self.device)
        with stage(progress, "model"):
            recipe, folder = self.recipe(), self._folder()
            model = _model(folder, str(recipe.by))
        mapped = reconstruct_scan(self.source, model, device, progress, imaging=self.imaging, precision=self.precision)
        provenance = record.provenance(
            recipe=recipe,
            inputs={self.source: recipe.scan, folder: str(recipe.by)},
            protocol=model_protocol(model),
            method=self._method(model, recipe),
            device=str(device),
            notes=mapped.notes,
        )
        with stage(progress, "write"):
            return self.write(mapped, provenance, truth)

    def _folder(self) -> Path:
        """Find the network: a frames file says what was measured, a raw scan is taken for what most are."""
        if self.model is not None:
            return self.model
        is_frames = schema_of(self.source) == FRAMES.name
        return shipped_model(read_frames_header(self.source).sequence_hash if is_frames else None)

    def _method(self, model: TrainedModel, recipe: Recipe) -> str:
        """Say in words how the maps are made."""
        images = f"{imaging_for(model, self.imaging)}; " if recipe.imaging else ""
        precision = "" if self.precision == "float32" else f", {self.precision}"
        size, signal_model = f"{model.architecture.n_parameters:,} parameters", f"signal model {model.signal_model}"
        return f"{images}convolutional network ({size}, {signal_model}{precision})"


@lru_cache(maxsize=1)
def _model(folder: Path, sha256: str) -> TrainedModel:  # noqa: ARG001 - a folder that has changed is read again
    return load_model(folder, torch.device("cpu"))
