"""``mrfpipe evaluate``: maps against a reference."""

from pathlib import Path

import click

from mrfpipe.files.kinds import RESULT, TRUTH
from mrfpipe.files.schemas import MAPS

from .options import Settings, common_options
from .paths import RESULT_FIRST, Input


@click.command()
@click.argument("result", type=Input(RESULT, MAPS, cure=RESULT_FIRST), metavar="OUT")
@click.argument("reference", type=Input(TRUTH, RESULT, MAPS), metavar="REFERENCE")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON instead of a table.")
@common_options
def command(settings: Settings, result: Path, reference: Path, json_wanted: bool) -> None:  # noqa: ARG001 - all have settings
    """Compute error metrics of the result OUT against REFERENCE: another result or a phantom's NAME.truth.npz.

    Example: mrfpipe evaluate results/thigh thigh.truth.npz
    """
    from mrfpipe.evaluation.metrics import evaluate
    from mrfpipe.evaluation.table import as_json, format_table
    from mrfpipe.files.truth import load_reference, load_reference_of

    maps, _ = load_reference(result)
    truth, rois = load_reference_of(maps, reference)
    errors = evaluate(maps, truth, rois)
    click.echo(as_json(errors, truth.parameters) if json_wanted else format_table(errors, truth.parameters))
