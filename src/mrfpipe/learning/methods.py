"""Methods: the proposed network and the published ones it is compared with, each with its training, by name.

Section 2.6 of Balsiger et al., Med Image Anal 64:101741 (2020): networks that read single fingerprints are trained on
batches of 100 fingerprints for 25 epochs, the two stages of Fang et al. for 75 epochs each. The paper chooses each
learning rate from 0.01, 0.001 and 0.0001 by the validation scans; in the presets here it is 0.001 and can be replaced.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.presets import PRESETS, Preset
from mrfpipe.learning.training import Precision, train
from mrfpipe.maps import ParameterMaps
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.progress import Epochs
from mrfpipe.protocol import Protocol


def _by_fingerprint(network: str, n_parameters: int, n_epochs: int) -> Preset:
    return Preset(
        name=network,
        network=network,
        receptive_field=1,
        n_parameters=n_parameters,
        patch_size=1,
        batch_size=100,
        n_epochs=n_epochs,
    )


METHODS: dict[str, tuple[Preset, ...]] = {
    "proposed": (PRESETS["paper"],),
    "cohen": (_by_fingerprint("cohen", 197_105, 25),),
    "hoppe": (_by_fingerprint("hoppe", 49_715, 25),),
    "oksuz": (_by_fingerprint("oksuz", 118_705, 25),),
    "fang": (
        _by_fingerprint("fang-features", 26_949, 75),
        # Patches must be larger than the receptive field, or padding affects all of their voxels.
        Preset(name="fang", network="fang", receptive_field=54, n_parameters=3_842_069, patch_size=64),
    ),
}
"""The stages in which each method is trained, in order, as in the paper."""


def train_stages(
    stages: Sequence[Preset],
    series: Sequence[FrameSeries],
    labels: Sequence[ParameterMaps],
    *,
    protocol: Protocol,
    signal_model: SignalModel | None = None,
    device: torch.device,
    seed: int = 0,
    progress: Epochs | None = None,
    checkpoint: Path | None = None,
    validation: tuple[Sequence[FrameSeries], Sequence[ParameterMaps]] | None = None,
    precision: Precision = "auto",
    log: Path | None = None,
    board: Path | None = None,
) -> TrainedModel:
    """Train a method stage by stage; each stage starts from the feature layers of the one before.

    Parameters
    ----------
    stages
        The stages, from `METHODS` or changed by ``dataclasses.replace``.
    series, labels, protocol, signal_model, device, seed, progress, checkpoint, validation, precision, log, board
        As for `train`. Files of all stages but the last have the name of the stage's preset appended. With checkpoints,
        an interrupted training continues in the stage it had reached.

    Returns
    -------
        The model of the last stage.

    Raises
    ------
    MismatchError, InputError, ResourceError
        As for `train`.
    """

    def of_stage(path: Path | None, preset: Preset) -> Path | None:
        return path if path is None or preset is stages[-1] else path.with_name(f"{path.name}.{preset.name}")

    features: dict[str, Tensor] | None = None
    for preset in stages:
        model = train(
            series,
            labels,
            preset=preset,
            protocol=protocol,
            signal_model=signal_model,
            device=device,
            seed=seed,
            progress=progress,
            checkpoint=of_stage(checkpoint, preset),
            validation=validation,
            initial=features,
            precision=precision,
            log=of_stage(log, preset),
            board=of_stage(board, preset),
        )
        tensors = model.network.state_dict()
        features = {name: tensor for name, tensor in tensors.items() if name.startswith("features.")}
    return model
