"""Search: what is tried of every network, the same for all, of which the best by the validation subjects is taken.

A comparison is fair where nobody's network is tuned and the others' are not. Every trial is a whole training: what is
ahead after a short one, often the coefficients or the higher rate, need not be ahead in the end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.presets import Preset

Stages = tuple[Preset, ...]
"""Stages of a network's training, first to last."""
ANNEALED = 0.01
"""Learning rate at the end of a trial as a share of the one at its start."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """A training and what came of it."""

    stages: Stages
    """How it was trained."""
    model: TrainedModel
    """The network, of the epoch that fits the validation subjects best."""

    @property
    def rank(self) -> int | None:
        """Coefficients that the network reads; None for frames."""
        return self.stages[-1].rank

    @property
    def learning_rate(self) -> float:
        """Adam's at the start."""
        return self.stages[-1].learning_rate

    @property
    def r2(self) -> float:
        """Mean R2 of the maps of the validation subjects."""
        return float(self.model.record["r2"])

    @property
    def seconds(self) -> float:
        """Time that its epochs took."""
        return float(self.model.record["seconds"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is tried: every input at the first learning rate, then the better input at the others."""

    ranks: tuple[int | None, ...]
    """Coefficients that the network reads; None for frames."""
    learning_rates: tuple[float, ...]
    """Adam's at the start, which falls to `ANNEALED` of it."""

    def run(self, stages: Stages, attempt: Callable[[Stages], Trial]) -> tuple[Trial, ...]:
        """Try a network's stages with inputs and rates; as many trials for every network."""

        def changed(rank: int | None, rate: float) -> Stages:
            final = ANNEALED * rate
            return tuple(replace(p, rank=rank, learning_rate=rate, final_learning_rate=final) for p in stages)

        first, *others = self.learning_rates
        trials = [attempt(changed(rank, first)) for rank in self.ranks]
        rank = best(trials).rank
        return (*trials, *(attempt(changed(rank, rate)) for rate in others))


def best(trials: Sequence[Trial]) -> Trial:
    """Return the trial that explains most, the first of those that explain as much."""
    return max(trials, key=lambda trial: trial.r2)
