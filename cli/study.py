"""``mrfpipe study``: experiments, each by one command."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrfpipe.studies.catalogue import STUDIES, refuse_outputs, run_study

from .options import Settings, common_options, device_option, seed_option
from .paths import Place

if TYPE_CHECKING:
    from mrfpipe.studies.catalogue import ScaleName


_LISTED = "\n\n".join(f"`{name}` ({study.minutes} min): {study.about}." for name, study in STUDIES.items())
_HELP = f"""Run the study NAME and write its table (text and CSV) and figures to DIR, next to the values of the paper.

{_LISTED}

Times are for --scale small on two idle cores, in a new DIR. Studies of the paper share scans, networks and maps in
DIR/work: a study reuses the work of earlier ones in the same DIR, and an interrupted study continues when called again.
`table2` trains all networks; the other studies train the proposed network if it is missing, and `qualitative`,
`sharpness` and `generalization` include the networks of `table2` that exist.

--force replaces the tables and figures of the study but nothing in DIR/work; to start anew, delete that folder.

Example: mrfpipe study spoiling -o spoiling
"""


def _refuse_outputs(ctx: click.Context, param: click.Parameter, folder: Path) -> Path:  # noqa: ARG001 - click's signature
    """Refuse existing outputs; NAME and --force are eager, so that they are known when the folder is checked."""
    refuse_outputs(ctx.params["name"], folder, force=ctx.params["force"])
    return folder


@click.command(help=_HELP)
@click.argument("name", type=click.Choice(list(STUDIES)), metavar="NAME", is_eager=True)
@click.option(
    "-o",
    "--output",
    type=Place(folder=True),
    required=True,
    metavar="DIR",
    help="Folder to write to.",
    callback=_refuse_outputs,
)
@click.option(
    "--scale",
    type=click.Choice(["small", "paper"]),
    default="small",
    help="small: minutes on a CPU; paper: the size of the paper, days on a GPU (spoiling: minutes). [default: small]",
)
@device_option
@seed_option
@common_options
def command(settings: Settings, name: str, output: Path, scale: "ScaleName") -> None:
    """Run a study."""
    table = run_study(
        name,
        output,
        scale=scale,
        seed=settings.seed,
        device=settings.device(),
        force=settings.force,
        progress=settings.progress,
    )
    click.echo(table)
    files = ", ".join(f"{name}{ending}" for ending in STUDIES[name].outputs)
    settings.say(f"wrote {files} in {output}")
