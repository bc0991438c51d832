"""``mrfpipe reconstruct``: scans to maps by a network."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrfpipe.files.kinds import NETWORK

from .bids_options import Layout, bids_options
from .imaging_options import scan_options
from .options import Settings, Where, common_options, dicom_option, scheduler_option
from .paths import SCAN, Input, Place, Scans, scans_argument

if TYPE_CHECKING:
    from mrfpipe.imaging.reconstruction import Imaging
    from mrfpipe.learning.inference import Precision


@click.command()
@scans_argument("INPUT...", *SCAN)
@click.option(
    "-o",
    "--output",
    type=Place(folder=True),
    required=True,
    metavar="OUT",
    help="Folder for one result folder a scan.",
)
@click.option(
    "--model", type=Input(NETWORK), metavar="MODEL", help="Network written by `train`. [default: the one that ships]"
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="bfloat16 is faster on a CPU that multiplies in it, and errs by some thousandths of a map's range.",
)
@bids_options
@dicom_option
@common_options
@scan_options
@scheduler_option
def command(
    settings: Settings,
    scans: Scans,
    output: Path,
    model: Path | None,
    precision: "Precision",
    layout: Layout,
    dicom: bool,
    imaging: "Imaging",
    where: Where,
) -> None:
    """Turn each INPUT, a raw scan (ISMRMRD, Siemens Twix) or a frames file, into quantitative maps by a network.

    Without MODEL it is the network that ships for the scan's sequence. MODEL says whether a raw scan is reconstructed
    frame by frame or in a subspace: as the scans that it learned from. Writes OUT/SCAN/ as `match` does, skips what is
    done, and goes on after a scan that fails.

    Example: mrfpipe reconstruct thigh.h5 --model model -o results
    """
    from mrfpipe.progress import stage

    with stage(settings.progress, "load"):
        import torch

        from mrfpipe.files.dicom import require_highdicom
        from mrfpipe.learning.model import load_model
        from mrfpipe.network_job import NetworkJob
        from mrfpipe.report.page import REPORT_FILE

        from .output import do_all, targets

    layout.check(scans.readable)
    if dicom and not where.scheduler:  # on a cluster it is the workers' to have
        require_highdicom()
    device = where.device(settings)
    folders = targets(scans, lambda name: layout.folder(where.path(output), name))
    if model is not None:
        load_model(model, torch.device("cpu"))  # a wrong one is refused once, not scan by scan
    jobs = [
        NetworkJob(
            source=where.path(path),
            target=folder,
            model=None if model is None else where.path(model),
            imaging=imaging,
            precision=precision,
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
    do_all(jobs, scans, settings, where.scheduler)
    settings.say(f"next: open {jobs[-1].target / REPORT_FILE} in a browser")
