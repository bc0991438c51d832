"""``mrfpipe phantom``: a raw scan whose truth is known."""

from pathlib import Path

import click

from .options import INPUT, Settings, common_options


@click.command()
@click.argument("output", type=INPUT, metavar="OUT.h5")
@click.option(
    "--anatomy",
    type=click.Choice(["thigh", "leg", "shoulder", "abdomen", "pelvis"]),
    default="thigh",
    show_default=True,
    help="Part of the body.",
)
@click.option("--slices", type=click.IntRange(1, 100), default=1, show_default=True, help="Slices.")
@click.option("--coils", type=click.IntRange(1, 128), default=8, show_default=True, help="Receive coils.")
@click.option(
    "--snr",
    type=click.FloatRange(min=0, min_open=True),
    default=4000.0,
    show_default=True,
    help="Mean magnitude of the centre of k-space over the noise.",
)
@click.option("--protocol", default="t1ff", show_default=True, help="What is scanned: a name or a TOML file.")
@common_options
def command(settings: Settings, output: Path, anatomy: str, slices: int, coils: int, snr: float, protocol: str) -> None:
    """Write the raw scan of a phantom to OUT.h5 (ISMRMRD), and the truth to OUT.truth.npz beside it.

    The seed decides the person: build, muscles, disease, fields and noise.

    Example: mrfpipe phantom thigh.h5 --slices 2 --seed 7
    """
    from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
    from mrfpipe.files.atomic import refuse_existing, require_space, writing
    from mrfpipe.phantom.anatomy import ANATOMIES
    from mrfpipe.phantom.scanner import scan
    from mrfpipe.phantom.truth import save_truth
    from mrfpipe.protocol import load_protocol

    truth = output.with_name(f"{output.stem}.truth.npz")
    for path in (output, truth):
        refuse_existing(path, force=settings.force)
    loaded = load_protocol(protocol)
    sequence = loaded.sequence
    phantom = ANATOMIES[anatomy](
        matrix=sequence.matrix,
        fov=sequence.fov,
        n_slices=slices,
        slice_spacing=1.5 * sequence.slice_thickness,
        seed=settings.seed,
    )
    raw = scan(phantom, loaded, n_coils=coils, snr=snr, seed=settings.seed, name=output.stem)
    require_space(output, raw.kspace.nbytes + slices * raw.trajectory.nbytes)
    with writing(truth, force=settings.force) as partial:
        save_truth(phantom, partial)
    with writing(output, force=settings.force) as partial:
        write_ismrmrd(raw, sequence, partial, field=loaded.tissue.field)
    click.echo(f"{output}: {anatomy}, {slices} slice(s), {coils} coils, {raw.n_spokes} spokes; truth in {truth}")
    settings.say(f"next: mrfpipe match {output} -d DICT.h5 -o RESULTS")
