"""``mrfpipe train``: scans whose maps are known to a network."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrfpipe.files.schemas import DICTIONARY

from .imaging_options import trust_option
from .options import INPUT, Settings, common_options
from .paths import SCAN, Input, Output, protocol_option

if TYPE_CHECKING:
    from mrfpipe.learning.training import Precision
    from mrfpipe.physics.simulate import Spoiling
    from mrfpipe.protocol import Protocol


@click.command()
@click.argument("data", nargs=-1, required=True, type=Input(*SCAN), metavar="DATA...")
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
    type=click.Choice(["small", "paper", "cohen", "hoppe", "oksuz", "fang"]),
    default="small",
    show_default=True,
    help="Network and training settings: small for a CPU, the paper's, or a published competitor's.",
)
@click.option(
    "--labels",
    type=click.Choice(["truth", "match"]),
    default="truth",
    show_default=True,
    help="Maps to learn: DATA.truth.npz next to each scan, or maps by exact matching.",
)
@click.option("-d", "--dictionary", type=Input(DICTIONARY), metavar="DICT.h5", help="Dictionary, for --labels match.")
@protocol_option("Protocol of the scans, for --labels truth.")
@click.option(
    "--signal-model",
    "spoiling",
    type=click.Choice(["spoiled", "epg", "bloch"]),
    help="Signal model of the scans, for --labels truth; --labels match takes the dictionary's. [default: "
    "as in simulate]",
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
@common_options
def command(
    settings: Settings,
    data: tuple[Path, ...],
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
    """Train a network on DATA, raw scans (ISMRMRD, Siemens Twix) or frames files with known maps.

    Preset `small` trains in minutes on a CPU; `paper` is the network of Balsiger et al. (2020) and needs a GPU. A
    checkpoint is written to MODEL.checkpoint after every epoch, for --resume. With torchrun, several GPUs train one
    network.

    Example: mrfpipe train a.h5 b.h5 -o model --preset small
    """
    from mrfpipe.errors import OutputExistsError

    if (labels == "match") != (dictionary is not None):
        raise click.UsageError("--labels match and --dictionary require each other.")
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    if checkpoint.exists() and not resume and not settings.force:
        raise OutputExistsError(
            f"{checkpoint} exists from an earlier training; continue it with --resume or discard it with --force."
        )

    if dictionary is not None and (spoiling is not None or slice_profile):
        raise click.UsageError(f"{dictionary} determines the signal model; --signal-model is for --labels truth.")

    from mrfpipe.physics.simulate import signal_model
    from mrfpipe.run.training import TrainingJob

    job = TrainingJob(
        scans=data,
        validation=validate,
        target=output,
        preset=preset,
        dictionary=dictionary,
        protocol=protocol,
        signal_model=signal_model(protocol, spoiling, slice_profile=slice_profile),
        n_epochs=epochs,
        precision=precision,
        trust_protocol=trust_protocol,
        seed=settings.seed,
        device=settings.device(),
        checkpoint=checkpoint,
        resume=resume,
        log=log,
        board=board,
        force=settings.force,
    )
    advance = settings.progress("train")

    def tell(epoch: int, n_epochs: int, loss: float) -> None:
        advance(epoch, n_epochs)
        if settings.verbosity > 0:
            settings.say(f"epoch {epoch} of {n_epochs}: loss {loss:.3g}")

    model = job.run(settings.progress, tell)
    if model is None:
        return
    click.echo(
        f"{output}: preset {preset}, {model.architecture.n_parameters:,} parameters, trained on {len(data)} scans"
    )
    settings.say(f"next: mrfpipe reconstruct SCAN.h5 --model {output} -o RESULTS")
