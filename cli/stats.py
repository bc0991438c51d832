"""``mrfpipe stats``: maps in regions, as a table."""

from pathlib import Path

import click

from mrfpipe.files.kinds import RESULT
from mrfpipe.files.schemas import MAPS

from .options import INPUT, Settings, common_options
from .paths import Input, Output

_NAME = "{name}"


@click.command()
@click.argument("results", type=Input(RESULT, MAPS), nargs=-1, required=True, metavar="RESULT...")
@click.option(
    "--roi",
    required=True,
    metavar="LABELS.nii.gz",
    help="Regions: whole numbers, drawn on one of a result's images. {name} stands for the name of each result.",
)
@click.option("-o", "--output", type=Output(), required=True, metavar="ROIS.csv", help="Or .tsv: separated by tabs.")
@click.option(
    "--names",
    type=INPUT,
    metavar="NAMES.tsv",
    help="Names of the regions: columns index and name, or ITK-SNAP's label descriptions. [default: LABELS.tsv, .csv "
    "or .txt beside the labels]",
)
@common_options
def command(
    settings: Settings,
    results: tuple[Path, ...],
    roi: str,
    output: Path,
    names: Path | None,
) -> None:
    """Write statistics of maps in regions: voxels, mean, SD, median, percentiles and predicted SD.

    The table has a row for each scan, region, slice and map, and for all slices together. A map is averaged over the
    voxels in which it counts: where its predicted SD is small, or, without predicted SDs, where the protocol says so
    (T1 of water of T1-FF where FF <= 0.7). n counts these voxels, n_region all voxels of the region.

    Example: mrfpipe stats results/* --roi 'muscles/{name}.nii.gz' -o rois.csv
    """
    from dataclasses import replace

    from mrfpipe.errors import MismatchError
    from mrfpipe.evaluation.region_table import RegionRow, RegionTable, tabulate
    from mrfpipe.files.bids import scan_entities
    from mrfpipe.files.labels import load_regions, tables_beside
    from mrfpipe.files.maps import load_maps
    from mrfpipe.files.results import find_maps, names_of

    rows: list[RegionRow] = []
    called = names_of(dict.fromkeys(find_maps(result) for result in results))
    for maps_file, name in called.items():
        maps, scan = load_maps(maps_file), scan_entities(maps_file.resolve().parent)
        image = Path(roi.replace(_NAME, scan))
        if output.resolve() in {path.resolve() for path in (image, *tables_beside(image))}:
            raise click.UsageError(f"{output} is for the regions or their names; choose another -o.")
        try:
            labels, known = load_regions(image, maps, names)
        except MismatchError as e:
            own = (
                ""
                if len(results) == 1 or _NAME in roi
                else f", and give each result its own, as --roi 'FOLDER/{_NAME}.nii.gz'"
            )
            raise MismatchError(f"{scan}: {str(e).removesuffix('.')}{own}.") from e
        rows += (replace(row, scan=name) for row in tabulate(maps, labels, known, scan=scan).rows)
    RegionTable(rows=tuple(rows)).to_csv(output, force=settings.force)
    click.echo(f"{output}: {len(rows)} rows")
