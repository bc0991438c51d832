"""``mrfpipe demo``: the whole pipeline on a phantom, where each step is a command that can be typed."""

import shlex
from pathlib import Path

import click

from . import main
from .options import INPUT, Settings, common_options, device_option

SEED = 3
"""Seed of the phantom, which is not among the training data of the bundled network."""


@click.command()
@click.option("-o", "--output", type=INPUT, default="mrfpipe-demo", show_default=True, help="Folder to write to.")
@device_option
@common_options
def command(settings: Settings, output: Path) -> None:
    """Simulate a scan, map it by exact matching and by the bundled network, and compare both with ground truth.

    The demo takes about a minute on a CPU. It prints each step as a command that can be typed.

    Example: mrfpipe demo -o demo
    """
    scan, frames = output / "thigh.h5", output / "thigh.frames.h5"
    dictionary, truth, page = output / "t1ff.h5", output / "thigh.truth.npz", output / "compare.html"
    matching, network = output / "matching", output / "network"
    device = [] if settings.device_name == "auto" else ["--device", settings.device_name]
    _run(settings, "phantom", scan, "--seed", SEED)
    _run(settings, "frames", scan, "-o", frames, *device)
    _run(settings, "simulate", "t1ff", "-o", dictionary, *device)
    _run(settings, "match", frames, "-d", dictionary, "-o", matching, *device)
    _run(settings, "reconstruct", frames, "-o", network, *device)
    for results in (matching, network):
        _run(settings, "evaluate", results / "thigh", truth)
    _run(settings, "compare", network / "thigh", matching / "thigh", "-o", page)
    click.echo(
        f"\nOpen {output.resolve()} in a browser: matching/thigh/report.html and network/thigh/report.html show each "
        "result with ground truth, compare.html shows both results."
    )


def _run(settings: Settings, *words: object) -> None:
    """Print a command line and run it as if it were typed; stop the demo if it fails."""
    line = [str(word) for word in words]
    click.echo(f"\n$ mrfpipe {shlex.join(line)}")
    options = ["--quiet"] if settings.verbosity < 0 else ["--verbose"] * settings.verbosity
    options += ["--force"] * settings.force
    code = main.main([*line, *options], prog_name="mrfpipe", standalone_mode=False)
    if code:
        click.get_current_context().exit(code)
