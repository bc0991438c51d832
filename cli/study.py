"""``mrfpipe study``: experiments, each by one command."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import INPUT, Settings, common_options

if TYPE_CHECKING:
    from typing import Literal


@click.command()
@click.argument("name", type=click.Choice(["spoiling", "table2"]), metavar="NAME")
@click.option("-o", "--output", type=INPUT, required=True, metavar="DIR", help="Folder to write.")
@click.option(
    "--scale",
    type=click.Choice(["small", "paper"]),
    default="small",
    help="small: minutes on a CPU; paper: the whole of it, spoiling in many minutes, table2 in days on a GPU. "
    "[default: small]",
)
@common_options
def command(settings: Settings, name: str, output: Path, scale: "Literal['small', 'paper']") -> None:
    """Run the study NAME: a table, as text and CSV, and figures in DIR.

    Study `spoiling`: what the signal models disagree by, in signals and in maps, for RF phase increments of 0, 50 and
    117 degrees, without and with slice profile.

    Study `table2`: the proposed network, the four it is compared with, and matching, on a cohort of phantoms, against
    truth and against matching, beside the figures of Balsiger et al. (2020). Interrupted, it goes on when called again.

    Example: mrfpipe study spoiling -o spoiling
    """
    if name == "spoiling":
        _spoiling(settings, output, scale)
    else:
        _table2(settings, output, scale)


def _spoiling(settings: Settings, output: Path, scale: "Literal['small', 'paper']") -> None:
    from mrfpipe.files.atomic import writing_folder
    from mrfpipe.protocol import load_protocol
    from mrfpipe.studies import spoiling

    table, figure = "spoiling.csv", "spoiling.png"
    with writing_folder(output, force=settings.force, marker=table) as folder:
        protocol = load_protocol(spoiling.PROTOCOLS[scale])
        comparisons = spoiling.compare_models(
            protocol,
            n_voxels=spoiling.N_VOXELS[scale],
            seed=settings.seed,
            device=settings.device(),
            progress=settings.progress("spoiling"),
        )
        spoiling.write_comparisons(comparisons, folder / table)
        spoiling.draw_comparisons(protocol, comparisons, folder / figure)
    click.echo(spoiling.format_comparisons(comparisons))
    settings.say(f"wrote {output / table} and {output / figure}")


def _table2(settings: Settings, output: Path, scale: "Literal['small', 'paper']") -> None:
    from mrfpipe.studies import table2

    table = table2.run_study(
        output, table2.SCALES[scale], seed=settings.seed, device=settings.device(), progress=settings.progress
    )
    click.echo(table)
    settings.say(f"wrote {output / 'table2.md'}, the table as CSV and two figures beside it")
