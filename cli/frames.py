"""``mrfpipe frames``: raw scan to a series of frames."""

from pathlib import Path

import click

from .options import INPUT, Settings, common_options


@click.command()
@click.argument("raw", type=INPUT, metavar="RAW")
@click.option("-o", "--output", type=INPUT, required=True, metavar="FRAMES.h5", help="Frames file to write.")
@click.option("--protocol", default="t1ff", show_default=True, help="What was scanned: a name or a TOML file.")
@common_options
def command(settings: Settings, raw: Path, output: Path, protocol: str) -> None:
    """Reconstruct the frames of the raw scan RAW (ISMRMRD), for `match`, `train` and `reconstruct` to read.

    Example: mrfpipe frames thigh.h5 -o thigh.frames.h5
    """
    from mrfpipe.files.atomic import refuse_existing
    from mrfpipe.files.frames import save_frames
    from mrfpipe.pipeline import load_series, scan_name
    from mrfpipe.protocol import load_protocol

    from .output import Record

    refuse_existing(output, force=settings.force)
    scan_name(raw)
    record, loaded = Record(), load_protocol(protocol)
    series = load_series(raw, loaded, settings.progress)
    provenance = record.provenance(inputs=[raw], protocol=loaded, method="adjoint NUFFT, frame by frame", device="cpu")
    save_frames(series, output, protocol=loaded, provenance=provenance, force=settings.force)
    click.echo(
        f"{output}: {series.n_slices} slice(s), {series.n_frames} frames of {series.images.shape[-2]} x "
        f"{series.images.shape[-1]}, {series.mask.sum():,} voxels of tissue"
    )
    settings.say(f"next: mrfpipe match {output} -d DICT.h5 -o RESULTS")
