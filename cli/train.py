"""``mrfpipe train``: scans whose maps are known to a network."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrfpipe.files.schemas import DICTIONARY

from .options import INPUT, Settings, common_options
from .paths import SCAN, Input, Output, named_protocol

if TYPE_CHECKING:
    from mrfpipe.imaging.series import FrameSeries
    from mrfpipe.learning.training import Precision
    from mrfpipe.maps import ParameterMaps
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
    help="Network and how it is trained: small for a CPU, that of the paper, or one of those it is compared with.",
)
@click.option(
    "--labels",
    type=click.Choice(["truth", "match"]),
    default="truth",
    show_default=True,
    help="Maps to learn: DATA.truth.npz beside each scan, or exact matching.",
)
@click.option("-d", "--dictionary", type=Input(DICTIONARY), metavar="DICT.h5", help="For --labels match.")
@click.option(
    "--protocol",
    type=named_protocol,
    metavar="NAME|FILE",
    default="t1ff",
    show_default=True,
    help="What was scanned, for --labels truth.",
)
@click.option(
    "--signal-model",
    "spoiling",
    type=click.Choice(["spoiled", "epg", "bloch"]),
    help="How the scans' signals are simulated, for --labels truth; matching takes the dictionary's. "
    "[default: spoiled, as phantoms are]",
)
@click.option("--slice-profile", is_flag=True, help="Likewise, whether the flip angle varies across the slice.")
@click.option("--epochs", type=click.IntRange(min=1), help="Times to go through the data. [default: the preset's]")
@click.option(
    "--validate",
    multiple=True,
    type=Input(*SCAN),
    metavar="DATA",
    help="Scan to choose the best epoch by, not to learn from; may be given several times.",
)
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True)
@click.option(
    "--log", type=INPUT, metavar="FILE", help="Write a line of JSON an epoch: losses, variance explained, time."
)
@click.option("--board", type=INPUT, metavar="DIR", help="Write the same for TensorBoard (mrfpipe[tensorboard]).")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint of an interrupted training.")
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
    log: Path | None,
    board: Path | None,
    resume: bool,
) -> None:
    """Train a network on DATA: raw scans (ISMRMRD) or frames files whose maps are known.

    `small` is for a CPU and minutes, `paper` the network of Balsiger et al. (2020), which wants a GPU. After every
    epoch the state is kept in MODEL.checkpoint, for --resume. Started by torchrun, several GPUs train one network.

    Example: mrfpipe train a.h5 b.h5 -o model --preset small
    """
    from mrfpipe.errors import OutputExistsError

    if (labels == "match") != (dictionary is not None):
        raise click.UsageError("--labels match and --dictionary go together.")
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    if checkpoint.exists() and not resume and not settings.force:
        raise OutputExistsError(f"{checkpoint} is there from a training; --resume goes on from it, --force drops it.")

    from mrfpipe.files.atomic import writing_folder
    from mrfpipe.files.dictionaries import load_dictionary
    from mrfpipe.files.kinds import DESCRIPTION_FILE
    from mrfpipe.learning.distributed import is_leader
    from mrfpipe.learning.methods import METHODS, train_stages
    from mrfpipe.learning.model import save_model
    from mrfpipe.learning.presets import PRESETS
    from mrfpipe.matching.match import match_series
    from mrfpipe.physics.simulate import SignalModel
    from mrfpipe.pipeline import load_series

    if dictionary is not None and (spoiling is not None or slice_profile):
        raise click.UsageError(f"{dictionary} says the signal model; --signal-model is for --labels truth.")
    if not resume and is_leader():
        _drop(checkpoint)
    device = settings.device()
    loaded = None if dictionary is None else load_dictionary(dictionary)
    scanned = protocol if loaded is None else loaded.protocol
    told = SignalModel(spoiling=spoiling or "spoiled", slice_profile=slice_profile)

    def learned(paths: tuple[Path, ...]) -> tuple[list["FrameSeries"], list["ParameterMaps"]]:
        known = [_truth(path) for path in paths] if loaded is None else []  # before the work
        series = [load_series(path, scanned, settings.progress) for path in paths]
        if loaded is None:
            return series, known
        return series, [
            match_series(scan, loaded, refined=False, progress=settings.progress("match")) for scan in series
        ]

    series, known = learned(data)
    stages = METHODS.get(preset) or (PRESETS[preset],)
    if epochs is not None:
        stages = tuple(replace(stage, n_epochs=epochs) for stage in stages)
    advance = settings.progress("train")

    def tell(epoch: int, n_epochs: int, loss: float) -> None:
        advance(epoch, n_epochs)
        if settings.verbosity > 0:
            settings.say(f"epoch {epoch} of {n_epochs}: loss {loss:.3g}")

    model = train_stages(
        stages,
        series,
        known,
        protocol=scanned,
        signal_model=told if loaded is None else loaded.model,
        device=device,
        seed=settings.seed,
        progress=tell,
        checkpoint=checkpoint,
        validation=learned(validate) if validate else None,
        precision=precision,
        log=log,
        board=board,
    )
    if not is_leader():
        return
    with writing_folder(output, force=settings.force, marker=DESCRIPTION_FILE) as partial:
        save_model(model, partial)
    _drop(checkpoint)
    click.echo(
        f"{output}: preset {preset}, {model.architecture.n_parameters:,} parameters, trained on {len(data)} scans"
    )
    settings.say(f"next: mrfpipe reconstruct SCAN.h5 --model {output} -o RESULTS")


def _drop(checkpoint: Path) -> None:
    """Remove the checkpoints of a training and of its earlier stages."""
    for path in (checkpoint, *checkpoint.parent.glob(f"{checkpoint.name}.*")):
        path.unlink(missing_ok=True)


def _truth(path: Path) -> "ParameterMaps":
    from mrfpipe.errors import InputError
    from mrfpipe.pipeline import load_truth, truth_path

    maps = load_truth(path)
    if maps is None:
        raise InputError(f"{truth_path(path)} does not exist; --labels match -d DICT.h5 learns from matching instead.")
    return maps
