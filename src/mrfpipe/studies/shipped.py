"""The shipped model: how the network that comes with the package is made, on a CPU or, larger, on a GPU.

The training and validation subjects of the cohort are drawn, scanned and reconstructed frame by frame, and only the
coefficients of the frames in the dictionary's basis are kept, which is all that the network looks at. Scans differ in
coils and noise, and about every second subject has texture, so that the network does not rely on tissue being smooth.
Labels are the truth. What is made is kept, and an interrupted run goes on where it was.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import overload

import numpy as np
import torch

from mrfpipe.arrays import Complex
from mrfpipe.dictionary import build_dictionary
from mrfpipe.files.atomic import writing
from mrfpipe.files.frames import load_frames, save_frames
from mrfpipe.files.kinds import DESCRIPTION_FILE
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.reconstruction import Reconstruction
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.model import TrainedModel, load_model, save_model
from mrfpipe.learning.presets import Preset
from mrfpipe.learning.training import train
from mrfpipe.maps import ParameterMaps
from mrfpipe.phantom.cohort import PAPER_SIZE, Subject, draw_cohort
from mrfpipe.phantom.scanner import scan
from mrfpipe.phantom.texture import textured
from mrfpipe.phantom.truth import Phantom
from mrfpipe.progress import Progress
from mrfpipe.protocol import Protocol
from mrfpipe.run.record import Record
from mrfpipe.studies.scanned import claim

FEWEST_COILS, MOST_COILS = 4, 6
NOISIEST, QUIETEST = 2000.0, 8000.0
"""Signal-to-noise ratio of a scan, drawn evenly in its logarithm; see `mrfpipe.phantom.scanner.scan`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a model is made of."""

    preset: Preset
    """The network and its training."""
    n_subjects: int = PAPER_SIZE
    """Size of the cohort, of which 94 of 164 are for training."""
    n_validation: int = 20
    """Subjects to choose the best epoch by."""
    n_test: int = 50
    """Test subjects to compare it with matching on."""
    n_slices: int = 5
    """Slices of each."""


def _preset(name: str, n_parameters: int, **training: object) -> Preset:
    """Set what both scales share."""
    shared = Preset(
        name=name,
        receptive_field=15,
        n_parameters=n_parameters,
        rank=16,
        final_learning_rate=1e-5,
        weighted=True,
        settled=0.3,
        only_where_counts=True,
    )
    return replace(shared, **training)  # type: ignore[arg-type]


WEIGHTS = {"T1H2O": 2.0, "T1fat": 0.1, "df": 4.0}
"""Weights that make the squared errors of a good network about alike in all maps; 1 for the others."""
RECIPES = {
    "small": Recipe(
        preset=_preset(
            "shipped-small",
            300_000,
            spatial_stop=24,
            spatial_step=8,
            temporal_stop=16,
            temporal_step=8,
            patch_size=24,
            n_epochs=30,
            learning_rate=3e-3,
        ),
        n_subjects=132,
        n_validation=6,
        n_test=4,
        n_slices=1,
    ),
    "paper": Recipe(preset=_preset("shipped", 5_000_000)),
}
"""``small``: the model that is shipped, made in about an hour by two cores shared with other work; ``paper``: the full
architecture, for a GPU, never run so far, with 9 GB of coefficients in files and again in memory."""


class CompressedFrames(Sequence[FrameSeries]):
    """Frames of scans of which only the coefficients are kept in files: what the basis holds of the frames."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> FrameSeries: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FrameSeries]: ...
    def __getitem__(self, index: int | slice) -> FrameSeries | Sequence[FrameSeries]:
        """Read a scan."""
        if isinstance(index, slice):
            return CompressedFrames(self._paths[index])
        series = load_frames(self._paths[index])
        frames = np.tensordot(series.images, np.asarray(series.basis), ((1,), (1,)))
        return replace(series, images=np.ascontiguousarray(np.moveaxis(frames, -1, 1)), basis=None)


def make_model(
    folder: Path, recipe: Recipe, protocol: Protocol, *, seed: int, device: torch.device, progress: Progress
) -> TrainedModel:
    """Make the scans, train the network and keep it in ``network`` below the folder; what is there is not made again.

    MismatchError if the folder holds a model of another recipe.
    """
    made_of = {key: value for key, value in asdict(recipe).items() if key != "n_test"}
    claim(folder / "recipe.json", {"recipe": made_of, "seed": seed, "protocol": protocol.hash})
    target = folder / "network"
    if target.exists():
        return load_model(target, device)
    cohort = draw_cohort(recipe.n_subjects, seed=seed)
    training, validation = cohort.split("training"), cohort.split("validation")[: recipe.n_validation]
    subjects = (*training, *validation)
    basis = build_dictionary(protocol, rank=recipe.preset.rank).basis
    advance = progress("scan")
    for done, subject in enumerate(subjects, start=1):
        if not (path := _path(folder, subject)).exists():
            _scan(subject, path, recipe, protocol, basis)
        advance(done, len(subjects))
    advance = progress("train")
    checkpoint = folder / "checkpoint"
    frames, labels = _examples(folder, training, recipe, protocol)
    protocol = _weighted(protocol)
    model = train(
        frames,
        labels,
        preset=recipe.preset,
        protocol=protocol,
        device=device,
        seed=seed,
        progress=lambda epoch, n_epochs, _: advance(epoch, n_epochs),
        checkpoint=checkpoint,
        validation=_examples(folder, validation, recipe, protocol),
        precision="bfloat16",
        log=folder / "log.jsonl",
    )
    with writing(target, force=False, marker=DESCRIPTION_FILE) as partial:
        save_model(model, partial)
    checkpoint.unlink(missing_ok=True)
    return model


def _weighted(protocol: Protocol) -> Protocol:
    """Give every parameter the weight that it is learned with."""
    weighted = tuple(replace(p, weight=WEIGHTS.get(p.name, 1.0)) for p in protocol.parameters)
    return replace(protocol, parameters=weighted)


def subject_phantom(subject: Subject, recipe: Recipe, protocol: Protocol) -> Phantom:
    """Draw a subject; those of an odd seed, about half, have texture."""
    phantom = subject.as_scanned(protocol.sequence, recipe.n_slices)
    return textured(phantom, protocol.grid, seed=subject.seed) if subject.seed % 2 else phantom


def reconstruction_of(subject: Subject, recipe: Recipe, protocol: Protocol) -> Reconstruction:
    """Scan a subject, with coils and noise of its own, to reconstruct the frames."""
    rng = np.random.default_rng([subject.seed, 0])
    raw = scan(
        subject_phantom(subject, recipe, protocol),
        protocol,
        n_coils=int(rng.integers(FEWEST_COILS, MOST_COILS + 1)),
        snr=float(np.exp(rng.uniform(np.log(NOISIEST), np.log(QUIETEST)))),
        seed=subject.seed,
        name=subject.name,
    )
    return Reconstruction(raw, protocol.sequence, Imaging(backend="finufft"))


def _scan(subject: Subject, path: Path, recipe: Recipe, protocol: Protocol, basis: Complex) -> None:
    """Keep the coefficients of a subject's frames, which are projected slice by slice."""
    record = Record(command=["study", "model"], seed=subject.seed)
    save_frames(
        (
            replace(
                series,
                images=np.ascontiguousarray(
                    np.moveaxis(np.tensordot(series.images, basis.conj(), ((1,), (0,))), -1, 1)
                ),
                basis=basis,
            )
            for series in reconstruction_of(subject, recipe, protocol)
        ),
        path,
        protocol=protocol,
        provenance=lambda: record.provenance(
            recipe=None,
            inputs={},
            protocol=protocol,
            method="adjoint NUFFT, projected onto the dictionary's basis",
            device="cpu",
        ),
    )


def _examples(
    folder: Path, subjects: Sequence[Subject], recipe: Recipe, protocol: Protocol
) -> tuple[CompressedFrames, list[ParameterMaps]]:
    frames = CompressedFrames([_path(folder, subject) for subject in subjects])
    return frames, [subject_phantom(subject, recipe, protocol).maps for subject in subjects]


def _path(folder: Path, subject: Subject) -> Path:
    return folder / "coefficients" / f"{subject.name}.h5"
