"""Search: what is tried of every network before its training, the same for all, and what came of it.

A comparison is fair where nobody's network is tuned and the others' are not. Inputs and learning rates are tried in
short trainings, and what fits the validation subjects best is trained in full; nothing looks at the test subjects.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

from mrfpipe.files.atomic import writing
from mrfpipe.learning.presets import Preset

Stages = tuple[Preset, ...]
"""Stages of a network's training, first to last."""
ANNEALED = 0.01
"""Learning rate at the end of a training that is tried, and of the full one, as a share of the one at its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a short training came to."""

    rank: int | None
    """Coefficients that the network read; None for frames."""
    learning_rate: float
    """Adam's at the start."""
    r2: float
    """Mean R2 of the maps of the validation subjects, at the best epoch."""
    seconds: float
    """Time it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is tried: every input with every learning rate."""

    ranks: tuple[int | None, ...]
    """Coefficients that the network reads; None for frames."""
    learning_rates: tuple[float, ...]
    """Adam's at the start, which falls to `ANNEALED` of it."""
    share: float
    """Epochs of a short training as a share of those of the full one."""

    def candidates(self, stages: Stages) -> tuple[Stages, ...]:
        """Give a network's stages every input and rate, one after the other."""
        return tuple(
            tuple(
                replace(preset, rank=rank, learning_rate=rate, final_learning_rate=ANNEALED * rate) for preset in stages
            )
            for rank, rate in product(self.ranks, self.learning_rates)
        )

    def shortened(self, stages: Stages) -> Stages:
        """Leave a share of the epochs, at least one a stage."""
        return tuple(replace(preset, n_epochs=max(1, round(self.share * preset.n_epochs))) for preset in stages)


def best(trials: Sequence[Trial]) -> int:
    """Return the number of the trial that explains most, the first of those that explain as much."""
    return max(range(len(trials)), key=lambda number: trials[number].r2)


def save_trials(trials: Sequence[Trial], path: Path) -> None:
    """Write trials as JSON; an existing file is replaced."""
    with writing(path, force=True) as partial:
        partial.write_text(json.dumps([asdict(trial) for trial in trials], indent=1), encoding="utf-8")


def load_trials(path: Path) -> tuple[Trial, ...]:
    """Read what `save_trials` wrote."""
    return tuple(Trial(**entry) for entry in json.loads(path.read_text(encoding="utf-8")))
