"""``mrfpipe match``: scans to maps by dictionary matching."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mrfpipe.run.by import MatchBy
from mrfpipe.run.choices import MATCHING, Matching

from .bids_options import bids_options
from .dicom_options import dicom_options
from .imaging_options import imaging_options
from .mapping import map_all, results_option
from .options import Number, Settings, Where, common_options, device_option, scheduler_option
from .paths import SCAN, dictionary_option, scans_argument

if TYPE_CHECKING:
    from mrfpipe.matching.match import Method


@click.command()
@scans_argument("INPUT...", *SCAN)
@dictionary_option
@results_option
@click.option(
    "--method",
    type=click.Choice(["exact", "group", "brute"]),
    default=MATCHING.method,
    show_default=True,
    help="exact finds the best of all entries; brute finds the same by visiting every entry; group finds it for nearly "
    "every voxel and needs a dictionary with groups.",
)
@click.option(
    "--refine/--no-refine",
    default=MATCHING.refined,
    help="Refine estimates continuously between grid points. [default: refine]",
)
@click.option(
    "--gap",
    is_flag=True,
    help="Also map the difference in match between the best and the second-best local optimum (slow).",
)
@click.option(
    "--memory",
    type=Number(min=0, min_open=True),
    metavar="GB",
    help="Memory for matching, at least 0.27. The maps do not depend on it. [default: a quarter of the free memory]",
)
@bids_options
@dicom_options
@device_option
@common_options
@imaging_options
@scheduler_option
def command(
    settings: Settings,
    where: Where,
    dictionary: Path,
    method: "Method",
    refine: bool,
    gap: bool,
    memory: float | None,
    **common: Any,  # noqa: ANN401 - what map_all takes
) -> None:
    """Match each INPUT, a raw scan (ISMRMRD, Siemens Twix) or a frames file, with a dictionary.

    Writes OUT/SCAN/ with report.html, maps.h5, one NIfTI image per map and a picture of the middle slice. If
    SCAN.truth.npz lies next to the input, page and picture show it as well. Scans with an existing result of the same
    inputs and options are skipped. A scan that fails does not stop the others; any failure gives a non-zero exit code.
    Scans of the same name are named after their folders, too.

    Example: mrfpipe match thigh.h5 -d t1ff.h5 -o results
    """
    bound = None if memory is None else int(memory * 1e9)
    matching = Matching(method=method, refined=refine, gap=gap, memory=bound)
    by = MatchBy(dictionary=where.path(dictionary), matching=matching)
    map_all(by, dictionary, settings=settings, where=where, **common)
