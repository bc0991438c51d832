"""NetworkJob: from a scan's file to its result on disk by a trained network, as `jobs.MatchJob` does by matching."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from mrfpipe.arrays import resolve_device
from mrfpipe.files.frames import read_frames_header
from mrfpipe.files.provenance import Provenance, sha256_of
from mrfpipe.files.schemas import FRAMES, schema_of
from mrfpipe.imaging.reconstruction import Imaging
from mrfpipe.jobs import MapsJob
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

    def repeats(self, made: Provenance) -> bool:
        """Return whether the maps were made of the same scan with the same network."""
        folder = self._folder()
        inputs = sorted(map(sha256_of, (self.source, folder)))
        return inputs == sorted(made.inputs.values()) and made.method == self._method(self._loaded(folder))

    def run(self, progress: Progress) -> str:
        """Reconstruct the scan and write its result folder; return a summary of the maps."""
        self.begin()
        folder, device, record = self._folder(), resolve_device(self.device), self.record()
        with stage(progress, "model"):
            model = self._loaded(folder)
        mapped = reconstruct_scan(self.source, model, device, progress, imaging=self.imaging, precision=self.precision)
        provenance = record.provenance(
            inputs=[self.source, folder],
            protocol=model_protocol(model),
            method=self._method(model),
            device=str(device),
            notes=mapped.notes,
        )
        with stage(progress, "write"):
            return self.write(mapped, provenance)

    def _folder(self) -> Path:
        """Find the network: a frames file says what was measured, a raw scan is taken for what most are."""
        if self.model is not None:
            return self.model
        is_frames = schema_of(self.source) == FRAMES.name
        return shipped_model(read_frames_header(self.source).sequence_hash if is_frames else None)

    def _loaded(self, folder: Path) -> TrainedModel:
        return _model(folder, sha256_of(folder))

    def _method(self, model: TrainedModel) -> str:
        images = "" if schema_of(self.source) == FRAMES.name else f"{imaging_for(model, self.imaging)}; "
        precision = "" if self.precision == "float32" else f", {self.precision}"
        size, signal_model = f"{model.architecture.n_parameters:,} parameters", f"signal model {model.signal_model}"
        return f"{images}convolutional network ({size}, {signal_model}{precision})"


@lru_cache(maxsize=1)
def _model(folder: Path, sha256: str) -> TrainedModel:  # noqa: ARG001 - a folder that has changed is read again
    return load_model(folder, torch.device("cpu"))
