"""``mrfpipe report``: a result as a page for the browser."""

from pathlib import Path

import click

from .options import INPUT, Settings, common_options


@click.command()
@click.argument("result", type=INPUT, metavar="OUT")
@click.argument("reference", type=INPUT, metavar="[REFERENCE]", required=False)
@common_options
def command(settings: Settings, result: Path, reference: Path | None) -> None:
    """Write the page report.html of the result folder OUT, as `match` and `reconstruct` do, beside its maps.

    With REFERENCE, another result or a truth .npz, the page shows that and the difference, too. It opens from disk in
    Chromium and Firefox, without a network.

    Example: mrfpipe report results/thigh thigh.truth.npz --force
    """
    from mrfpipe.evaluation.reference import load_reference
    from mrfpipe.files.atomic import refuse_existing
    from mrfpipe.files.maps import load_maps, read_maps_header
    from mrfpipe.files.results import find_maps
    from mrfpipe.report.page import REPORT_FILE, write_report

    maps_file = find_maps(result)
    page = maps_file.with_name(REPORT_FILE)
    refuse_existing(page, force=settings.force)
    write_report(
        page,
        load_maps(maps_file),
        read_maps_header(maps_file).provenance,
        title=maps_file.resolve().parent.name,
        truth=None if reference is None else load_reference(reference)[0],
    )
    click.echo(f"{page}: open it in a browser")
