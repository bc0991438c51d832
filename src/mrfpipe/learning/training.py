"""Training: a network learns to turn frames, or their coefficients, into maps.

Section 2.5 of Balsiger et al., Med Image Anal 64:101741 (2020): Adam minimises the mean squared error of all maps,
scaled to 0..1, over the foreground. Seed and epoch determine every random choice, so a training that is interrupted and
resumed from its checkpoint, on the same machine with the same number of threads, ends with exactly the weights of an
uninterrupted one; elsewhere, sums are taken in another order and round differently. Started by ``torchrun``, several
processes train one network together.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import MismatchError, ResourceError
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.learning.architecture import Architecture
from mrfpipe.learning.checkpoint import TrainingState, load_checkpoint
from mrfpipe.learning.competitors import Competitor
from mrfpipe.learning.distributed import joined_team, normalise_as_team
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.engine import Run, run_epochs
from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.network import MapNetwork, initial_network
from mrfpipe.learning.patches import TrainingData
from mrfpipe.learning.presets import Preset
from mrfpipe.learning.scaling import UNSCALED, MapScaling, SignalScaling
from mrfpipe.maps import ParameterMaps
from mrfpipe.physics import simulate
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.progress import Epochs
from mrfpipe.protocol import Protocol

Precision = Literal["auto", "float32", "bfloat16"]
"""Precision of all layers but the last; ``auto`` is bfloat16 on a GPU that supports it and float32 elsewhere."""

BETAS = (0.9, 0.999)


def train(
    series: Sequence[FrameSeries],
    labels: Sequence[ParameterMaps],
    *,
    preset: Preset,
    protocol: Protocol,
    signal_model: SignalModel | None = None,
    device: torch.device,
    seed: int = 0,
    progress: Epochs | None = None,
    checkpoint: Path | None = None,
    validation: tuple[Sequence[FrameSeries], Sequence[ParameterMaps]] | None = None,
    initial: Mapping[str, Tensor] | None = None,
    precision: Precision = "auto",
    log: Path | None = None,
    board: Path | None = None,
) -> TrainedModel:
    """Train a network on scans whose maps are known.

    Parameters
    ----------
    series, labels
        The scans, which may be read lazily, when they are indexed, and the maps of each. If the scans hold
        coefficients, the network reads the first of these, as many as the preset's rank, instead of encoding frames.
    preset, device
        The network and how and where to train it.
    protocol
        The protocol of all scans; the limits of its grid scale the maps.
    signal_model
        Signal model behind the labels: that of the dictionary they were matched with, or of the phantoms' scans; by
        default that of `mrfpipe.physics.simulate.signal_model`. The network uses the same model to encode frames and to
        compare its maps with the frames.
    seed
        Determines initial weights and patches.
    progress
        Called after every epoch, when its checkpoint is written.
    checkpoint
        File to write the state to after every epoch; if it exists already, training continues from it.
    validation
        Scans and maps that are not trained on; the weights of the epoch with the largest explained variance, averaged
        over the maps, are returned instead of those of the last epoch.
    initial
        Initial tensors that replace random ones, by their names in the network; names that it does not have are
        ignored.
    precision
        Precision of all layers but the last; the last layer, weights, losses and updates are always float32.
    log, board
        As for `mrfpipe.learning.journal.Journal`: loss, learning rate, validation, duration and time left in s.

    Returns
    -------
        The model. In a team, every process gets the same model, but only the leader writes files and calls `progress`.

    Raises
    ------
    MismatchError
        If scans, maps, protocol, initial tensors and checkpoint do not fit each other.
    InputError
        If a scan has no signal, foreground or finite values to learn from, no validation map varies, the checkpoint or
        the log is damaged, a batch is too small to be shared among the processes, or the loss becomes infinite or NaN.
    ResourceError
        If the device does not support the precision, or TensorBoard is not installed.
    """
    signal_model = simulate.signal_model(protocol) if signal_model is None else signal_model
    _check_sequence(chain(series, () if validation is None else validation[0]), protocol)
    encoding = _encoding(series, preset, protocol, signal_model)
    rank = None if encoding is None else encoding.mean.size
    architecture = replace(preset, rank=rank).architecture(protocol.sequence.n_frames, len(protocol.parameters))
    data = _data(series, labels, preset, protocol, encoding, architecture.margin)
    held_out = None if validation is None else _data(*validation, preset, protocol, encoding, architecture.margin)
    settings = _settings(preset, protocol, seed, data, held_out)
    settings |= {
        "signal_model": str(signal_model),
        "input": series[0].kind,
        "precision": resolve_precision(precision, device),
        "initial": _digest(initial),
    }
    with joined_team(device) as (team, own_device):
        network = _begin(architecture, seed, initial)
        network = network.to(own_device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if team.size > 1:
            normalise_as_team(network)
        run = Run(
            state=TrainingState(
                network=network,
                optimiser=torch.optim.Adam(network.parameters(), lr=preset.learning_rate, betas=BETAS),
            ),
            data=data,
            held_out=held_out,
            preset=preset,
            seed=seed,
            team=team,
            autocast=torch.autocast(device.type, torch.bfloat16, enabled=settings["precision"] == "bfloat16"),
        )
        if checkpoint is not None and checkpoint.exists():
            load_checkpoint(checkpoint, run.state, settings)
        run_epochs(run, settings, progress, checkpoint, (log, board))
    return TrainedModel(
        network=run.state.network.requires_grad_(requires_grad=False).eval(),
        architecture=architecture,
        scaling=data.map_scaling,
        encoding=encoding,
        sequence_hash=protocol.sequence.hash,
        protocol_hash=protocol.hash,
        protocol_toml=protocol.toml,
        signal_model=signal_model,
        record={**settings, "losses": run.state.losses, "validation_losses": run.state.validation_losses},
    )


def _begin(architecture: Architecture | Competitor, seed: int, initial: Mapping[str, Tensor] | None) -> MapNetwork:
    generator = torch.Generator().manual_seed(seed)
    network: MapNetwork
    if isinstance(architecture, Architecture):
        network = initial_network(architecture, generator)
    else:
        network = architecture.initial(generator)
    tensors = network.state_dict()
    known = {name: tensor for name, tensor in (initial or {}).items() if name in tensors}
    for name, tensor in known.items():
        if tensor.shape != tensors[name].shape:
            raise MismatchError(
                f"Initial tensor {name} has shape {tuple(tensor.shape)}, the network to train "
                f"{tuple(tensors[name].shape)}; start from a network of the same inputs."
            )
    network.load_state_dict({**tensors, **known})
    return network


def _digest(tensors: Mapping[str, Tensor] | None) -> str | None:
    if tensors is None:
        return None
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def resolve_precision(precision: Precision, device: torch.device) -> str:
    """Return the precision that ``auto`` stands for, or check that the device supports the one requested.

    ResourceError if the device does not support it.
    """
    able = device.type != "cuda" or torch.cuda.is_bf16_supported()
    if precision == "auto":
        return "bfloat16" if device.type == "cuda" and able else "float32"
    if precision == "bfloat16" and not able:
        raise ResourceError(f"{device} does not compute in bfloat16; train with precision float32.")
    return precision


def _check_sequence(series: Iterable[FrameSeries], protocol: Protocol) -> None:
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


def _encoding(
    series: Sequence[FrameSeries], preset: Preset, protocol: Protocol, signal_model: SignalModel
) -> Encoding | None:
    """Measure the encoding: for coefficients, in the first scan's basis; for frames, only if the preset has a rank."""
    basis = series[0].basis if len(series) else None
    if basis is not None:
        return Encoding.of(np.ascontiguousarray(basis[:, : preset.rank]), series)
    if preset.rank is None:
        return None
    return Encoding.of(build_dictionary(protocol, model=signal_model, rank=preset.rank).basis, series)


def _data(
    series: Sequence[FrameSeries],
    labels: Sequence[ParameterMaps],
    preset: Preset,
    protocol: Protocol,
    encoding: Encoding | None,
    margin: int,
) -> TrainingData:
    return TrainingData(
        series if encoding is None else [encoding.encode(scan) for scan in series],
        labels,
        map_scaling=MapScaling.of(protocol),
        patch_size=preset.patch_size,
        receptive_field=2 * margin + 1,
        scale=SignalScaling.of if encoding is None else lambda _: UNSCALED,
    )


def _settings(
    preset: Preset, protocol: Protocol, seed: int, data: TrainingData, held_out: TrainingData | None
) -> dict[str, Any]:
    """Describe what is trained, on what and how, in plain values; trainings with equal settings give equal results."""

    def scans(data: TrainingData) -> list[dict[str, Any]]:
        return [
            {"name": scan.name, "voxels": int(foreground.sum()), **asdict(scaling)}
            for scan, foreground, scaling in zip(data.series, data.foregrounds, data.signal_scalings, strict=True)
        ]

    return {
        "preset": json.loads(json.dumps(asdict(preset))),  # as read back from a checkpoint, with tuples as lists
        "protocol": protocol.hash,
        "seed": seed,
        "n_epochs": preset.n_epochs,
        "scans": scans(data),
        "validation": [] if held_out is None else scans(held_out),
    }
