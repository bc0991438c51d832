"""``mrfpipe simulate``: protocol to dictionary."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from .options import Number, Settings, common_options, device_option, seed_option
from .paths import Output, named_protocol

if TYPE_CHECKING:
    from mrfpipe.physics.simulate import Spoiling
    from mrfpipe.protocol import Protocol


@click.command()
@click.argument("protocol", type=named_protocol, default="t1ff", metavar="[PROTOCOL]")
@click.option("-o", "--output", type=Output(), required=True, metavar="DICT.h5", help="Dictionary to write.")
@click.option(
    "--model",
    "spoiling",
    type=click.Choice(["spoiled", "epg", "bloch"]),
    help="Signal model. [default: spoiled for trains with gradient and RF spoiling, else epg]",
)
@click.option(
    "--slice-profile", is_flag=True, help="Simulate the flip angle profile of the excitation across the slice."
)
@click.option("--rank", type=click.IntRange(min=2), help="Number of basis vectors to keep.")
@click.option(
    "--energy",
    type=Number(0, 1, min_open=True, max_open=True),
    help="Alternatively: fraction of the energy to keep. [default: 0.99999]",
)
@click.option("--groups", is_flag=True, help="Also group the entries, for match --method group; takes minutes.")
@device_option
@seed_option
@common_options
def command(
    settings: Settings,
    protocol: "Protocol",
    output: Path,
    spoiling: "Spoiling | None",
    slice_profile: bool,
    rank: int | None,
    energy: float | None,
    groups: bool,
) -> None:
    """Simulate the dictionary of PROTOCOL: a TOML file, or t1ff, t1ff-small, fisp or fisp-spiral.

    Model `spoiled` assumes ideal spoiling; use it to compare with published MRF T1-FF maps, which assume the same.
    Model `epg` simulates gradient and RF spoiling with extended phase graphs; use it for accuracy if the protocol
    states the RF phase increment of the scanner. Model `bloch` is a slower isochromat Bloch simulation, for
    verification.

    Example: mrfpipe simulate t1ff -o t1ff-epg.h5 --model epg
    """
    from mrfpipe.progress import stage

    if rank is not None and energy is not None:
        raise click.UsageError("--rank and --energy are mutually exclusive.")
    if rank is not None and rank > protocol.sequence.n_frames:
        raise click.BadParameter(f"{protocol.name} has {protocol.sequence.n_frames} frames; the rank cannot be higher.")

    with settings.loading():
        from mrfpipe.basis import DEFAULT_ENERGY
        from mrfpipe.dictionary import build_dictionary
        from mrfpipe.files.dictionaries import save_dictionary
        from mrfpipe.physics.simulate import signal_model

    device = settings.device()
    with stage(settings.progress, "dictionary"):
        dictionary = build_dictionary(
            protocol,
            model=signal_model(protocol, spoiling, slice_profile=slice_profile),
            rank=rank,
            energy=DEFAULT_ENERGY if energy is None else energy,
            device=device,
            progress=settings.progress("simulate"),
        )
    grouped = None
    if groups:
        from mrfpipe.matching.grouping import build_groups

        grouped = build_groups(dictionary, seed=settings.seed, device=device, progress=settings.progress("group"))
    with stage(settings.progress, "write"):
        save_dictionary(dictionary, output, grouped, force=settings.force)
    click.echo(
        f"{output}: {dictionary.n_entries:,} entries of protocol {protocol.name}, {dictionary.model}, "
        f"rank {dictionary.rank}, {dictionary.energy:.6%} of their energy"
        + (f", {grouped.n_groups:,} groups" if grouped else "")
    )
    settings.say(f"next: mrfpipe match SCAN.h5 -d {quote(str(output))} -o RESULTS")
