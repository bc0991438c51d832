"""``mrfpipe protocol``: a Pulseq sequence to a protocol."""

from pathlib import Path

import click

from mrfpipe.files.kinds import PULSEQ

from .options import Settings, common_options
from .paths import Input, Output


@click.command()
@click.argument("sequence", type=Input(PULSEQ), metavar="SCAN.seq")
@click.option("-o", "--output", type=Output(), required=True, metavar="NAME.toml", help="Protocol to write.")
@click.option(
    "--base",
    default="t1ff",
    show_default=True,
    help="Protocol to take from what a sequence does not say: parameters, components, slice thickness, readouts of a "
    "frame.",
)
@common_options
def command(settings: Settings, sequence: Path, output: Path, base: str) -> None:
    """Derive a protocol from SCAN.seq, a Pulseq sequence: an inversion, then golden-angle radial spoiled echoes.

    Flip angles, TE, TR, TI, recovery, RF spoiling, spokes, angles, matrix and field of view are the sequence's. Needs
    mrfpipe[pulseq].

    Example: mrfpipe protocol scan.seq -o scan.toml
    """
    from mrfpipe.acquisition.pulseq import protocol_from_pulseq
    from mrfpipe.files.atomic import writing
    from mrfpipe.protocol import load_protocol

    text = protocol_from_pulseq(sequence, base=base)
    with writing(output, force=settings.force) as partial:
        partial.write_text(text, encoding="utf-8")
    protocol = load_protocol(output)
    train = protocol.sequence
    click.echo(
        f"{output}: protocol {protocol.name}, {train.n_readouts} readouts, {train.n_frames} frames of "
        f"{train.readouts_per_frame}, matrix {train.matrix}, FOV {train.fov * 1e3:g} mm"
    )
    settings.say(f"next: mrfpipe simulate {output} -o {output.stem}.h5")
