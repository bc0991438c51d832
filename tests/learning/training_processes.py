"""Trainings in processes of their own: a whole one, one that is killed, and one that several processes share."""

import os
import pickle
import signal
from pathlib import Path

import torch

from mrfpipe.learning.training import train


def train_here(task: dict, out: Path, last_step: int | None = None) -> None:
    """Train, and write weights and record to `out`, with the number of this process at its end.

    Parameters
    ----------
    task
        What `train` is called with.
    out
        Where to write.
    last_step
        Number of the optimiser's update that is the last thing this process does.
    """
    torch.set_num_threads(1)
    if last_step is not None:
        die_at(last_step)
    model = train(**task)
    weights = {name: tensor.numpy() for name, tensor in model.network.state_dict().items()}
    Path(f"{out}.{os.environ.get('RANK', '0')}").write_bytes(pickle.dumps((weights, model.record)))


def die_at(last: int) -> None:
    """Let the optimiser's update of that number be the last thing this process does."""
    update, done = torch.optim.Adam.step, 0

    def step(self, *arguments, **keywords):
        nonlocal done
        update(self, *arguments, **keywords)
        done += 1
        if done == last:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.optim.Adam.step = step
