"""Distributed training: several processes, one GPU each, that train on every batch as one process would.

``torchrun`` starts the processes. Each cuts its share of every batch. The sums in the loss, the gradients and the
statistics of batch normalisation run over all shares, so that the global batch and its update are those of a single
process, and results agree up to rounding.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """The processes that train one network together; by default this process alone."""

    rank: int = 0
    """Number of this process; process 0 is the leader, which writes files and reports to the user."""
    size: int = 1
    """Number of all processes."""

    def add(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its sum over the team, and return it."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def add_gradients(self, network: nn.Module) -> None:
        """Replace the gradients of a network by their sums over the team."""
        if self.size == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        summed = self.add(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        parts = torch.split(summed, [gradient.numel() for gradient in gradients])
        for gradient, values in zip(gradients, parts, strict=True):
            gradient.copy_(values.view_as(gradient))

    def wait(self) -> None:
        """Wait until all processes of the team have arrived here."""
        if self.size > 1:
            distributed.barrier()


def is_leader() -> bool:
    """Return whether this process is the one of its team that writes files; a single process always is."""
    return int(os.environ.get("RANK", "0")) == 0 if distributed.is_torchelastic_launched() else True


@contextmanager
def joined_team(device: torch.device) -> Iterator[tuple[Team, torch.device]]:
    """Join the team that ``torchrun`` started, if any; yield it and the device of this process: the GPU of its rank."""
    if not distributed.is_torchelastic_launched():
        yield Team(), device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    joins = not distributed.is_initialized()
    if joins:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(rank=distributed.get_rank(), size=distributed.get_world_size()), device
    finally:
        if joins:
            distributed.destroy_process_group()


class TeamBatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose mean and variance are those of the whole team's batch."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - its name in torch
        """Normalise, in training by the statistics of the whole batch. Shape `(batch, channels, y, x)`."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        axes, columns = (0, 2, 3), (1, -1, 1, 1)
        n = float(_sum_over_team(values.new_tensor(values.numel() / values.shape[1])))
        mean = _sum_over_team(values.sum(axes)) / n
        centred = values - mean.view(columns)
        variance = _sum_over_team(centred.square().sum(axes)) / n
        with torch.no_grad():
            # Running statistics and a momentum exist in all layers that `normalise_as_team` changes.
            momentum, n_tracked = cast("float", self.momentum), cast("Tensor", self.num_batches_tracked)
            cast("Tensor", self.running_mean).lerp_(mean, momentum)
            cast("Tensor", self.running_var).lerp_(variance * (n / (n - 1)), momentum)
            n_tracked.add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(columns) + self.bias.view(columns)).to(input.dtype)


def normalise_as_team(network: nn.Module) -> None:
    """Turn every batch normalisation of a network into a `TeamBatchNorm`; its tensors stay as they are."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = TeamBatchNorm


def _sum_over_team(values: Tensor) -> Tensor:
    """Sum over the team; the gradient of a value is the sum of the gradients of all members' losses."""
    total: Tensor = _TeamSum.apply(values)  # type: ignore[no-untyped-call]
    return total


class _TeamSum(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:  # noqa: ANN401 - torch gives it no public type
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401 - likewise
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total
