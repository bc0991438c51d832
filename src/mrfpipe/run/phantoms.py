"""Phantoms: from a protocol alone to a network on disk, trained on simulated scans of randomly drawn bodies."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree

from mrfpipe.dictionary import build_dictionary
from mrfpipe.files.atomic import writing
from mrfpipe.files.kinds import DESCRIPTION_FILE
from mrfpipe.imaging.choices import Imaging
from mrfpipe.learning.correction import train_corrections
from mrfpipe.learning.model import TrainedModel, save_model
from mrfpipe.learning.presets import CORRECTING
from mrfpipe.phantom.simulated import SimulatedScanner
from mrfpipe.progress import Epochs, Progress, Steps, stage
from mrfpipe.run.card import card
from mrfpipe.run.examples import Source, kept_examples, people
from mrfpipe.run.held_out import Scans, Score, held_out_scans, measure
from mrfpipe.run.training import TrainingSettings

MOST_WATCHED, MOST_SCORED = 24, 8
"""Largest number of validation phantoms, and of testing phantoms. Validation scales the standard deviations of the
network, which needs many scans, because scans differ in how well a fit knows its errors."""
CARD = "README.md"
"""Name of the card in the folder of a network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomTrainingJob(TrainingSettings):
    """Training of a network of `CORRECTING` on phantoms; an epoch has as many steps as there are phantoms."""

    n_phantoms: int
    """Phantoms to learn from; their scans are kept beside the checkpoint."""

    def run(self, progress: Progress, tell: Epochs) -> tuple[TrainedModel, list[Score]]:
        """Scan, train, write the network, score it on other phantoms and write its card; `tell` is called every epoch.

        Errors are those of `train_corrections`; ResourceError if the disk is full.
        """
        if not self.resume:
            self._drop()
        preset = CORRECTING[self.preset]
        preset = preset if self.n_epochs is None else replace(preset, n_epochs=self.n_epochs)
        n_watched = max(2, min(MOST_WATCHED, self.n_phantoms // 4))
        n_scored = max(2, min(MOST_SCORED, self.n_phantoms // 8))
        with stage(progress, "simulate"):
            dictionary = build_dictionary(self.protocol, model=self.signal_model, device=self.device)
            scanner = SimulatedScanner.of(dictionary, self.device, Imaging(recon="joint").nufft, seed=self.seed)
        source = Source(scanner, dictionary, self.device, self.seed)
        subjects = [
            *people(self.n_phantoms, "training", self.seed),
            *people(n_watched, "validation", self.seed),
        ]
        processes = 1 if self.device.type == "cpu" else os.cpu_count() or 1
        examples = kept_examples(source, subjects, self._scans, processes, progress("phantoms"))
        model = train_corrections(
            examples[: self.n_phantoms],
            examples[self.n_phantoms :],
            basis=dictionary.subspace,
            preset=preset,
            protocol=self.protocol,
            signal_model=self.signal_model,
            device=self.device,
            seed=self.seed,
            progress=tell,
            checkpoint=self.checkpoint,
            log=self.log,
        )
        with writing(self.target, force=self.force, marker=DESCRIPTION_FILE) as partial:
            save_model(model, partial)
        testing = people(n_scored, "testing", self.seed)
        scans = held_out_scans(testing, self.protocol, self.signal_model, self.seed)
        scores = measure(model, dictionary, _told(scans, n_scored, progress("test")), self.device)
        (self.target / CARD).write_text(card(model, self.protocol, scores, n_scored), encoding="utf-8")
        self._drop()
        return model, scores

    @property
    def _scans(self) -> Path:
        return self.checkpoint.with_name(f"{self.checkpoint.name}.scans")

    def _drop(self) -> None:
        self.checkpoint.unlink(missing_ok=True)
        if self._scans.is_dir():
            rmtree(self._scans)


def _told(scans: Scans, n_scans: int, progress: Steps) -> Scans:
    for done, one in enumerate(scans):
        progress(done, n_scans)
        yield one
    progress(n_scans, n_scans)
