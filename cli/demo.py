"""``mrfpipe demo``: the whole way on a phantom, each step a command that can be typed."""

from pathlib import Path

import click

from . import main
from .options import INPUT, Settings, common_options

TRAINING_SEEDS = (1, 2)
TEST_SEED = 3


@click.command()
@click.option("-o", "--output", type=INPUT, default="mrfpipe-demo", show_default=True, help="Folder to fill.")
@common_options
def command(settings: Settings, output: Path) -> None:
    """Scan a phantom, match it exactly, train a small network on two others, and compare both with the truth.

    Takes some minutes on a CPU; every step is printed as the command that does it.

    Example: mrfpipe demo -o demo
    """
    scan, training = output / "thigh.h5", [output / f"training-{seed}.h5" for seed in TRAINING_SEEDS]
    dictionary, model, truth = output / "t1ff.h5", output / "model", output / "thigh.truth.npz"
    frames = [path.with_suffix(".frames.h5") for path in (scan, *training)]
    for path, seed in zip((scan, *training), (TEST_SEED, *TRAINING_SEEDS), strict=True):
        _run(settings, "phantom", path, "--seed", seed)
    for path, made in zip((scan, *training), frames, strict=True):
        _run(settings, "frames", path, "-o", made)
    _run(settings, "simulate", "t1ff", "-o", dictionary)
    _run(settings, "match", frames[0], "-d", dictionary, "-o", output / "matching")
    _run(settings, "train", *frames[1:], "-o", model, "--preset", "small", "--seed", settings.seed)
    _run(settings, "reconstruct", frames[0], "--model", model, "-o", output / "network")
    for results in ("matching", "network"):
        _run(settings, "evaluate", output / results / "thigh", truth)
    click.echo(
        f"\nOpen {output.resolve()}: matching/thigh/maps.png and network/thigh/maps.png show the maps and the truth."
    )


def _run(settings: Settings, *words: object) -> None:
    """Run a command line as if it were typed, and print it first; stop the demo where it fails."""
    line = [str(word) for word in words]
    click.echo(f"\n$ mrfpipe {' '.join(line)}")
    options = ["--quiet"] if settings.verbosity < 0 else ["--verbose"] * settings.verbosity
    options += ["--force"] * settings.force + ["--device", settings.device_name]
    code = main.main([*line, *options], prog_name="mrfpipe", standalone_mode=False)
    if code:
        click.get_current_context().exit(code)
