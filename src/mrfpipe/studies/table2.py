"""Table 2 of Balsiger et al., Med Image Anal 64:101741 (2020): the proposed network, the published ones, and matching.

A cohort of phantoms is scanned and matched, every network is trained on the training subjects and chosen by those for
validation, and the maps of the test subjects are compared with the truth, which the paper did not have, and with
matching on the grid, which was its reference. What is made is kept below a folder, so that an interrupted study goes on
where it was.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from mrfpipe.errors import MismatchError
from mrfpipe.files.atomic import writing, writing_folder
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.methods import METHODS, train_stages
from mrfpipe.learning.model import DESCRIPTION_FILE, TrainedModel, load_model, save_model
from mrfpipe.learning.presets import PRESETS, Preset
from mrfpipe.maps import ParameterMaps
from mrfpipe.phantom.cohort import PAPER_SIZE, Subject, draw_cohort
from mrfpipe.protocol import Protocol, load_protocol, parse_protocol
from mrfpipe.studies.table2_cohort import MATCHINGS, ScannedCohort
from mrfpipe.studies.table2_paper import NETWORKS
from mrfpipe.studies.table2_report import draw_methods, draw_nrmse, format_table, write_csv
from mrfpipe.studies.table2_scores import REFERENCES, Row, load_scores, save_scores, score, summarise

Labels = Literal["truth", "match"]
Progress = Callable[[str], Callable[[int, int], None]]
"""Called with the name of a stage that begins; what it returns is called with the steps done and all steps."""
SILENT: Progress = lambda _: lambda done, total: None  # noqa: ARG005, E731 - nobody looks
CPU = torch.device("cpu")
SETTINGS = "study.json"
WORK = "work"
"""Folder below a study's own in which it keeps what it has made."""
ALL_METHODS = (*NETWORKS, *MATCHINGS)
"""Methods in the order of the table: networks, then matching."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large a study is."""

    matrix: int
    """Voxels along x and along y."""
    n_subjects: int
    """Subjects; splits have 94 : 20 : 50 of them."""
    n_slices: int
    """Slices of each."""
    n_coils: int
    """Receive coils."""
    stages: Mapping[str, tuple[Preset, ...]]
    """Stages of every network's training."""


def _small_stages() -> dict[str, tuple[Preset, ...]]:
    """Networks as published but the proposed, trained for minutes.

    Fingerprints come as patches of 4 x 4, which are cut faster than one by one; 8 of them are a batch of 128. The
    recurrent network and the U-Net take long on a CPU, so that they go through the data less often than the others.
    """

    def by_fingerprint(name: str, n_epochs: int) -> Preset:
        return replace(METHODS[name][0], patch_size=4, batch_size=8, n_epochs=n_epochs)

    return {
        "proposed": (replace(PRESETS["small"], batch_size=32, n_epochs=120),),
        "hoppe": (by_fingerprint("hoppe", 12),),
        "cohen": (by_fingerprint("cohen", 12),),
        "oksuz": (by_fingerprint("oksuz", 2),),
        "fang": (by_fingerprint("fang", 12), replace(METHODS["fang"][1], batch_size=4, n_epochs=24)),
    }


SCALES = {
    "small": Scale(matrix=72, n_subjects=28, n_slices=1, n_coils=4, stages=_small_stages()),
    "paper": Scale(matrix=350, n_subjects=PAPER_SIZE, n_slices=5, n_coils=8, stages=METHODS),
}
"""``small``: minutes on a CPU, with the small network in the place of the proposed; ``paper``: the paper's numbers of
subjects, slices and epochs, for a GPU and days, with about 100 GB of memory and of disk. The learning rate is not
chosen by validation as in the paper, but the preset's."""


def run_study(
    folder: Path,
    scale: Scale,
    *,
    labels: Labels = "match",
    seed: int = 0,
    device: torch.device = CPU,
    progress: Progress = SILENT,
) -> str:
    """Run the study and write ``table2.csv``, ``table2.md``, ``table2.png`` and ``table2-maps.png``.

    Parameters
    ----------
    folder
        Where to write; `compare_methods` keeps its work below it.
    scale, labels, seed, device, progress
        As for `compare_methods`.

    Returns
    -------
        The table in Markdown.

    Raises
    ------
    MismatchError, ResourceError
        As `compare_methods`.
    """
    rows = compare_methods(folder / WORK, scale, labels=labels, seed=seed, device=device, progress=progress)
    text = format_table(rows)
    write_csv(rows, folder / "table2.csv")
    with writing(folder / "table2.md", force=True) as partial:
        partial.write_text(text, encoding="utf-8")
    draw_nrmse(rows, folder / "table2.png")
    name, maps = subject_maps(folder / WORK, scale, seed=seed)
    draw_methods(maps, f"{name}: the truth and all methods", folder / "table2-maps.png")
    return text


def compare_methods(
    folder: Path,
    scale: Scale,
    *,
    labels: Labels = "match",
    seed: int = 0,
    device: torch.device = CPU,
    progress: Progress = SILENT,
) -> list[Row]:
    """Train all networks, and score them and matching on the test subjects.

    Parameters
    ----------
    folder
        Where frames, models, maps and scores are kept; what is there from the same study is not made again.
    scale
        How large a study.
    labels
        What networks learn: matching on the grid, as published, or the truth.
    seed
        Of the cohort and of every training.
    device
        Where to match, train and infer.
    progress
        Told of every stage.

    Returns
    -------
        All numbers of the table, by method, reference, map and metric.

    Raises
    ------
    MismatchError
        If the folder holds another study.
    ResourceError
        If the frames to train on do not fit into memory, or the disk is full.
    """
    scans = _scans(folder, scale, seed, device)
    _claim(folder, {"scale": asdict(scale), "labels": labels, "seed": seed, "protocol": scans.protocol.hash})
    study = _Study(folder=folder, scale=scale, labels=labels, seed=seed, device=device, scans=scans, progress=progress)
    study.scan_all()
    return [row for method in ALL_METHODS for row in study.rows(method)]


def subject_maps(folder: Path, scale: Scale, *, seed: int = 0) -> tuple[str, dict[str, ParameterMaps]]:
    """Read the maps of the first test subject: the truth and, by name, all methods', after `compare_methods`."""
    scans = _scans(folder, scale, seed, CPU)
    subject = scans.cohort.split("testing")[0]
    truth = {"truth": scans.phantom(subject).maps}
    return subject.name, truth | {method: scans.load(method, subject) for method in ALL_METHODS}


def _scans(folder: Path, scale: Scale, seed: int, device: torch.device) -> ScannedCohort:
    return ScannedCohort(
        draw_cohort(scale.n_subjects, seed=seed),
        _protocol(scale.matrix),
        n_slices=scale.n_slices,
        n_coils=scale.n_coils,
        folder=folder,
        device=device,
    )


def _protocol(matrix: int) -> Protocol:
    """Put the paper's protocol on a matrix; the field of view stays."""
    text = load_protocol("t1ff").toml
    return parse_protocol(re.sub(r"^matrix = .*$", f"matrix = {matrix}", text, flags=re.MULTILINE), "t1ff")


def _claim(folder: Path, settings: Mapping[str, object]) -> None:
    """Say in the folder which study it holds, and refuse that of another."""
    path, text = folder / SETTINGS, json.dumps(settings, indent=1, sort_keys=True)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise MismatchError(f"{folder} holds a study of other settings, see {path}; choose another -o or delete it.")
    with writing(path, force=True) as partial:
        partial.write_text(text, encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Study:
    """One run: every step leaves a file and is left out when that is there."""

    folder: Path
    scale: Scale
    labels: Labels
    seed: int
    device: torch.device
    scans: ScannedCohort
    progress: Progress

    def scan_all(self) -> None:
        """Make the frames of all subjects, and match those whose matched maps are needed."""
        subjects, advance = self.scans.cohort.subjects, self.progress("scan and match")
        for done, subject in enumerate(subjects, start=1):
            self.scans.make(subject)
            if self.labels == "match" or subject.split == "testing":
                self.scans.matched(subject, "match")
            advance(done, len(subjects))

    def rows(self, method: str) -> list[Row]:
        """Score a method on the test subjects, or read the scores."""
        path = self.folder / "scores" / f"{method}.json"
        if not path.exists():
            model = None if method in MATCHINGS else self._model(method)
            subjects, advance = self.scans.cohort.split("testing"), self.progress(f"test {method}")
            scores = []
            for done, subject in enumerate(subjects, start=1):
                maps = self.scans.matched(subject, method) if model is None else self._infer(model, method, subject)
                phantom = self.scans.phantom(subject)
                for against in REFERENCES:
                    if method != against:  # matching against itself says nothing
                        reference = phantom.maps if against == "truth" else self.scans.matched(subject, "match")
                        scores += score(maps, reference, phantom.rois, subject=subject.name, against=against)
                advance(done, len(subjects))
            save_scores(scores, path)
        return summarise(method, load_scores(path))

    def _infer(self, model: TrainedModel, method: str, subject: Subject) -> ParameterMaps:
        began = time.time()
        maps = reconstruct(self.scans.series(subject), model, self.scans.protocol, device=self.device)
        self.scans.keep(maps, method, subject, began)
        return maps

    def _model(self, method: str) -> TrainedModel:
        """Train a network, or go on with its training, or read it."""
        folder = self.folder / "models" / method
        if not folder.exists():
            model = self._train(method)
            with writing_folder(folder, force=False, marker=DESCRIPTION_FILE) as partial:
                save_model(model, partial)
            for checkpoint in folder.parent.glob(f"{method}.checkpoint*"):
                checkpoint.unlink()
        return load_model(folder, self.device)

    def _train(self, method: str) -> TrainedModel:
        training, validation = (self.scans.cohort.split(split) for split in ("training", "validation"))
        self.scans.check_memory(len(training) + len(validation))
        advance = self.progress(f"train {method}")
        return train_stages(
            self.scale.stages[method],
            [self.scans.series(subject) for subject in training],
            [self._label(subject) for subject in training],
            protocol=self.scans.protocol,
            device=self.device,
            seed=self.seed,
            progress=lambda epoch, n_epochs, _: advance(epoch, n_epochs),
            checkpoint=self.folder / "models" / f"{method}.checkpoint",
            validation=(
                [self.scans.series(subject) for subject in validation],
                [self._label(subject) for subject in validation],
            ),
        )

    def _label(self, subject: Subject) -> ParameterMaps:
        return self.scans.phantom(subject).maps if self.labels == "truth" else self.scans.matched(subject, "match")
