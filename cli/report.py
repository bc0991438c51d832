"""``mrfpipe report``: a result as a page for the browser."""

from pathlib import Path

import click

from mrfpipe.files.kinds import RESULT, TRUTH
from mrfpipe.files.schemas import MAPS

from .options import INPUT, Settings, common_options
from .paths import RESULT_FIRST, Input

roi_option = click.option(
    "--roi",
    type=INPUT,
    metavar="LABELS.nii.gz",
    help="Label image of regions, drawn on one of the result's images, for means and histograms; the names of the "
    "regions are read from LABELS.tsv, .csv or .txt next to it, if there is one.",
)


@click.command()
@click.argument("result", type=Input(RESULT, MAPS, cure=RESULT_FIRST), metavar="OUT")
@click.argument("reference", type=Input(TRUTH, RESULT, MAPS), metavar="[REFERENCE]", required=False)
@roi_option
@common_options
def command(settings: Settings, result: Path, reference: Path | None, roi: Path | None) -> None:
    """Write report.html in the result folder OUT, as `match` and `reconstruct` do.

    With REFERENCE, another result or a ground-truth .npz, the page also shows the reference, the difference and their
    agreement. The page opens from disk in Chromium and Firefox, without a network connection.

    Example: mrfpipe report results/thigh thigh.truth.npz --roi muscles.nii.gz --force
    """
    from mrfpipe.progress import stage

    with stage(settings.progress, "load"):
        from mrfpipe.evaluation.picture import COILS_FILE
        from mrfpipe.files.atomic import refuse_existing
        from mrfpipe.files.bids import scan_entities
        from mrfpipe.files.labels import load_regions
        from mrfpipe.files.maps import load_maps, read_maps_provenance
        from mrfpipe.files.results import find_fingerprints, find_maps
        from mrfpipe.files.truth import load_reference
        from mrfpipe.report.page import REPORT_FILE, render, write_report

    maps_file = find_maps(result)
    page, coils = maps_file.with_name(REPORT_FILE), maps_file.with_name(COILS_FILE)
    refuse_existing(page, force=settings.force)
    maps = load_maps(maps_file)
    truth, labels = (None, None) if reference is None else load_reference(reference, maps.parameters)
    names: dict[int, str] = {}
    if roi is not None:
        labels, names = load_regions(roi, maps)
    fingerprints = find_fingerprints(maps_file, maps)
    with stage(settings.progress, "write"):
        text = render(
            maps,
            read_maps_provenance(maps_file),
            title=scan_entities(maps_file.resolve().parent),
            truth=truth,
            fingerprints=fingerprints,
            labels=labels,
            region_names=names,
            coils=coils if coils.exists() else None,
        )
        write_report(page, text)
    if fingerprints is None:
        settings.say("note: the result holds no fingerprints, so the page shows none; match the scan again to add them")
    click.echo(f"{page}: open it in a browser")
