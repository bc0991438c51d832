"""``mrfpipe frames``: raw scans to series of frames."""

from pathlib import Path

import click

from .options import INPUT, Settings, Where, common_options, scheduler_option


@click.command()
@click.argument("raw", nargs=-1, required=True, type=INPUT, metavar="RAW...")
@click.option(
    "-o",
    "--output",
    type=INPUT,
    required=True,
    metavar="FRAMES.h5|DIR",
    help="Frames file to write; of several scans, the folder for one file SCAN.frames.h5 each.",
)
@click.option("--protocol", default="t1ff", show_default=True, help="What was scanned: a name or a TOML file.")
@scheduler_option
@common_options
def command(settings: Settings, raw: tuple[Path, ...], output: Path, protocol: str, where: Where) -> None:
    """Reconstruct the frames of each raw scan RAW (ISMRMRD), for `match`, `train` and `reconstruct` to read.

    Frames that were made of the same scan with the same protocol are skipped, and after a scan that fails the others go
    on; the exit code tells at the end.

    Example: mrfpipe frames thigh.h5 -o thigh.frames.h5
    """
    from mrfpipe.jobs import FramesJob
    from mrfpipe.protocol import load_protocol

    from .output import do_all, targets

    several = len(set(raw)) > 1
    files, failures = targets(
        map(where.path, raw), lambda name: where.path(output / f"{name}.frames.h5" if several else output)
    )
    loaded = load_protocol(protocol)
    jobs = [
        FramesJob(
            source=path,
            target=file,
            protocol=loaded,
            force=settings.force,
            command=settings.command,
            batch=where.batch,
            threads=settings.threads,
        )
        for path, file in files.items()
    ]
    do_all(jobs, failures, settings, where.scheduler)
    settings.say(f"next: mrfpipe match {output / '*.frames.h5' if several else output} -d DICT.h5 -o RESULTS")
