"""Search: inputs and learning rates that are tried for every network; the best on the validation subjects is used.

For a fair comparison, all networks are tuned to the same extent. Every trial is a complete training: settings that lead
after a short one, often coefficients or the higher learning rate, need not lead in the end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.presets import Preset

Stages = tuple[Preset, ...]
"""Stages of a network's training, first to last."""
ANNEALED = 0.01
"""Learning rate at the end of a trial as a fraction of the one at its start."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """A training and its result."""

    stages: Stages
    """Stages of the training."""
    model: TrainedModel
    """The network after the epoch that fits the validation subjects best."""

    @property
    def rank(self) -> int | None:
        """Number of coefficients that the network reads; None for frames."""
        return self.stages[-1].rank

    @property
    def learning_rate(self) -> float:
        """Adam's learning rate at the start."""
        return self.stages[-1].learning_rate

    @property
    def explained(self) -> float:
        """Mean explained variance of the maps of the validation subjects (`mrfpipe.learning.validation`)."""
        record = self.model.record
        name = "explained_variance" if "explained_variance" in record else "r2"  # in studies of older versions
        return float(record[name])

    @property
    def seconds(self) -> float:
        """Duration of its epochs in s."""
        return float(self.model.record["seconds"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The trials: every input at the first learning rate, then the better input at the others."""

    ranks: tuple[int | None, ...]
    """Numbers of coefficients that the network reads; None for frames."""
    learning_rates: tuple[float, ...]
    """Adam's learning rates at the start; each falls to the fraction `ANNEALED` of itself."""

    def run(self, stages: Stages, attempt: Callable[[Stages], Trial]) -> tuple[Trial, ...]:
        """Train a network's stages with the inputs and learning rates; every network gets equally many trials."""

        def changed(rank: int | None, rate: float) -> Stages:
            final = ANNEALED * rate
            return tuple(replace(p, rank=rank, learning_rate=rate, final_learning_rate=final) for p in stages)

        first, *others = self.learning_rates
        trials = [attempt(changed(rank, first)) for rank in self.ranks]
        rank = best(trials).rank
        return (*trials, *(attempt(changed(rank, rate)) for rate in others))


def best(trials: Sequence[Trial]) -> Trial:
    """Return the trial that explains most variance; the first one if several are equal."""
    return max(trials, key=lambda trial: trial.explained)
