"""``mrfpipe simulate``: protocol to dictionary."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import INPUT, Settings, common_options

if TYPE_CHECKING:
    from mrfpipe.physics.simulate import Spoiling


@click.command()
@click.argument("protocol", default="t1ff")
@click.option("-o", "--output", type=INPUT, required=True, metavar="DICT.h5", help="Dictionary to write.")
@click.option(
    "--model",
    "spoiling",
    type=click.Choice(["spoiled", "epg", "bloch"]),
    default="spoiled",
    help="Signal model. [default: spoiled]",
)
@click.option("--slice-profile", is_flag=True, help="Let the flip angle vary across the slice, as the excitation does.")
@click.option("--rank", type=click.IntRange(min=2), help="Basis vectors to keep.")
@click.option(
    "--energy", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Or: energy to keep. [0.99999]"
)
@click.option("--groups", is_flag=True, help="Group the entries, too, for match --method group; takes minutes.")
@common_options
def command(
    settings: Settings,
    protocol: str,
    output: Path,
    spoiling: "Spoiling",
    slice_profile: bool,
    rank: int | None,
    energy: float | None,
    groups: bool,
) -> None:
    """Simulate the dictionary of PROTOCOL: a TOML file, or the name of one that comes with mrfpipe (t1ff, t1ff-small).

    Model `spoiled` takes the transverse magnetisation to be gone before every pulse: take it to compare with published
    MRF T1-FF maps, whose authors simulate so. Model `epg` follows it through gradient and RF spoiling: take it where
    accuracy counts and the protocol states the scanner's RF phase increment. Model `bloch` follows single spins and is
    slower: take it to check the other two.

    Example: mrfpipe simulate t1ff -o t1ff-epg.h5 --model epg
    """
    from mrfpipe.progress import stage

    with stage(settings.progress, "load"):
        from mrfpipe.dictionary import DEFAULT_ENERGY, build_dictionary
        from mrfpipe.files.atomic import refuse_existing
        from mrfpipe.files.dictionaries import save_dictionary
        from mrfpipe.physics.simulate import SignalModel
        from mrfpipe.protocol import load_protocol

    if rank is not None and energy is not None:
        raise click.UsageError("--rank and --energy exclude each other.")
    refuse_existing(output, force=settings.force)
    loaded = load_protocol(protocol)
    if rank is not None and rank > loaded.sequence.n_frames:
        raise click.BadParameter(f"{loaded.name} has {loaded.sequence.n_frames} frames; no higher rank exists.")
    device = settings.device()
    with stage(settings.progress, "dictionary"):
        dictionary = build_dictionary(
            loaded,
            model=SignalModel(spoiling=spoiling, slice_profile=slice_profile),
            rank=rank,
            energy=DEFAULT_ENERGY if energy is None else energy,
            device=device,
            progress=settings.progress("simulate"),
        )
    grouped = None
    if groups:
        from mrfpipe.matching.group import build_groups

        grouped = build_groups(dictionary, seed=settings.seed, device=device, progress=settings.progress("group"))
    with stage(settings.progress, "write"):
        save_dictionary(dictionary, output, grouped, force=settings.force)
    click.echo(
        f"{output}: {dictionary.n_entries:,} entries of protocol {loaded.name}, {dictionary.model}, "
        f"rank {dictionary.rank}, {dictionary.energy:.6%} of their energy"
        + (f", {grouped.n_groups:,} groups" if grouped else "")
    )
    settings.say(f"next: mrfpipe match SCAN.h5 -d {output} -o RESULTS")
