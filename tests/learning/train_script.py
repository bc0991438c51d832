"""A training in a process of its own: ``train_script.py TASK OUT [STEP]``, killed at a step if one is given.

TASK holds what `train` is called with, pickled. The process that leads writes weights and losses to OUT.
"""

import os
import pickle
import signal
import sys
from pathlib import Path

import torch

from mrfpipe.learning.training import train


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


if __name__ == "__main__":
    torch.set_num_threads(1)
    task = pickle.loads(Path(sys.argv[1]).read_bytes())  # noqa: S301 - the test has just written it
    if len(sys.argv) > 3:
        die_at(int(sys.argv[3]))
    model = train(**task)
    rank = os.environ.get("RANK", "0")
    weights = {name: tensor.numpy() for name, tensor in model.network.state_dict().items()}
    Path(f"{sys.argv[2]}.{rank}").write_bytes(pickle.dumps((weights, model.record)))
