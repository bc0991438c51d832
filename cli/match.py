"""``mrfpipe match``: scans to maps by dictionary matching."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mrfpipe.files.schemas import DICTIONARY
from mrfpipe.run.by import MatchBy
from mrfpipe.run.choices import MATCHING, Matching

from .bids_options import bids_options
from .dicom_options import dicom_options
from .imaging_options import imaging_options
from .mapping import map_all, results_option
from .options import Settings, Where, common_options, scheduler_option
from .paths import SCAN, Input, scans_argument

if TYPE_CHECKING:
    from mrfpipe.matching.match import Method


@click.command()
@scans_argument("INPUT...", *SCAN)
@click.option(
    "-d", "--dictionary", type=Input(DICTIONARY), required=True, metavar="DICT.h5", help="Written by `simulate`."
)
@results_option
@click.option(
    "--method",
    type=click.Choice(["exact", "group", "brute"]),
    default=MATCHING.method,
    show_default=True,
    help="exact and brute find the best of all entries, brute by visiting every one; group finds it for nearly every "
    "voxel, in a dictionary that has groups.",
)
@click.option(
    "--refine/--no-refine",
    default=MATCHING.refined,
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
@dicom_options
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
    """Match each INPUT, a raw scan (ISMRMRD, Siemens Twix) or a frames file, with every entry of a dictionary.

    Writes OUT/SCAN/ with maps.h5, a NIfTI image a map and a picture of the middle slice; where SCAN.truth.npz lies
    beside the input, the picture shows it too. A result that was made of the same scan with the same dictionary and
    options is skipped, and after a scan that fails the others go on; the exit code tells at the end. Scans of one name
    are told apart by their folders.

    Example: mrfpipe match thigh.h5 -d t1ff.h5 -o results
    """
    bound = None if memory is None else int(memory * 1e9)
    matching = Matching(method=method, refined=refine, gap=gap, memory=bound)
    by = MatchBy(dictionary=where.path(dictionary), matching=matching)
    map_all(by, dictionary, settings=settings, where=where, **common)
