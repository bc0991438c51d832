"""``mrfpipe report``: a result as a page for the browser, or many results as one overview."""

from collections import Counter
from pathlib import Path

import click

from mrfpipe.errors import MrfpipeError
from mrfpipe.files.kinds import RESULT, TRUTH, refuse_other
from mrfpipe.files.schemas import MAPS

from .options import INPUT, Settings, common_options
from .paths import RESULT_FIRST, Output, Scans

roi_option = click.option(
    "--roi",
    type=INPUT,
    metavar="LABELS.nii.gz",
    help="Label image of regions, drawn on one of the result's images, for means and histograms; the names of the "
    "regions are read from LABELS.tsv, .csv or .txt next to it, if there is one.",
)
_TABLES = {".csv": ",", ".tsv": "\t"}


@click.command()
@click.argument("results", type=INPUT, nargs=-1, required=True, metavar="RESULT [REFERENCE] | RESULT... -o OVERVIEW")
@click.option(
    "-o",
    "--output",
    type=Output(),
    metavar="OVERVIEW.html",
    help="Write an overview of all results; .csv or .tsv writes its numbers as a table.",
)
@click.option(
    "--ratings",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder with NAME.rating.json files, for the overview. Ratings in the folders of the results are always read.",
)
@roi_option
@common_options
def command(
    settings: Settings, results: tuple[Path, ...], output: Path | None, ratings: Path | None, roi: Path | None
) -> None:
    """Write report.html of a result, or an overview of many results.

    Without -o, report.html is written in the folder of RESULT, as `match` and `reconstruct` do. With REFERENCE, another
    result or a ground-truth .npz, the page also shows the reference, the difference and their agreement.

    With -o, OVERVIEW.html shows all results: thumbnails, key numbers, outliers, warnings and the ratings that were
    saved on their pages. A folder stands for all results in it.

    The pages open from disk in Chromium and Firefox, without a network connection.

    Example: mrfpipe report results/thigh thigh.truth.npz --roi muscles.nii.gz --force

    Example: mrfpipe report results -o overview.html --ratings ratings
    """
    if output is not None:
        if roi is not None:
            raise click.UsageError("--roi is for the page of one result; mrfpipe stats writes a table of regions.")
        _write_overview(settings, results, output, ratings)
    elif ratings is not None:
        raise click.UsageError("--ratings is for an overview; add -o overview.html.")
    elif len(results) > 2:
        raise click.UsageError("Several results make an overview; add -o overview.html.")
    else:
        _write_page(settings, results[0], results[1] if len(results) > 1 else None, roi)


def _write_page(settings: Settings, result: Path, reference: Path | None, roi: Path | None) -> None:
    """Write the page of a result."""
    refuse_other(result, RESULT, MAPS, cure=RESULT_FIRST)
    if reference is not None:
        refuse_other(reference, TRUTH, RESULT, MAPS)
    from mrfpipe.progress import stage

    with settings.loading():
        from mrfpipe.evaluation.picture import COILS_FILE
        from mrfpipe.files.atomic import refuse_existing
        from mrfpipe.files.bids import scan_entities
        from mrfpipe.files.labels import load_regions
        from mrfpipe.files.maps import load_maps, read_maps_provenance
        from mrfpipe.files.results import find_fingerprints, find_maps
        from mrfpipe.files.truth import load_reference_of
        from mrfpipe.report.page import REPORT_FILE, render, write_report

    maps_file = find_maps(result)
    page, coils = maps_file.with_name(REPORT_FILE), maps_file.with_name(COILS_FILE)
    refuse_existing(page, force=settings.force)
    maps = load_maps(maps_file)
    truth, labels = (None, None) if reference is None else load_reference_of(maps, reference)
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


def _write_overview(settings: Settings, paths: tuple[Path, ...], output: Path, folder: Path | None) -> None:
    """Write the overview of results; a result that cannot be read does not stop the others."""
    from mrfpipe.files.results import find_all_maps, names_of

    scans, maps_files = Scans(), list[Path]()
    for path in dict.fromkeys(paths):
        try:
            if not path.is_dir():
                refuse_other(path, RESULT, MAPS)
            maps_files += find_all_maps(path)
        except MrfpipeError as e:
            scans.fail(path, e)
    if not maps_files:
        scans.conclude(Counter(), settings.say)
    with settings.loading():
        from mrfpipe.files.atomic import write_text
        from mrfpipe.files.maps import load_maps, read_maps_provenance
        from mrfpipe.files.ratings import find_ratings, load_rating, newest
        from mrfpipe.report.overview import overview_table, render_overview
        from mrfpipe.report.page import REPORT_FILE
        from mrfpipe.report.summary import summarise

    names = names_of(maps_files)
    rated = {}
    for path in find_ratings(*(file.parent for file in names), *([] if folder is None else [folder])):
        try:
            rated[path] = load_rating(path)
        except MrfpipeError as e:
            scans.fail(path, e)
    results, progress = [], settings.progress("results")
    for number, (maps_file, name) in enumerate(names.items(), start=1):
        try:
            maps, made = load_maps(maps_file), read_maps_provenance(maps_file)
        except MrfpipeError as e:
            scans.fail(maps_file, e)
        else:
            ours = newest(rating for rating in rated.values() if rating.result_id == made.result_id)
            page = maps_file.with_name(REPORT_FILE)
            results.append(summarise(maps, made, name=name, page=page, ratings=ours))
        progress(number, len(names))
    known = {result.result_id for result in results}
    for path in (path for path, rating in rated.items() if rating.result_id not in known):
        settings.say(f"note: {path} is left out: it rates another result, or one before it was made again")
    if results:
        delimiter = _TABLES.get(output.suffix.lower())
        text = render_overview(results, page=output) if delimiter is None else overview_table(results, delimiter)
        write_text(output, text, force=settings.force)
        click.echo(f"{output}: {len(results)} result{'' if len(results) == 1 else 's'}")
    scans.conclude(Counter(done=len(results)), settings.say)
