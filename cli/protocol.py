"""``mrfpipe protocol``: turns a Pulseq sequence, or a scan of T1-FF, into a protocol."""

from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from mrfpipe.errors import InputError
from mrfpipe.files.kinds import PULSEQ, RAW, kind_of

from .options import INPUT, Number, Settings, common_options
from .paths import Input, Output

if TYPE_CHECKING:
    from mrfpipe.acquisition.searched import Components


RANGE, DELAY = "NAME=START:STOP:STEP", "NAME=MS"
Settled = tuple[tuple[str, tuple[float, ...]], ...]


def settings_of(form: str) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], Settled]:
    """Return a callback that parses options such as ``T1=300:2000:20`` into a name and its numbers."""

    def taken(text: str) -> tuple[str, tuple[float, ...]]:
        name, _, values = text.partition("=")
        try:
            numbers = tuple(map(float, values.split(":")))
        except ValueError:
            numbers = ()
        if not name or len(numbers) != len(form.split(":")):
            raise click.BadParameter(f"{text!r} is not of the form {form}.")
        return name, numbers

    return lambda _context, _option, texts: tuple(map(taken, texts))


@click.command()
@click.argument("scanned", type=Input(PULSEQ, RAW), metavar="SCAN.seq|SCAN.dat")
@click.option("-o", "--output", type=Output(), required=True, metavar="NAME.toml", help="Protocol to write.")
@click.option(
    "--components",
    type=click.Choice(["tissue", "water-fat"]),
    help="Components of the signal of a voxel. [default: tissue for SCAN.seq, water-fat for SCAN.dat]",
)
@click.option(
    "--parameters",
    metavar="NAME,NAME,...",
    help="Parameters to estimate: T1,T2 for tissue, FF,T1H2O,T1fat for water-fat, and optionally df,B1.",
)
@click.option(
    "--range",
    "ranges",
    metavar=RANGE,
    callback=settings_of(RANGE),
    multiple=True,
    help="Grid values of a parameter, in ms, Hz or 1; repeat the option for several ranges.",
)
@click.option(
    "--soft-delay",
    "soft_delays",
    metavar=DELAY,
    callback=settings_of(DELAY),
    multiple=True,
    help="Soft delay as set by the operator. [default: that in the file]",
)
@click.option(
    "--trains",
    type=INPUT,
    metavar="FILE.json",
    help="For SCAN.dat: JSON file with the lists FA (flip angles in degrees) and TE (echo times in ms), one value per "
    "spoke. [default: the trains of t1ff]",
)
@click.option(
    "--heartbeat",
    type=Number(min=0, min_open=True),
    metavar="MS",
    help="Time between triggers. [default: every trigger arrives without delay]",
)
@common_options
def command(
    settings: Settings,
    scanned: Path,
    output: Path,
    components: "Components | None",
    parameters: str | None,
    ranges: Settled,
    soft_delays: Settled,
    trains: Path | None,
    heartbeat: float | None,
) -> None:
    """Derive a protocol from SCAN.seq, a Pulseq sequence, or from SCAN.dat, a Siemens Twix scan of MRF T1-FF.

    From a sequence, the protocol takes pulses, delays, dephasing, readouts and field of view; an element that cannot be
    simulated is an error that names the element and its time. Needs mrfpipe[pulseq]. From a scan, the protocol takes
    echo spacing, inversion time, recovery, field of view, matrix and slices of the header.

    Example: mrfpipe protocol scan.seq -o scan.toml --parameters T1,T2,B1
    """
    kind, words = kind_of(scanned)
    is_scan = kind == RAW
    if is_scan and scanned.suffix.lower() != ".dat":
        raise InputError(
            f"{scanned} is {words}, a Pulseq sequence or a Siemens Twix scan was expected; check the path."
        )
    from mrfpipe.acquisition.pulseq import protocol_from_pulseq
    from mrfpipe.acquisition.searched import Searched
    from mrfpipe.acquisition.twix_protocol import protocol_from_twix
    from mrfpipe.files.atomic import write_text

    axes: dict[str, list[tuple[float, ...]]] = {}
    for name, numbers in ranges:
        axes.setdefault(name, []).append(numbers)
    names = tuple(parameters.split(",")) if parameters else ()
    delays = {name: milliseconds * 1e-3 for name, (milliseconds,) in soft_delays}
    if (is_scan and (delays or heartbeat)) or (not is_scan and trains):
        raise click.UsageError("--soft-delay and --heartbeat apply to SCAN.seq, --trains applies to SCAN.dat.")
    searched = Searched(components=components or ("water-fat" if is_scan else "tissue"), parameters=names, ranges=axes)
    if is_scan:
        protocol = protocol_from_twix(scanned, searched=searched, trains=trains)
    else:
        seconds = None if heartbeat is None else heartbeat * 1e-3
        protocol = protocol_from_pulseq(scanned, searched=searched, soft_delays=delays, heartbeat=seconds)
    write_text(output, protocol.toml, force=settings.force)
    train = protocol.sequence
    click.echo(
        f"{output}: protocol {protocol.name}, {train.n_readouts} readouts, {train.n_frames} frames of "
        f"{train.readouts_per_frame}, matrix {train.matrix}, FOV {train.fov * 1e3:g} mm, "
        f"{protocol.grid.n_entries:,} entries"
    )
    settings.say(f"next: mrfpipe simulate {quote(str(output))} -o {quote(output.stem)}.h5")
