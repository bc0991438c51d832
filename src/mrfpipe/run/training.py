"""Training: from scans whose maps are known to a network on disk."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from mrfpipe.dictionary import Dictionary
from mrfpipe.errors import InputError
from mrfpipe.files.atomic import writing
from mrfpipe.files.dictionaries import load_dictionary
from mrfpipe.files.kinds import DESCRIPTION_FILE
from mrfpipe.files.truth import load_truth, truth_path
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


def train_network(
    scans: Sequence[Path],
    target: Path,
    *,
    preset: str,
    validation: Sequence[Path],
    dictionary: Path | None,
    protocol: Protocol,
    signal_model: SignalModel,
    n_epochs: int | None,
    precision: Precision,
    seed: int,
    device: torch.device,
    checkpoint: Path,
    resume: bool,
    log: Path | None,
    board: Path | None,
    force: bool,
    progress: Progress,
    tell: Epochs,
) -> TrainedModel | None:
    """Train a network and write its folder, telling of every epoch; None for processes that are not to tell of it.

    It learns from raw scans or frames files, and the best epoch is chosen by those for validation, if there are any.
    They are matched with the dictionary for their maps, which then says protocol and signal model; without one the
    truth beside each of them is learned. Epochs are the preset's if not given. The checkpoint is where the state is
    kept, and dropped unless the training is to resume there.

    InputError if a scan, its truth or the dictionary cannot be read; other errors as of `train_stages`.
    """
    if not resume and is_leader():
        _drop(checkpoint)
    matched = None if dictionary is None else load_dictionary(dictionary)
    if matched is not None:
        protocol, signal_model = matched.protocol, matched.model
    series, known = _learned(scans, protocol, matched, progress)
    stages = METHODS.get(preset) or (PRESETS[preset],)
    if n_epochs is not None:
        stages = tuple(replace(stage, n_epochs=n_epochs) for stage in stages)
    model = train_stages(
        stages,
        series,
        known,
        protocol=protocol,
        signal_model=signal_model,
        device=device,
        seed=seed,
        progress=tell,
        checkpoint=checkpoint,
        validation=_learned(validation, protocol, matched, progress) if validation else None,
        precision=precision,
        log=log,
        board=board,
    )
    if not is_leader():
        return None
    with writing(target, force=force, marker=DESCRIPTION_FILE) as partial:
        save_model(model, partial)
    _drop(checkpoint)
    return model


def _learned(scans: Sequence[Path], protocol: Protocol, dictionary: Dictionary | None, progress: Progress) -> Known:
    """Read scans with the truth beside them, or match them on the dictionary's grid."""
    known = [_truth(scan, protocol) for scan in scans] if dictionary is None else []  # before the work
    series = [load_series(scan, protocol, progress) for scan in scans]
    if dictionary is not None:
        known = [match_series(one, dictionary, refined=False, progress=progress("match"))[0] for one in series]
    return series, known


def _truth(scan: Path, protocol: Protocol) -> ParameterMaps:
    maps = load_truth(scan, protocol.parameters)
    if maps is None:
        raise InputError(f"{truth_path(scan)} does not exist; --labels match -d DICT.h5 learns from matching instead.")
    return maps


def _drop(checkpoint: Path) -> None:
    """Remove the checkpoints of a training and of its earlier stages."""
    for path in (checkpoint, *checkpoint.parent.glob(f"{checkpoint.name}.*")):
        path.unlink(missing_ok=True)
