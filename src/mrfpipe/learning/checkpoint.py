"""Checkpoint: the whole state of a training in one file, from which an interrupted training continues unchanged.

It is a safetensors file: weights and the optimiser's moments are tensors, everything else is JSON in the file's header.
No random state is stored, since seed and epoch determine all random choices.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mrfpipe.errors import InputError, MismatchError
from mrfpipe.learning.network import MapNetwork

SCHEMA = "mrfpipe-checkpoint/1"


@dataclass(slots=True, kw_only=True, eq=False)
class TrainingState:
    """The part of a training that changes from epoch to epoch."""

    network: MapNetwork
    """The network as it is now."""
    optimiser: torch.optim.Adam
    """Its optimiser, with the moments of every parameter."""
    losses: list[float] = field(default_factory=list)
    """Training loss of every finished epoch."""
    validation_losses: list[float] = field(default_factory=list)
    """Validation loss of every finished epoch, if there is validation data."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """The network's tensors after the epoch with the largest mean explained variance of the validation data, if any."""

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.losses)


def save_checkpoint(path: Path, state: TrainingState, settings: Mapping[str, Any]) -> None:
    """Write the state of a training; an older checkpoint is replaced only when the new one is complete.

    `settings` describe, as plain values, what is trained and how.
    """
    from safetensors.torch import save_file

    tensors = {f"network.{name}": tensor for name, tensor in state.network.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    for index, moments in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": tensor for name, tensor in moments.items()}
    header = {"losses": state.losses, "validation_losses": state.validation_losses, "settings": dict(settings)}
    temporary = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        temporary,
        {"schema": SCHEMA, "training": json.dumps(header)},
    )
    temporary.replace(path)


def load_checkpoint(path: Path, state: TrainingState, settings: Mapping[str, Any]) -> None:
    """Restore the state of a training that `save_checkpoint` wrote.

    `state` is the state of a new training and is changed in place; `settings` must equal those the checkpoint was
    written with.

    InputError if the file is damaged or is not a checkpoint; MismatchError if it belongs to another training.
    """
    from safetensors import SafetensorError, safe_open

    broken = InputError(f"{path} is not a whole checkpoint; delete it to train anew.")
    if not path.is_file():  # a pipe would never end
        raise broken
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        if metadata["schema"] != SCHEMA:
            raise InputError(f"{path} has schema {metadata['schema']!r}, this version reads {SCHEMA!r}; train anew.")
        header = json.loads(metadata["training"])
        found = header["settings"]
        differing = sorted(key for key in found.keys() | settings.keys() if found.get(key) != settings.get(key))
        if differing:
            raise MismatchError(
                f"{path} is the checkpoint of another training (its {' and '.join(differing)} differ); "
                "delete it, or train with the same settings."
            )
        _restore(state, tensors)
        state.losses = [float(loss) for loss in header["losses"]]
        state.validation_losses = [float(loss) for loss in header["validation_losses"]]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as e:
        raise broken from e


def _restore(state: TrainingState, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} is not finite")
    state.network.load_state_dict(_below(tensors, "network."))
    device = state.network.output.weight.device
    state.best = {name: tensor.to(device, copy=True) for name, tensor in _below(tensors, "best.").items()}
    moments: dict[int, dict[str, Tensor]] = {}
    for index, parameter in enumerate(state.network.parameters()):
        stored = _below(tensors, f"optimiser.{index}.")
        # In the memory order of the parameter, because sums in another order would round differently.
        averages = {name: torch.empty_like(parameter).copy_(stored[name]) for name in ("exp_avg", "exp_avg_sq")}
        moments[index] = {"step": stored["step"].clone(), **averages}
    groups = state.optimiser.state_dict()["param_groups"]
    state.optimiser.load_state_dict({"state": moments, "param_groups": groups})


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
