"""Work: the scans, trained networks and maps that studies share, kept below one folder.

Nothing that is in the folder is made again: an interrupted study continues where it stopped, and studies use each
other's results. Networks learn the maps of matching on the grid, as published.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from mrfpipe.files.atomic import writing
from mrfpipe.files.kinds import DESCRIPTION_FILE
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.methods import train_stages
from mrfpipe.learning.model import TrainedModel, load_model, save_model
from mrfpipe.maps import ParameterMaps
from mrfpipe.phantom.cohort import Subject, draw_cohort, draw_unseen
from mrfpipe.progress import SILENT, Progress
from mrfpipe.protocol import Protocol, load_protocol, parse_protocol
from mrfpipe.run.record import Record
from mrfpipe.studies.published import NETWORKS
from mrfpipe.studies.scale import Scale
from mrfpipe.studies.scanned import MATCHINGS, ScannedCohort, claim
from mrfpipe.studies.scores import REFERENCES, Reference, SubjectScore, load_scores, save_scores, score
from mrfpipe.studies.search import Stages, Trial, best
from mrfpipe.studies.traces import Traces

CPU = torch.device("cpu")
SETTINGS = "study.json"
WORK = "work"
"""Name of the folder, inside that of the studies, for files that studies share."""


class Work:
    """Frames, models, maps and scores that studies share, kept in a folder.

    Parameters except for the scale are those of `mrfpipe.studies.catalogue.run_study`. MismatchError if the folder
    holds work of other settings.
    """

    def __init__(
        self,
        folder: Path,
        scale: Scale,
        *,
        seed: int = 0,
        device: torch.device = CPU,
        progress: Progress = SILENT,
    ) -> None:
        self.folder, self.scale, self.seed = folder, scale, seed
        self.device, self.progress = device, progress
        self.scans = ScannedCohort(
            draw_cohort(scale.n_subjects, seed=seed),
            _protocol(scale.protocol, scale.matrix),
            n_slices=scale.n_slices,
            n_coils=scale.n_coils,
            folder=folder,
            device=device,
        )
        self._models: dict[str, TrainedModel] = {}
        protocol = self.scans.protocol.hash
        claim(folder / SETTINGS, {"scale": scale.shared(), "labels": "match", "seed": seed, "protocol": protocol})

    def split(self, name: str) -> tuple[Subject, ...]:
        """Return the subjects of one split of the cohort."""
        return self.scans.cohort.split(name)

    def unseen(self) -> tuple[Subject, ...]:
        """Return patients at shoulder, abdomen and pelvis, which no network is trained on."""
        return draw_unseen(self.scale.n_unseen, seed=self.seed)

    def prepare(self, subjects: Sequence[Subject]) -> None:
        """Make the frames of subjects and match them on the grid, unless this has been done."""
        advance = self.progress("scan and match")
        for done, subject in enumerate(subjects, start=1):
            self.scans.make(subject)
            self.scans.matched(subject, "match")
            advance(done, len(subjects))

    def truth(self, subject: Subject) -> ParameterMaps:
        """Return the true maps of a subject's phantom."""
        return self.scans.phantom(subject).maps

    def maps(self, method: str, subject: Subject) -> ParameterMaps:
        """Return a subject's maps by matching or by a network, which is trained first if necessary."""
        if method in MATCHINGS:
            return self.scans.matched(subject, method)
        if not self.scans.kept(method, subject):
            record = Record(command=["study"])
            self.scans.keep(self.infer(self.model(method), subject), method, subject, record)
        return self.scans.load(method, subject)

    def infer(self, model: TrainedModel, subject: Subject) -> ParameterMaps:
        """Estimate a subject's maps with a network; they are not stored."""
        return self.infer_series(model, self.scans.series(subject))

    def infer_series(self, model: TrainedModel, series: FrameSeries) -> ParameterMaps:
        """Estimate the maps of a scan with a network."""
        return reconstruct(series, model, self.scans.protocol, device=self.device)[0]

    def trained(self) -> tuple[str, ...]:
        """Return the networks of Table 2 that are trained already, and always the proposed one."""
        return tuple(n for n in NETWORKS if n == "proposed" or self._model_folder(n).exists())

    def model(self, method: str) -> TrainedModel:
        """Train a network of Table 2, continue its training, or read it; if there are trials, return the best."""
        if method not in self._models:
            folder = self._model_folder(method)
            if self.scale.search is not None and not folder.exists():
                _save(best(self.trials(method)).model, folder)
            self._models[method] = self.fit(method, self.scale.stages[method], self.split("training"), self.seed)
        return self._models[method]

    def trials(self, method: str) -> tuple[Trial, ...]:
        """Run a network's trials by the scale's search, or read them; without a search there is one trial."""
        stages, search = self.scale.stages[method], self.scale.search
        if search is None:
            return (Trial(stages=stages, model=self.model(method)),)
        return search.run(stages, lambda changed: self._try(method, changed))

    def fit(self, name: str, stages: Stages, training: Sequence[Subject], seed: int) -> TrainedModel:
        """Train a network in stages on subjects, continue its training, or read it.

        The weights are those of the epoch that fits the validation subjects best. The model's record has the mean
        explained variance of their maps as ``explained_variance`` and the duration of all epochs in s as ``seconds``.

        `name` is the name of its files; errors are those of `train_stages` and of `ScannedCohort.check_memory`.
        """
        folder = self._model_folder(name)
        if not folder.exists():
            traces = Traces(folder)
            model = self._train(traces, stages, training, seed)
            found = {"explained_variance": traces.most_explained(), "seconds": traces.seconds()}
            _save(replace(model, record={**model.record, **found}), folder)
            traces.remove()
        return load_model(folder, self.device)

    def scores(
        self,
        name: str,
        subjects: Sequence[Subject],
        maps: Callable[[Subject], ParameterMaps],
        references: Sequence[Reference] = REFERENCES,
    ) -> list[SubjectScore]:
        """Compare subjects' maps with the references, or read the scores if a file of this name exists."""
        path = self.folder / "scores" / f"{name}.json"
        if not path.exists():
            advance, found = self.progress(f"test {name}"), list[SubjectScore]()
            for done, subject in enumerate(subjects, start=1):
                estimate, phantom = maps(subject), self.scans.phantom(subject)
                for against in references:
                    reference = phantom.maps if against == "truth" else self.scans.matched(subject, "match")
                    found += score(estimate, reference, phantom.rois, subject=subject.name, against=against)
                advance(done, len(subjects))
            save_scores(found, path)
        return load_scores(path)

    def test_scores(self, method: str) -> list[SubjectScore]:
        """Compare a method's maps of the test subjects with the truth and with matching, or read the stored scores.

        Matching on the grid is not compared with itself.
        """
        references = tuple(reference for reference in REFERENCES if reference != method)
        return self.scores(method, self.split("testing"), lambda subject: self.maps(method, subject), references)

    def _model_folder(self, name: str) -> Path:
        return self.folder / "models" / name

    def _try(self, method: str, stages: Stages) -> Trial:
        rank, rate = stages[-1].rank, stages[-1].learning_rate
        name = f"{method}-{'frames' if rank is None else rank}-{rate:g}"
        return Trial(stages=stages, model=self.fit(name, stages, self.split("training"), self.seed))

    def _train(self, traces: Traces, stages: Stages, training: Sequence[Subject], seed: int) -> TrainedModel:
        validation = self.split("validation")
        self.prepare([*training, *validation])
        self.scans.check_memory(len(training) + len(validation))
        advance = self.progress(f"train {traces.path.name}")
        return train_stages(
            stages,
            [self.scans.series(subject) for subject in training],
            [self.scans.matched(subject, "match") for subject in training],
            protocol=self.scans.protocol,
            device=self.device,
            seed=seed,
            progress=lambda epoch, n_epochs, _: advance(epoch, n_epochs),
            checkpoint=traces.checkpoint,
            validation=(
                [self.scans.series(subject) for subject in validation],
                [self.scans.matched(subject, "match") for subject in validation],
            ),
            log=traces.log,
        )


def _save(model: TrainedModel, folder: Path) -> None:
    with writing(folder, force=False, marker=DESCRIPTION_FILE) as partial:
        save_model(model, partial)


def _protocol(name: str, matrix: int) -> Protocol:
    """Return a protocol with another matrix size and the same field of view."""
    text = load_protocol(name).toml
    return parse_protocol(re.sub(r"^matrix = .*$", f"matrix = {matrix}", text, flags=re.MULTILINE), name)
