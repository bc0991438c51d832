"""``mrfpipe compare``: two results on one page for the browser."""

from pathlib import Path

import click

from mrfpipe.files.kinds import RESULT, TRUTH
from mrfpipe.files.schemas import MAPS

from .options import Settings, common_options
from .paths import RESULT_FIRST, Input, Output
from .report import roi_option


@click.command()
@click.argument("first", type=Input(RESULT, MAPS, cure=RESULT_FIRST), metavar="A")
@click.argument("second", type=Input(TRUTH, RESULT, MAPS), metavar="B")
@click.option(
    "-o", "--output", type=Output(), default="compare.html", show_default=True, metavar="PAGE", help="Page to write."
)
@roi_option
@common_options
def command(  # all commands have settings
    settings: Settings,  # noqa: ARG001
    first: Path,
    second: Path,
    output: Path,
    roi: Path | None,
) -> None:
    """Compare result A with B, another result of the same scan or a ground-truth .npz, on one HTML page.

    The page shows both sets of maps and their difference, a scatter plot and a Bland-Altman plot for each map, and a
    table of error metrics with B as the reference. With regions, each point is the mean over one region in one slice;
    otherwise it is a voxel.

    Example: mrfpipe compare network/thigh matching/thigh -o compare.html
    """
    from dataclasses import replace

    from mrfpipe.files.labels import load_regions
    from mrfpipe.files.maps import load_maps, read_maps_provenance
    from mrfpipe.files.nifti import check_place
    from mrfpipe.files.provenance import sha256_of
    from mrfpipe.files.results import find_fingerprints, find_maps
    from mrfpipe.files.truth import load_reference
    from mrfpipe.report.page import render, write_report

    maps_file = find_maps(first)
    maps = load_maps(maps_file)
    reference, labels = load_reference(second, maps.parameters)
    region_names: dict[int, str] = {}
    if roi is not None:
        labels, region_names = load_regions(roi, maps)
    if second.suffix != ".npz":  # an .npz file with the truth does not contain its position
        check_place(second, reference.affine, "the maps", maps.mask.shape, maps.affine, "compare results of one scan")
    provenance = read_maps_provenance(maps_file)
    against = f"{second}, sha256 {sha256_of(second if second.suffix == '.npz' else find_maps(second))}"
    page = render(
        maps,
        replace(provenance, notes={**provenance.notes, "compared_with": against}),
        title=f"{first} and {second}",
        truth=reference,
        names=(str(first), str(second)),
        fingerprints=find_fingerprints(maps_file, maps),
        labels=labels,
        region_names=region_names,
    )
    write_report(output, page)
    click.echo(f"{output}: open it in a browser")
