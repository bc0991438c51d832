"""``mrfpipe check``: tests the assumptions of the signal model on a scan."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrfpipe.files.kinds import RAW

from .imaging_options import scan_options
from .options import Settings, common_options, device_option, seed_option
from .paths import Input, dictionary_option

if TYPE_CHECKING:
    from mrfpipe.imaging.choices import Imaging


@click.command()
@click.argument("scan", type=Input(RAW), metavar="RAW")
@dictionary_option
@device_option
@seed_option
@common_options
@scan_options
def command(settings: Settings, scan: Path, dictionary: Path, imaging: "Imaging") -> None:
    """Test the assumptions of the dictionary's signal model on the raw scan RAW.

    Fits up to 4,000 voxels with the protocol as given and with another history, inversion, sign of the phase, spoiling
    and slice profile. Prints the variant that fits best, by how many standard errors each other variant is worse, and
    how much each would change the maps.

    Example: mrfpipe check thigh.h5 -d t1ff.h5
    """
    with settings.loading():
        from mrfpipe.files.dictionaries import load_dictionary
        from mrfpipe.run.check import check_scan

    assumed = load_dictionary(dictionary)
    found = check_scan(
        scan,
        assumed.protocol,
        assumed.model,
        imaging=imaging,
        device=settings.device(),
        seed=settings.seed,
        progress=settings.progress,
    )
    click.echo(str(found))
