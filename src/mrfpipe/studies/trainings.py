"""Trainings: what each network of a comparison was given to learn by, as Markdown."""

from collections.abc import Sequence

from mrfpipe.studies.search import Trial, best
from mrfpipe.studies.tables import markdown
from mrfpipe.studies.work import Work

_REMARK = (
    "All networks learn from the same subjects, by batches of alike many voxels of tissue, to make the mean squared "
    "error of the five maps, each scaled to 0..1, small; the epoch that fits the validation subjects best is kept. "
    "The learning rate falls along half a cosine where it changes. What the test subjects gave decides nothing.\n"
)
_TRIED = (
    "What was tried of each, for {share:.0%} of the epochs: mean R2 of the maps of the validation subjects at the best "
    "epoch. Bold: what was then trained in full. Coefficients are those of the dictionary's basis, without phase and "
    "length.\n"
)


def describe_trainings(work: Work, networks: Sequence[str]) -> str:
    """Lay out what networks were given, and how well everything that was tried fits the validation subjects."""
    lines = {"input": [], "learning rate": [], "epochs": [], "parameters": [], "training": []}  # type: dict[str, list[str]]
    for name in networks:
        stages, model = work.stages(name), work.model(name)
        rates = dict.fromkeys((stages[-1].learning_rate, stages[-1].final_learning_rate))
        lines["input"].append(_input(stages[-1].rank))
        lines["learning rate"].append(" to ".join(f"{rate:g}" for rate in rates))
        lines["epochs"].append(" + ".join(f"{stage.n_epochs}" for stage in stages))
        lines["parameters"].append(f"{model.architecture.n_parameters:,}")
        lines["training"].append(f"{model.record['seconds']:.0f} s")
    text = f"## How the networks were trained\n\n{_REMARK}\n" + markdown(
        ["", *networks], [[label, *cells] for label, cells in lines.items()]
    )
    trials = [work.trials(name) for name in networks]
    if work.scale.search is None or not trials:
        return text
    return f"{text}\n{_TRIED.format(share=work.scale.search.share)}\n{_trial_table(networks, trials)}"


def _trial_table(networks: Sequence[str], trials: Sequence[Sequence[Trial]]) -> str:
    """Lay trials out, a line a thing that was tried and a column a network."""
    lines = []
    for number, of_all in enumerate(zip(*trials, strict=True)):
        chosen = [number == best(of_one) for of_one in trials]
        values = [f"**{t.r2:.3f}**" if is_best else f"{t.r2:.3f}" for t, is_best in zip(of_all, chosen, strict=True)]
        lines.append([_input(of_all[0].rank), f"{of_all[0].learning_rate:g}", *values])
    seconds = [f"{sum(trial.seconds for trial in of_one):.0f} s" for of_one in trials]
    return markdown(["input", "learning rate", *networks], [*lines, ["all", "", *seconds]])


def _input(rank: int | None) -> str:
    return "frames" if rank is None else f"{rank} coefficients"
