"""``mrfpipe match``: scans to maps by dictionary matching."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import INPUT, Settings, common_options

if TYPE_CHECKING:
    from mrfpipe.matching.match import Method


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=INPUT, metavar="INPUT...")
@click.option("-d", "--dictionary", type=INPUT, required=True, metavar="DICT.h5", help="Written by `simulate`.")
@click.option("-o", "--output", type=INPUT, required=True, metavar="OUT", help="Folder for one result folder a scan.")
@click.option(
    "--method",
    type=click.Choice(["exact", "brute"]),
    default="exact",
    show_default=True,
    help="Both find the best of all entries; brute visits every one.",
)
@click.option(
    "--refine/--no-refine",
    default=True,
    help="Go on from the best entry to the best signal between entries. [default: refine]",
)
@click.option("--bids", is_flag=True, help="Write the images as a BIDS derivative dataset.")
@common_options
def command(
    settings: Settings,
    inputs: tuple[Path, ...],
    dictionary: Path,
    output: Path,
    method: "Method",
    refine: bool,
    bids: bool,
) -> None:
    """Match each INPUT, a raw scan (ISMRMRD) or a frames file, with every entry of a dictionary.

    Writes OUT/SCAN/ with maps.h5, a NIfTI image a map and a picture; where SCAN.truth.npz lies beside the input, the
    picture shows it too.

    Example: mrfpipe match thigh.h5 -d t1ff.h5 -o results
    """
    from mrfpipe.files.dictionaries import load_dictionary
    from mrfpipe.pipeline import load_truth, match_scan

    from .output import Record, result_folders, summarise, write_result

    device = settings.device_for_matching(method)
    folders = result_folders(inputs, output, force=settings.force)
    loaded = load_dictionary(dictionary)
    for path, folder in folders.items():
        record = Record()
        maps = match_scan(path, loaded, method, device, settings.progress, refined=refine)
        provenance = record.provenance(
            inputs=[path, dictionary],
            protocol=loaded.protocol,
            method=f"dictionary matching ({method}{', refined' if refine else ''}, {loaded.n_entries:,} entries, "
            f"rank {loaded.rank}, {loaded.model})",
            device=str(device),
        )
        write_result(folder, maps, provenance, settings, truth=load_truth(path), bids=bids)
        click.echo(f"{folder}: {maps.mask.sum():,} voxels in {provenance.duration_s:.1f} s\n{summarise(maps)}")
    settings.say(f"next: mrfpipe evaluate {folder} REFERENCE")
