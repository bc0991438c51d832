"""``mrfpipe frames``: raw scans to series of frames."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from mrfpipe.files.kinds import RAW
from mrfpipe.files.schemas import DICTIONARY

from .imaging_options import field_map_option, frames_option, scan_options
from .options import Settings, Where, common_options, device_option, scheduler_option
from .paths import Input, Place, Scans, named_protocol, scans_argument

if TYPE_CHECKING:
    from mrfpipe.imaging.choices import Imaging
    from mrfpipe.protocol import Protocol


@click.command()
@scans_argument("RAW...", RAW)
@click.option(
    "-o",
    "--output",
    type=Place(folder=False),
    required=True,
    metavar="FRAMES.h5|DIR",
    help="Frames file to write; for several scans, or if it exists, the folder for one SCAN.frames.h5 per scan.",
)
@click.option(
    "--protocol",
    type=named_protocol,
    metavar="NAME|FILE",
    help="Protocol of the scans: a built-in name or a TOML file. [default: t1ff, or the dictionary's]",
)
@click.option("-d", "--dictionary", type=Input(DICTIONARY), metavar="DICT.h5", help="Dictionary, for --recon subspace.")
@device_option
@common_options
@frames_option
@field_map_option
@scan_options
@scheduler_option
def command(
    settings: Settings,
    scans: Scans,
    output: Path,
    protocol: "Protocol | None",
    dictionary: Path | None,
    imaging: "Imaging",
    where: Where,
) -> None:
    """Reconstruct the frames of each raw scan RAW (ISMRMRD, Siemens Twix) into a file that other commands read.

    With --recon subspace the file holds the subspace coefficients, a few images instead of all frames.

    Scans whose frames exist with the same inputs and options are skipped. A scan that fails does not stop the others;
    any failure gives a non-zero exit code.

    Example: mrfpipe frames thigh.h5 -o thigh.frames.h5
    """
    with settings.loading():
        from mrfpipe.files.dictionaries import load_dictionary
        from mrfpipe.protocol import load_protocol
        from mrfpipe.run.frames import FramesJob

        from .output import do_all, targets

    if (imaging.recon == "subspace") != (dictionary is not None):
        raise click.UsageError("--recon subspace and --dictionary require each other.")
    if dictionary is not None and protocol is not None:
        raise click.UsageError("The dictionary determines the protocol; leave out --protocol.")
    several = len(scans.readable) + len(scans.failed) > 1 or output.is_dir()
    files = targets(scans, lambda name: where.path(output / f"{name}.frames.h5" if several else output))
    scanned = protocol or load_protocol("t1ff") if dictionary is None else load_dictionary(dictionary).protocol
    device = where.device(settings)
    jobs = [
        FramesJob(
            source=where.path(path),
            target=file,
            protocol=scanned,
            imaging=imaging,
            dictionary=None if dictionary is None else where.path(dictionary),
            device=device,
            force=settings.force,
            command=settings.command,
            batch=where.batch,
            threads=settings.threads,
        )
        for path, file in files.items()
    ]
    do_all(jobs, scans, settings, where.scheduler)
    made = f"{quote(str(output))}/*.frames.h5" if several else quote(str(output))
    settings.say(f"next: mrfpipe match {made} -d DICT.h5 -o RESULTS")
