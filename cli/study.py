"""``mrfpipe study``: experiments, each by one command."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import INPUT, Settings, common_options

if TYPE_CHECKING:
    from typing import Literal


@click.command()
@click.argument("name", type=click.Choice(["spoiling"]), metavar="NAME")
@click.option("-o", "--output", type=INPUT, required=True, metavar="DIR", help="Folder to write.")
@click.option(
    "--scale",
    type=click.Choice(["small", "paper"]),
    default="small",
    help="small: a coarse grid, a minute; paper: the whole grid, many minutes. [default: small]",
)
@common_options
def command(settings: Settings, name: str, output: Path, scale: "Literal['small', 'paper']") -> None:
    """Run the study NAME: a table, as text and CSV, and a figure in DIR.

    Study `spoiling`: what the signal models disagree by, in signals and in maps, for RF phase increments of 0, 50 and
    117 degrees, without and with slice profile.

    Example: mrfpipe study spoiling -o spoiling
    """
    from mrfpipe.files.atomic import writing_folder
    from mrfpipe.protocol import load_protocol
    from mrfpipe.studies import spoiling

    table = f"{name}.csv"
    with writing_folder(output, force=settings.force, marker=table) as folder:
        protocol = load_protocol(spoiling.PROTOCOLS[scale])
        comparisons = spoiling.compare_models(
            protocol,
            n_voxels=spoiling.N_VOXELS[scale],
            seed=settings.seed,
            device=settings.device(),
            progress=settings.progress(name),
        )
        spoiling.write_comparisons(comparisons, folder / table)
        spoiling.draw_comparisons(protocol, comparisons, folder / f"{name}.png")
    click.echo(spoiling.format_comparisons(comparisons))
    settings.say(f"wrote {output / table} and {output / f'{name}.png'}")
