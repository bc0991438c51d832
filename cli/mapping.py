"""Code that `match` and `reconstruct` share; they differ only in whether a dictionary or a network makes the maps."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .bids_options import Layout
from .dicom_options import Dicom
from .options import Settings, Where
from .paths import Place, Scans

if TYPE_CHECKING:
    from mrfpipe.imaging.choices import Imaging
    from mrfpipe.run.by import MapsBy

results_option = click.option(
    "-o",
    "--output",
    type=Place(folder=True),
    required=True,
    metavar="OUT",
    help="Folder for the results, one folder per scan.",
)


def map_all(
    by: "MapsBy",
    given: Path | None,
    *,
    settings: Settings,
    scans: Scans,
    output: Path,
    layout: Layout,
    images: Dicom,
    imaging: "Imaging",
    where: Where,
) -> None:
    """Make the maps of all scans, here or on a cluster.

    `by` names the dictionary or network by a path that is also valid on the workers. `given` is the path as the user
    gave it, if any; it is checked here, so that a wrong one is refused once instead of for every scan.
    """
    with settings.loading():
        from mrfpipe.files.dicom import require_highdicom
        from mrfpipe.report.page import REPORT_FILE
        from mrfpipe.run.by import load_mapper
        from mrfpipe.run.job import MapsJob

        from .output import do_all, targets

    layout.check(scans.readable)
    images.check(scans.readable)
    if (images.dicom or images.dicom_int16) and not where.scheduler:  # on a cluster, the workers need it
        require_highdicom()
    device = where.device(settings)
    folders = targets(scans, lambda name: layout.folder(where.path(output), name))
    if given is not None:
        load_mapper(by, given)
    jobs = [
        MapsJob(
            source=where.path(path),
            target=folder,
            by=by,
            imaging=imaging,
            device=device,
            bids=layout.bids,
            dicom=images.dicom,
            dicom_int16=images.dicom_int16,
            like=images.like and where.path(images.like),
            force=settings.force,
            command=images.unnamed(settings.command),
            batch=where.batch,
            threads=settings.threads,
        )
        for path, folder in folders.items()
    ]
    do_all(jobs, scans, settings, where.scheduler)
    settings.say(f"next: open {jobs[-1].target / REPORT_FILE} in a browser")
