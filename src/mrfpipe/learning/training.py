"""Training: a network learns to turn frames, or their coefficients, into maps.

Section 2.5 of Balsiger et al., Med Image Anal 64:101741 (2020): Adam on the mean squared error of all maps scaled to
0..1, over the foreground alone. Seed and epoch decide every random choice, so a training that is interrupted and taken
up again from its checkpoint ends with the very weights of one that was not.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import InputError, MismatchError
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.network import initial_network
from mrfpipe.learning.patches import Batch, Position, TrainingData
from mrfpipe.learning.presets import Preset
from mrfpipe.learning.scaling import UNSCALED, MapScaling, SignalScaling
from mrfpipe.maps import ParameterMaps
from mrfpipe.protocol import Protocol

Progress = Callable[[int, int, float], None]
"""Called after an epoch with the number of epochs done, the number of all epochs and the epoch's training loss."""

BETAS = (0.9, 0.999)


def train(
    series: Sequence[FrameSeries],
    labels: Sequence[ParameterMaps],
    *,
    preset: Preset,
    protocol: Protocol,
    device: torch.device,
    seed: int = 0,
    n_epochs: int | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    validation: tuple[Sequence[FrameSeries], Sequence[ParameterMaps]] | None = None,
) -> TrainedModel:
    """Train a network on scans whose maps are known.

    Parameters
    ----------
    series
        The scans; may read them when indexed. If they hold coefficients, the network reads as many of those as the
        preset's rank, in the place of coefficients made from frames.
    labels
        The maps of each scan.
    preset
        The network and how to train it.
    protocol
        The protocol of all scans; the ends of its grid scale the maps.
    device
        Where to train.
    seed
        Decides initial weights and patches.
    n_epochs
        How often to go through the data, if not as often as the preset says.
    progress
        Called after every epoch, when its checkpoint is written.
    checkpoint
        File to write the state to after every epoch; if it is there already, training goes on from it.
    validation
        Scans and maps that are not trained on; the weights of the epoch that fits them best are returned, instead of
        those of the last epoch.

    Raises
    ------
    MismatchError
        If scans, maps, protocol and checkpoint do not fit each other.
    InputError
        If a scan cannot be trained on, the checkpoint is damaged, or the loss is not finite any more.
    """
    n_epochs = preset.n_epochs if n_epochs is None else n_epochs
    _check_sequence([*series, *([] if validation is None else validation[0])], protocol)
    encoding = _encoding(series, preset, protocol)
    data = _data(series, labels, preset, protocol, encoding)
    held_out = None if validation is None else _data(*validation, preset, protocol, encoding)
    rank = None if encoding is None else encoding.mean.size
    architecture = replace(preset, rank=rank).architecture(protocol.sequence.n_frames)
    network = initial_network(architecture, torch.Generator().manual_seed(seed))
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = TrainingState(
        network=network, optimiser=torch.optim.Adam(network.parameters(), lr=preset.learning_rate, betas=BETAS)
    )
    settings = _settings(preset, protocol, seed, n_epochs, data, held_out) | {"input": series[0].kind}
    if checkpoint is not None and checkpoint.exists():
        load_checkpoint(checkpoint, state, settings)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        while state.epoch < n_epochs:
            _run_epoch(state, data, preset, seed, n_epochs)
            if held_out is not None:
                _validate(state, held_out, preset)
            if checkpoint is not None:
                save_checkpoint(checkpoint, state, settings)
            if progress is not None:
                progress(state.epoch, n_epochs, state.losses[-1])
    if state.best:
        network.load_state_dict(state.best)
    return TrainedModel(
        network=network.requires_grad_(requires_grad=False).eval(),
        architecture=architecture,
        scaling=data.map_scaling,
        encoding=encoding,
        sequence_hash=protocol.sequence.hash,
        protocol_hash=protocol.hash,
        protocol_toml=protocol.toml,
        record={**settings, "losses": state.losses, "validation_losses": state.validation_losses},
    )


def masked_mse(estimate: Tensor, batch: Batch) -> Tensor:
    """Mean squared error of all maps over the foreground; how much air a patch holds does not dilute it."""
    squares = (estimate - batch.maps).square() * batch.foreground
    return squares.sum() / (batch.foreground.sum() * estimate.shape[1])


def learning_rate(preset: Preset, progress: float) -> float:
    """Adam's learning rate when a share `progress`, 0 to 1, of the training is done."""
    fall = preset.learning_rate - preset.final_learning_rate
    return preset.final_learning_rate + fall * (1 + math.cos(math.pi * progress)) / 2


def _check_sequence(series: Sequence[FrameSeries], protocol: Protocol) -> None:
    ranks: dict[str, int | None] = {}
    for scan in series:
        if scan.sequence_hash != protocol.sequence.hash or scan.n_frames != protocol.sequence.n_frames:
            raise MismatchError(
                f"{scan.name} has {scan.n_frames} frames of sequence {scan.sequence_hash[:12]}, protocol "
                f"{protocol.name} {protocol.sequence.n_frames} of {protocol.sequence.hash[:12]}; "
                "train on scans of one protocol."
            )
        rank = None if scan.basis is None else scan.basis.shape[1]
        if rank != ranks.setdefault("first", rank):
            raise MismatchError(
                f"{scan.name} holds {scan.kind} and other scans do not, or at another rank; train on scans that were "
                "reconstructed alike."
            )


def _encoding(series: Sequence[FrameSeries], preset: Preset, protocol: Protocol) -> Encoding | None:
    """Measure the encoding: of coefficients, in the first scan's basis; of frames, if the preset has a rank."""
    basis = series[0].basis if len(series) else None
    if basis is not None:
        return Encoding.of(np.ascontiguousarray(basis[:, : preset.rank]), series)
    return None if preset.rank is None else Encoding.of(build_dictionary(protocol, rank=preset.rank).basis, series)


def _data(
    series: Sequence[FrameSeries],
    labels: Sequence[ParameterMaps],
    preset: Preset,
    protocol: Protocol,
    encoding: Encoding | None,
) -> TrainingData:
    return TrainingData(
        series if encoding is None else [encoding.encode(scan) for scan in series],
        labels,
        map_scaling=MapScaling.of(protocol.grid),
        patch_size=preset.patch_size,
        receptive_field=preset.receptive_field,
        scale=SignalScaling.of if encoding is None else lambda _: UNSCALED,
    )


def _settings(
    preset: Preset, protocol: Protocol, seed: int, n_epochs: int, data: TrainingData, held_out: TrainingData | None
) -> dict[str, Any]:
    """Say what is trained, on what and how, in plain values; two trainings of equal settings end alike."""

    def scans(data: TrainingData) -> list[dict[str, Any]]:
        return [
            {"name": scan.name, "voxels": int(foreground.sum()), **asdict(scaling)}
            for scan, foreground, scaling in zip(data.series, data.foregrounds, data.signal_scalings, strict=True)
        ]

    return {
        "preset": asdict(preset),
        "protocol": protocol.hash,
        "seed": seed,
        "n_epochs": n_epochs,
        "scans": scans(data),
        "validation": [] if held_out is None else scans(held_out),
    }


def _run_epoch(state: TrainingState, data: TrainingData, preset: Preset, seed: int, n_epochs: int) -> None:
    """Go through the data once and note the mean loss over its foreground."""
    positions = data.positions(np.random.default_rng([seed, state.epoch]))
    n_steps = math.ceil(len(positions) / preset.batch_size)
    device = state.network.output.weight.device
    state.network.train()
    total, count = torch.zeros((), device=device), torch.zeros((), device=device)
    for step, batch in enumerate(data.batches(positions, preset.batch_size)):
        on_device = batch.to(device)
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate(preset, (state.epoch + step / n_steps) / n_epochs)
        state.optimiser.zero_grad()
        loss = masked_mse(state.network(on_device.frames), on_device)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimiser.step()
        total += loss.detach() * on_device.foreground.sum()
        count += on_device.foreground.sum()
    mean = float(total / count)
    if not math.isfinite(mean):
        raise InputError(
            f"Training diverged in epoch {state.epoch + 1} of {n_epochs}: the loss is not finite. Lower the learning "
            f"rate of preset {preset.name} ({preset.learning_rate:g}), or check the frames and maps of the scans."
        )
    state.losses.append(mean)


def _validate(state: TrainingState, data: TrainingData, preset: Preset) -> None:
    """Note the loss over the held-out foreground and keep the weights if it is the least so far."""
    device = state.network.output.weight.device
    state.network.eval()
    total, count = 0.0, 0.0
    positions: list[Position] = data.positions()
    with torch.inference_mode():
        for batch in data.batches(positions, preset.batch_size):
            on_device = batch.to(device)
            n_voxels = float(on_device.foreground.sum())
            total += float(masked_mse(state.network(on_device.frames), on_device)) * n_voxels
            count += n_voxels
    state.validation_losses.append(total / count)
    if state.validation_losses[-1] <= min(state.validation_losses):
        state.best = {name: tensor.clone() for name, tensor in state.network.state_dict().items()}
