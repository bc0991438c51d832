"""Trainings: what each network of a comparison was given to learn by, as Markdown."""

from collections.abc import Sequence

from mrfpipe.counting import MOST_FAT_FOR_WATER
from mrfpipe.studies.search import Trial, best
from mrfpipe.studies.tables import markdown
from mrfpipe.studies.work import Work

_REMARK = (
    "All networks learn from the same subjects to make the mean squared error of the five maps small, each scaled to "
    "0..1, and of each the epoch is kept that fits the validation subjects best. What the test subjects gave decides "
    "nothing.\n"
)
_TRIED = (
    "All weigh the maps alike, count T1H2O where FF is at most {most_fat}, see about as many voxels of tissue a step, "
    "and have a learning rate that falls along half a cosine. Of each the same was tried first: below, the mean R2 of "
    "the maps of the validation subjects at the best epoch; what is bold was then trained in full. Coefficients are "
    "those of the dictionary's basis without phase and length; networks along time go along them instead.\n"
)


def describe_trainings(work: Work, networks: Sequence[str]) -> str:
    """Lay out what networks were given, and how well everything that was tried fits the validation subjects."""
    columns = [_given(work, name) for name in networks]
    text = f"## How the networks were trained\n\n{_REMARK}\n" + markdown(
        ["", *networks], [[label, *(column[label] for column in columns)] for label in columns[0]]
    )
    if work.scale.search is None:
        return text
    trials = [work.trials(name) for name in networks]
    return f"{text}\n{_TRIED.format(most_fat=MOST_FAT_FOR_WATER)}\n{_trial_table(networks, trials)}"


def _given(work: Work, network: str) -> dict[str, str]:
    """Say what one network was given, by what it is."""
    stages, model = work.stages(network), work.model(network)
    rates = dict.fromkeys((stages[-1].learning_rate, stages[-1].final_learning_rate))
    search, trials = work.scale.search, work.trials(network)
    n_epochs = 0 if search is None else sum(stage.n_epochs for stage in search.shortened(stages))
    return {
        "tried": f"{len(trials)}, of {n_epochs} epochs each" if trials else "nothing",
        "input": _input(stages[-1].rank),
        "learning rate": " to ".join(f"{rate:g}" for rate in rates),
        "epochs": " + ".join(f"{stage.n_epochs}" for stage in stages),
        "parameters": f"{model.architecture.n_parameters:,}",
        "time": f"{model.record['seconds']:.0f} s",
    }


def _trial_table(networks: Sequence[str], trials: Sequence[Sequence[Trial]]) -> str:
    """Lay trials out, a line a thing that was tried and a column a network."""
    lines = []
    for number, of_all in enumerate(zip(*trials, strict=True)):
        chosen = [number == best(of_one) for of_one in trials]
        values = [f"**{t.r2:.3f}**" if is_best else f"{t.r2:.3f}" for t, is_best in zip(of_all, chosen, strict=True)]
        lines.append([_input(of_all[0].rank), f"{of_all[0].learning_rate:g}", *values])
    seconds = [f"{sum(trial.seconds for trial in of_one):.0f} s" for of_one in trials]
    return markdown(["input", "learning rate", *networks], [*lines, ["time of all", "", *seconds]])


def _input(rank: int | None) -> str:
    return "frames" if rank is None else f"{rank} coefficients"
