"""``mrfpipe match``: scans to maps by dictionary matching."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .bids_options import Layout, bids_options
from .imaging_options import imaging_options
from .options import INPUT, Settings, Where, common_options, dicom_option, scheduler_option

if TYPE_CHECKING:
    from mrfpipe.imaging.reconstruction import Imaging
    from mrfpipe.matching.match import Method


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=INPUT, metavar="INPUT...")
@click.option("-d", "--dictionary", type=INPUT, required=True, metavar="DICT.h5", help="Written by `simulate`.")
@click.option("-o", "--output", type=INPUT, required=True, metavar="OUT", help="Folder for one result folder a scan.")
@click.option(
    "--method",
    type=click.Choice(["exact", "group", "brute"]),
    default="exact",
    show_default=True,
    help="exact and brute find the best of all entries, brute by visiting every one; group finds it for nearly every "
    "voxel, in a dictionary that has groups.",
)
@click.option(
    "--refine/--no-refine",
    default=True,
    help="Go on from the best entry to the best signal between entries. [default: refine]",
)
@click.option("--gap", is_flag=True, help="Also map how far the second-best explanation falls behind, a slow search.")
@click.option(
    "--memory",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GB",
    help="Memory to match in, at least 0.27. The maps do not depend on it. [default: a quarter of what is free]",
)
@bids_options
@dicom_option
@common_options
@imaging_options
@scheduler_option
def command(
    settings: Settings,
    inputs: tuple[Path, ...],
    dictionary: Path,
    output: Path,
    method: "Method",
    refine: bool,
    gap: bool,
    memory: float | None,
    layout: Layout,
    dicom: bool,
    imaging: "Imaging",
    where: Where,
) -> None:
    """Match each INPUT, a raw scan (ISMRMRD, Siemens Twix) or a frames file, with every entry of a dictionary.

    Writes OUT/SCAN/ with maps.h5, a NIfTI image a map and a picture; where SCAN.truth.npz lies beside the input, the
    picture shows it too. A result that was made of the same scan with the same dictionary is skipped, and after a scan
    that fails the others go on; the exit code tells at the end.

    Example: mrfpipe match thigh.h5 -d t1ff.h5 -o results
    """
    from mrfpipe.progress import stage

    with stage(settings.progress, "load"):
        from mrfpipe.files.dicom import require_highdicom
        from mrfpipe.files.dictionaries import load_dictionary
        from mrfpipe.jobs import MatchJob
        from mrfpipe.report.page import REPORT_FILE

        from .output import do_all, targets

    layout.check(inputs)
    if dicom and not where.scheduler:  # on a cluster it is the workers' to have
        require_highdicom()
    device = where.device(settings)
    folders, failures = targets(map(where.path, inputs), lambda name: layout.folder(where.path(output), name))
    load_dictionary(dictionary)  # a wrong one is refused once, not scan by scan
    jobs = [
        MatchJob(
            source=path,
            target=folder,
            dictionary=where.path(dictionary),
            method=method,
            imaging=imaging,
            refined=refine,
            gap=gap,
            memory=None if memory is None else int(memory * 1e9),
            device=device,
            bids=layout.bids,
            dicom=dicom,
            force=settings.force,
            command=settings.command,
            batch=where.batch,
            threads=settings.threads,
        )
        for path, folder in folders.items()
    ]
    do_all(jobs, failures, settings, where.scheduler)
    settings.say(f"next: open {jobs[-1].target / REPORT_FILE} in a browser")
