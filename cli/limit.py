"""``mrfpipe limit``: how precisely a protocol can determine each parameter at best."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import Number, Settings, common_options
from .paths import Output, named_protocol

if TYPE_CHECKING:
    from mrfpipe.physics.simulate import Spoiling
    from mrfpipe.protocol import Protocol

_FORM = "NAME=VALUE,..."


def _points(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> list[dict[str, float]]:  # noqa: ARG001 - click's
    """Parse points such as ``T1H2O=1400,FF=0.2``; without any, return one point without values."""
    points = []
    for text in texts or ("",):
        pairs = [item.partition("=") for item in text.split(",") if item]
        try:
            points.append({name.strip(): float(value) for name, _, value in pairs})
        except ValueError:
            raise click.BadParameter(f"{text!r} is not of the form {_FORM}.") from None
    return points


@click.command()
@click.argument("protocol", type=named_protocol, metavar="PROTOCOL")
@click.option(
    "--at",
    "given",
    metavar=_FORM,
    multiple=True,
    callback=_points,
    help="A voxel's parameters, in ms, Hz or 1; given again, further voxels. [default: the middle of the grid]",
)
@click.option(
    "--snr",
    type=Number(min=0, min_open=True),
    default=100.0,
    show_default=True,
    help="M0 over the standard deviation of the noise that one readout leaves in a voxel.",
)
@click.option(
    "--model",
    "spoiling",
    type=click.Choice(["spoiled", "epg"]),
    help="Signal model. [default: spoiled if gradients and RF phase spoil, else epg]",
)
@click.option("-o", "--output", type=Output(), metavar="FIGURE.png", help="Draw the bounds over the grid, too.")
@common_options
def command(
    settings: Settings,
    protocol: "Protocol",
    given: list[dict[str, float]],
    snr: float,
    spoiling: "Spoiling | None",
    output: Path | None,
) -> None:
    """Say how small the standard deviation of each parameter can be that PROTOCOL measures: its Cramer-Rao bound.

    PROTOCOL is a TOML file, or the name of one that comes with mrfpipe. The bounds are inverse to --snr, which two
    protocols share that read the same k-space at the same bandwidth. The last column, times the root of the scan's
    duration in seconds, compares protocols of different duration: the smaller, the more is told in a given time.

    Example: mrfpipe limit t1ff --at T1H2O=1400,FF=0.2 --at FF=0.8 -o limit.png
    """
    from mrfpipe.progress import stage

    if output and output.suffix.lower() != ".png":
        raise click.BadParameter(f"the figure is a PNG; give a name that ends in .png, not {output}.", param_hint="-o")
    with settings.loading():
        from mrfpipe.evaluation.bounds import draw_bounds, format_bounds
        from mrfpipe.limit import points_of
        from mrfpipe.physics.simulate import signal_model

    model = signal_model(protocol, spoiling)
    try:
        points = [points_of(protocol, values) for values in given]
    except ValueError as e:
        raise click.BadParameter(str(e), param_hint="--at") from e
    click.echo(format_bounds(protocol, model, points, given, snr))
    if output:
        labels = [", ".join(f"{name} {value:g}" for name, value in values.items()) for values in given]
        with stage(settings.progress, "draw"):
            draw_bounds(protocol, model, points, [label or "middle of the grid" for label in labels], snr, output)
        settings.say(f"next: open {output}")
