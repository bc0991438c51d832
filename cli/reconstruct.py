"""``mrfpipe reconstruct``: scans to maps by a network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mrfpipe.files.kinds import NETWORK
from mrfpipe.run.by import BY_NETWORK, NetworkBy

from .bids_options import bids_options
from .dicom_options import dicom_options
from .imaging_options import field_map_option, scan_options
from .mapping import map_all, results_option
from .options import Settings, Where, common_options, device_option, scheduler_option
from .paths import SCAN, Input, scans_argument

if TYPE_CHECKING:
    from mrfpipe.learning.inference import Precision


@click.command()
@scans_argument("INPUT...", *SCAN)
@results_option
@click.option(
    "--model",
    type=Input(NETWORK),
    metavar="MODEL",
    help="Network written by `train`. [default: the bundled pretrained network]",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default=BY_NETWORK.precision,
    show_default=True,
    help="bfloat16 is faster on CPUs with hardware support, at an error of a few thousandths of a map's range.",
)
@bids_options
@dicom_options
@device_option
@common_options
@field_map_option
@scan_options
@scheduler_option
def command(
    settings: Settings,
    where: Where,
    model: Path | None,
    precision: "Precision",
    **common: Any,  # noqa: ANN401 - what map_all takes
) -> None:
    """Estimate the maps of each INPUT, a raw scan (ISMRMRD, Siemens Twix) or a frames file, with a neural network.

    The default is the bundled pretrained network for the sequence of the scan. A raw scan is reconstructed as the
    training data of the network were, jointly or frame by frame. Writes OUT/SCAN/ as `match` does, skips finished
    scans, and continues after a scan that fails.

    Example: mrfpipe reconstruct thigh.h5 --model model -o results
    """
    by = NetworkBy(model=None if model is None else where.path(model), precision=precision)
    map_all(by, model, settings=settings, where=where, **common)
