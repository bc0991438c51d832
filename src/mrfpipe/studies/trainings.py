"""Trainings: how each network of a comparison was trained, as Markdown."""

from collections.abc import Sequence

from mrfpipe.studies.search import Trial, best
from mrfpipe.studies.tables import markdown
from mrfpipe.studies.work import Work

_REMARK = (
    "All networks learn from the same subjects to make the mean squared error of the five maps small, each scaled to "
    "0..1, and of each the epoch is kept that fits the validation subjects best. What the test subjects gave decides "
    "nothing.\n"
)
_TRIED = (
    "All weigh the maps alike, count each where its parameter does, see about as many voxels of tissue a step, "
    "and have a learning rate that falls along half a cosine. Of each as much was tried, every time in full: both "
    "inputs at one rate, then the better input at the others. Below is the mean explained variance of the maps of the "
    "validation subjects; what is bold was taken. Coefficients are those of the dictionary's basis without phase and "
    "length; networks along time go along them instead.\n"
)


def describe_trainings(work: Work, networks: Sequence[str]) -> str:
    """Describe how networks were trained, and how well each trial fits the validation subjects."""
    trials = [work.trials(name) for name in networks]
    given = [_given(of_one) for of_one in trials]
    lines = [[label, *(column[label] for column in given)] for label in given[0]]
    text = f"## How the networks were trained\n\n{_REMARK}\n{markdown(['', *networks], lines)}"
    if work.scale.search is None:
        return text
    return f"{text}\n{_TRIED}\n{_trial_table(networks, trials)}"


def _given(trials: Sequence[Trial]) -> dict[str, str]:
    taken = best(trials)
    rates = dict.fromkeys((taken.learning_rate, taken.stages[-1].final_learning_rate))
    return {
        "input": _input(taken.rank),
        "learning rate": " to ".join(f"{rate:g}" for rate in rates),
        "epochs": " + ".join(f"{stage.n_epochs}" for stage in taken.stages),
        "trials": f"{len(trials)}",
        "parameters": f"{taken.model.architecture.n_parameters:,}",
        "time": f"{taken.seconds:.0f} s",
        "time of all trials": f"{sum(trial.seconds for trial in trials):.0f} s",
    }


def _trial_table(networks: Sequence[str], trials: Sequence[Sequence[Trial]]) -> str:
    """Format trials as Markdown, one line per setting that was tried and one column per network."""
    lines = []
    for row in zip(*trials, strict=True):
        inputs = dict.fromkeys(_input(trial.rank) for trial in row)
        taken = [trial is best(of_one) for trial, of_one in zip(row, trials, strict=True)]
        explained = [f"{trial.explained:.3f}" for trial in row]
        values = [f"**{text}**" if is_best else text for text, is_best in zip(explained, taken, strict=True)]
        lines.append([" or ".join(inputs), f"{row[0].learning_rate:g}", *values])
    return markdown(["input", "learning rate", *networks], lines)


def _input(rank: int | None) -> str:
    return "frames" if rank is None else f"{rank} coefficients"
