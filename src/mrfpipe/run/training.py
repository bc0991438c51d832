"""Training: from scans whose maps are known to a network on disk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mrfpipe.dictionary import Dictionary
from mrfpipe.errors import InputError
from mrfpipe.files.atomic import writing
from mrfpipe.files.dictionaries import load_dictionary
from mrfpipe.files.kinds import DESCRIPTION_FILE
from mrfpipe.files.truth import load_truth, truth_path
from mrfpipe.imaging.choices import Imaging
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.distributed import is_leader
from mrfpipe.learning.methods import METHODS, train_stages
from mrfpipe.learning.model import TrainedModel, save_model
from mrfpipe.learning.presets import PRESETS
from mrfpipe.learning.training import Precision
from mrfpipe.maps import ParameterMaps
from mrfpipe.matching.match import match_series
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.progress import Epochs, Progress
from mrfpipe.protocol import Protocol
from mrfpipe.run.source import load_series

Known = tuple[Sequence[FrameSeries], Sequence[ParameterMaps]]
"""Scans and their maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """What all trainings have in common."""

    target: Path
    """The network's folder."""
    preset: str
    """Name of the network and of how it is trained."""
    protocol: Protocol
    """Protocol of the scans."""
    signal_model: SignalModel
    """Signal model of the scans."""
    n_epochs: int | None
    """Number of epochs; None to train as many as the preset states."""
    seed: int
    """Seed of the random numbers."""
    device: torch.device
    """Device to train on."""
    checkpoint: Path
    """File for the state after every epoch."""
    resume: bool
    """Whether to continue from the checkpoint; otherwise it is deleted."""
    log: Path | None
    """File for one line of JSON per epoch."""
    force: bool
    """Whether an existing network is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob(TrainingSettings):
    """Training of a network on given scans; a dictionary takes the place of protocol and signal model."""

    scans: tuple[Path, ...]
    """Raw scans or frames files to learn from."""
    validation: tuple[Path, ...]
    """Scans by which the best epoch is chosen; empty to use the last epoch."""
    dictionary: Path | None
    """Dictionary that the scans are matched with to get their maps; None to use the truth beside each scan."""
    precision: Precision
    """Precision of the computation."""
    trust_protocol: bool
    """Whether the protocol takes precedence over the header of a scan where they differ."""
    board: Path | None
    """Folder for the same record as `log` for TensorBoard."""

    def run(self, progress: Progress, tell: Epochs) -> TrainedModel | None:
        """Train the network and write it; `tell` is called every epoch. Processes other than the leader return None.

        InputError if a scan, its truth or the dictionary cannot be read; other errors are those of `train_stages`.
        """
        if not self.resume and is_leader():
            _drop(self.checkpoint)
        dictionary = None if self.dictionary is None else load_dictionary(self.dictionary)
        protocol = self.protocol if dictionary is None else dictionary.protocol
        imaging = Imaging(trust_protocol=self.trust_protocol)
        series, known = _learned(self.scans, protocol, dictionary, imaging, progress)
        stages = METHODS.get(self.preset) or (PRESETS[self.preset],)
        if self.n_epochs is not None:
            stages = tuple(replace(stage, n_epochs=self.n_epochs) for stage in stages)
        model = train_stages(
            stages,
            series,
            known,
            protocol=protocol,
            signal_model=self.signal_model if dictionary is None else dictionary.model,
            device=self.device,
            seed=self.seed,
            progress=tell,
            checkpoint=self.checkpoint,
            validation=_learned(self.validation, protocol, dictionary, imaging, progress) if self.validation else None,
            precision=self.precision,
            log=self.log,
            board=self.board,
        )
        if not is_leader():
            return None
        with writing(self.target, force=self.force, marker=DESCRIPTION_FILE) as partial:
            save_model(model, partial)
        _drop(self.checkpoint)
        return model


def _learned(
    scans: Sequence[Path], protocol: Protocol, dictionary: Dictionary | None, imaging: Imaging, progress: Progress
) -> Known:
    """Read scans with the truth beside them, or match them on the dictionary's grid."""
    known = [_truth(scan, protocol) for scan in scans] if dictionary is None else []  # before the work
    series = [load_series(scan, protocol, progress, imaging=imaging) for scan in scans]
    if dictionary is not None:
        known = [match_series(one, dictionary, refined=False, progress=progress("match"))[0] for one in series]
    return series, known


def _truth(scan: Path, protocol: Protocol) -> ParameterMaps:
    maps = load_truth(scan, protocol.parameters)
    if maps is None:
        raise InputError(
            f"{truth_path(scan)} does not exist; use --labels match -d DICT.h5 to learn from matching instead."
        )
    return maps


def _drop(checkpoint: Path) -> None:
    """Remove the checkpoints of a training and of its earlier stages."""
    for path in (checkpoint, *checkpoint.parent.glob(f"{checkpoint.name}.*")):
        path.unlink(missing_ok=True)
