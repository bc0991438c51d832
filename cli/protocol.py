"""``mrfpipe protocol``: a Pulseq sequence to a protocol."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrfpipe.files.kinds import PULSEQ

from .options import Settings, common_options
from .paths import Input, Output

if TYPE_CHECKING:
    from mrfpipe.acquisition.pulseq import Components


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
@click.argument("sequence", type=Input(PULSEQ), metavar="SCAN.seq")
@click.option("-o", "--output", type=Output(), required=True, metavar="NAME.toml", help="Protocol to write.")
@click.option(
    "--components",
    type=click.Choice(["tissue", "water-fat"]),
    default="tissue",
    show_default=True,
    help="What a voxel's signal is the sum of.",
)
@click.option(
    "--parameters",
    metavar="NAME,NAME,...",
    help="What is searched for: T1,T2 and, at will, df,B1 of tissue; FF,T1H2O,T1fat,df,B1 of water and fat, df and B1 "
    "at will.",
)
@click.option(
    "--range",
    "ranges",
    metavar=RANGE,
    callback=settings_of(RANGE),
    multiple=True,
    help="Values of a parameter, in ms, Hz or 1; given again, further ones.",
)
@click.option(
    "--soft-delay",
    "soft_delays",
    metavar=DELAY,
    callback=settings_of(DELAY),
    multiple=True,
    help="A delay that the operator sets, as it was set; the file's default otherwise.",
)
@click.option(
    "--heartbeat",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MS",
    help="Time from trigger to trigger; without it a trigger comes as soon as it is waited for.",
)
@common_options
def command(
    settings: Settings,
    sequence: Path,
    output: Path,
    components: "Components",
    parameters: str | None,
    ranges: Settled,
    soft_delays: Settled,
    heartbeat: float | None,
) -> None:
    """Derive a protocol from SCAN.seq, a Pulseq sequence.

    Pulses, delays, dephasing, readouts and field of view are the sequence's; one that cannot be simulated ends in a
    line that names what cannot, and when it is played. Needs mrfpipe[pulseq].

    Example: mrfpipe protocol scan.seq -o scan.toml --parameters T1,T2,B1
    """
    from mrfpipe.acquisition.pulseq import Searched, protocol_from_pulseq
    from mrfpipe.files.atomic import write_text

    axes: dict[str, list[tuple[float, ...]]] = {}
    for name, numbers in ranges:
        axes.setdefault(name, []).append(numbers)
    names = tuple(parameters.split(",")) if parameters else ()
    searched = Searched(components=components, parameters=names, ranges=axes)
    delays = {name: milliseconds * 1e-3 for name, (milliseconds,) in soft_delays}
    protocol = protocol_from_pulseq(
        sequence,
        searched=searched,
        soft_delays=delays,
        heartbeat=None if heartbeat is None else heartbeat * 1e-3,
    )
    write_text(output, protocol.toml, force=settings.force)
    train = protocol.sequence
    click.echo(
        f"{output}: protocol {protocol.name}, {train.n_readouts} readouts, {train.n_frames} frames of "
        f"{train.readouts_per_frame}, matrix {train.matrix}, FOV {train.fov * 1e3:g} mm, "
        f"{protocol.grid.n_entries:,} entries"
    )
    settings.say(f"next: mrfpipe simulate {output} -o {output.stem}.h5")
