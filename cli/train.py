"""``mrfpipe train``: trains a network on scans whose maps are known, or on phantoms from a protocol alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from mrfpipe.files.schemas import DICTIONARY

from .imaging_options import trust_option
from .options import INPUT, Settings, common_options, device_option, seed_option
from .paths import SCAN, Input, Output, protocol_option

if TYPE_CHECKING:
    from mrfpipe.learning.model import TrainedModel
    from mrfpipe.learning.training import Precision
    from mrfpipe.physics.simulate import Spoiling
    from mrfpipe.protocol import Protocol


@click.command()
@click.argument("data", nargs=-1, type=Input(*SCAN), metavar="[DATA...]")
@click.option(
    "--phantoms",
    type=click.IntRange(min=4),
    metavar="N",
    help="In place of DATA: simulate the scans of so many phantoms and learn to correct their matched maps.",
)
@click.option(
    "-o",
    "--output",
    type=Output(marker="model.json"),
    required=True,
    metavar="MODEL",
    help="Folder to write the network to.",
)
@click.option(
    "--preset",
    type=click.Choice(["small", "large", "paper", "cohen", "hoppe", "oksuz", "fang"]),
    default="small",
    show_default=True,
    help="Network and training settings. small is meant for a CPU; large, with --phantoms only, needs a GPU; "
    "paper is the network of the paper, and the others are published competitors.",
)
@click.option(
    "--labels",
    type=click.Choice(["truth", "match"]),
    default="truth",
    show_default=True,
    help="Maps to learn: DATA.truth.npz next to each scan, or maps by exact matching.",
)
@click.option("-d", "--dictionary", type=Input(DICTIONARY), metavar="DICT.h5", help="Dictionary, for --labels match.")
@protocol_option("Protocol of the scans, for --phantoms and --labels truth.")
@click.option(
    "--signal-model",
    "spoiling",
    type=click.Choice(["spoiled", "epg", "bloch"]),
    help="Signal model of the scans, with --phantoms or --labels truth; with --labels match, the dictionary has its "
    "own. [default: as in simulate]",
)
@click.option(
    "--slice-profile", is_flag=True, help="With --signal-model: the scans have a flip angle profile across the slice."
)
@click.option("--epochs", type=click.IntRange(min=1), help="Number of epochs. [default: the preset's]")
@click.option(
    "--validate",
    multiple=True,
    type=Input(*SCAN),
    metavar="DATA",
    help="Validation scan, which selects the best epoch; may be repeated.",
)
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True)
@trust_option
@click.option(
    "--log",
    type=INPUT,
    metavar="FILE",
    help="Log file with one line of JSON per epoch: losses, explained variance, time.",
)
@click.option("--board", type=INPUT, metavar="DIR", help="The same for TensorBoard (mrfpipe[tensorboard]).")
@click.option("--resume", is_flag=True, help="Continue an interrupted training from its checkpoint.")
@device_option
@seed_option
@common_options
def command(
    settings: Settings,
    data: tuple[Path, ...],
    phantoms: int | None,
    output: Path,
    preset: str,
    labels: str,
    dictionary: Path | None,
    protocol: "Protocol",
    spoiling: "Spoiling | None",
    slice_profile: bool,
    epochs: int | None,
    validate: tuple[Path, ...],
    precision: "Precision",
    trust_protocol: bool,
    log: Path | None,
    board: Path | None,
    resume: bool,
) -> None:
    """Train a network on DATA, raw scans (ISMRMRD, Siemens Twix) or frames files with known maps; or on phantoms.

    With --phantoms, the protocol is all that is needed: bodies are drawn, scanned and reconstructed, and the network
    learns to correct the maps of `match`. README.md in MODEL says how well it does, on other phantoms.

    Preset `small` is for a CPU; `paper` is the network of Balsiger et al. (2020) and needs a GPU. A checkpoint is
    written to MODEL.checkpoint after every epoch, for --resume. With torchrun, several GPUs train one network on DATA.

    Example: mrfpipe train --phantoms 60 --protocol fisp -o model
    """
    from mrfpipe.errors import OutputExistsError

    if bool(data) == (phantoms is not None):
        raise click.UsageError("Give either DATA or --phantoms N.")
    if phantoms is not None:
        _refuse_beside_phantoms(click.get_current_context())
    if (preset == "large") and phantoms is None:
        raise click.UsageError("--preset large is for --phantoms.")
    if (labels == "match") != (dictionary is not None):
        raise click.UsageError("--labels match and --dictionary require each other.")
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    if not resume and not settings.force and _is_there(checkpoint):
        raise OutputExistsError(
            f"{checkpoint} exists from an earlier training; continue it with --resume or discard it with --force."
        )
    if log is not None and not resume and not settings.force and log.is_file() and log.stat().st_size:
        raise OutputExistsError(f"{log} exists already; choose another --log, or replace it with --force.")

    if dictionary is not None and (spoiling is not None or slice_profile):
        raise click.UsageError(f"{dictionary} determines the signal model; --signal-model is for --labels truth.")

    from mrfpipe.physics.simulate import signal_model

    advance = settings.progress("train")

    def tell(epoch: int, n_epochs: int, loss: float) -> None:
        advance(epoch, n_epochs)
        if settings.verbosity > 0:
            settings.say(f"epoch {epoch} of {n_epochs}: loss {loss:.3g}")

    common: dict[str, Any] = {
        "target": output,
        "preset": preset,
        "protocol": protocol,
        "signal_model": signal_model(protocol, spoiling, slice_profile=slice_profile),
        "n_epochs": epochs,
        "seed": settings.seed,
        "device": settings.device(),
        "checkpoint": checkpoint,
        "resume": resume,
        "log": log,
        "force": settings.force,
    }
    if phantoms is not None:
        from mrfpipe.run.phantoms import PhantomTrainingJob

        with _resumable(checkpoint):
            made, scores = PhantomTrainingJob(n_phantoms=phantoms, **common).run(settings.progress, tell)
        click.echo(f"{output}: preset {preset}, {_size(made)}, trained on {phantoms} phantoms")
        ratios = ", ".join(f"{score.parameter.name} {score.ratio:.2f}" for score in scores)
        click.echo(f"  RMSE on other phantoms, network over matching: {ratios}; details in {output}/README.md")
        settings.say(f"next: mrfpipe reconstruct SCAN.h5 --model {quote(str(output))} -o RESULTS")
        return

    from mrfpipe.run.training import TrainingJob

    job = TrainingJob(
        scans=data,
        validation=validate,
        dictionary=dictionary,
        precision=precision,
        trust_protocol=trust_protocol,
        board=board,
        **common,
    )
    with _resumable(checkpoint):
        model = job.run(settings.progress, tell)
    if model is None:
        return
    click.echo(f"{output}: preset {preset}, {_size(model)}, trained on {len(data)} scans")
    settings.say(f"next: mrfpipe reconstruct SCAN.h5 --model {quote(str(output))} -o RESULTS")


def _is_there(checkpoint: Path) -> bool:
    """Return whether there is a checkpoint, or one of a part of the training."""
    return any(checkpoint.parent.glob(f"{checkpoint.name}*"))


@contextmanager
def _resumable(checkpoint: Path) -> Iterator[None]:
    """If a training is interrupted after its first checkpoint, say how to resume it."""
    try:
        yield
    except KeyboardInterrupt:
        if _is_there(checkpoint):
            raise KeyboardInterrupt(f"what is trained is kept in {checkpoint}; continue with --resume.") from None
        raise


def _refuse_beside_phantoms(context: click.Context) -> None:
    """Refuse options that concern existing scans, and presets of networks that do not correct matched maps."""
    for name in ("labels", "dictionary", "validate", "precision", "trust_protocol", "board"):
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')} is for DATA, not for --phantoms.")
    if context.params["preset"] not in ("small", "large"):
        raise click.UsageError("--phantoms trains preset small or large.")


def _size(model: "TrainedModel") -> str:
    return f"{model.architecture.n_parameters:,} parameters"
