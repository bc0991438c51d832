"""The options of commands that read raw scans: how a scan becomes a series of images."""

import functools
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from mrfpipe.imaging.choices import BY_FRAMES, Imaging

from .options import INPUT, Settings


def imaging_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of reconstruction to a command, which receives them as `imaging` in addition to its settings."""
    return _recon_option(field_map_option(scan_options(command)))


def _absolute(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """Make a path absolute, so that it does not depend on the folder in which a worker was started."""
    return path and path.absolute()


field_map_option = click.option(
    "--field-map",
    type=INPUT,
    callback=_absolute,
    metavar="RESULT|IMAGE.nii.gz",
    help="Correct off-resonance during readouts, which blurs spirals, with the off-resonance map of a result or a BIDS "
    "field map (NIfTI, Hz) on the grid of the scan. Takes two to five times as long.",
)
"""For commands that make maps or frames of raw scans."""

trust_option = click.option(
    "--trust-protocol",
    is_flag=True,
    help="Use the protocol where the scan's header contradicts it, as for custom sequences; results list where.",
)
"""For commands that read raw scans."""

_recon_option = click.option(
    "--recon",
    type=click.Choice(["nufft", "subspace", "joint"]),
    help="nufft reconstructs each frame by itself, which is fast; subspace reconstructs all readouts together in a "
    "low-rank temporal subspace of the dictionary and fits the parameters of all voxels to them, which is more "
    "accurate; joint fits them to more basis vectors, which is the most accurate and the slowest. "
    "[default: joint; subspace with --field-map]",
)
frames_option = click.option(
    "--recon",
    type=click.Choice(["nufft", "subspace"]),
    default=BY_FRAMES.recon,
    show_default=True,
    help="nufft reconstructs each frame by itself; subspace reconstructs all readouts together in a low-rank temporal "
    "subspace of the dictionary.",
)
"""For the command that makes frames."""


def scan_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the same options to a command, except for --recon and --field-map, which not all commands have.

    The options have the names of the fields of `Imaging`.
    """

    @click.option(
        "--nufft",
        "backend",
        type=click.Choice(["sigpy", "finufft"]),
        help="NUFFT library on the CPU; a GPU uses torch. [default: sigpy for frames, finufft for subspace and joint]",
    )
    @click.option(
        "--coil-maps",
        type=click.Choice(["centre", "espirit", "jsense"]),
        default=BY_FRAMES.coil_maps,
        show_default=True,
        help="Method of coil sensitivity estimation.",
    )
    @click.option(
        "--virtual-coils",
        type=click.IntRange(min=1),
        default=BY_FRAMES.virtual_coils,
        show_default=True,
        metavar="N",
        help="Compress to at most N virtual coils.",
    )
    @click.option(
        "--noise",
        type=click.Choice(["scan", "edges"]),
        default=BY_FRAMES.noise,
        show_default=True,
        help="Noise for prewhitening: the noise scan, if there is one, or the edge of k-space.",
    )
    @click.option(
        "--conjugate/--no-conjugate",
        default=BY_FRAMES.conjugate,
        help="Conjugate all samples, for scans with the opposite sign of the phase, which are refused otherwise. The "
        "anatomy stays in place. [default: conjugate Siemens scans only]",
    )
    @trust_option
    @click.option(
        "--delays/--no-delays",
        "correct_delays",
        default=BY_FRAMES.correct_delays,
        help="Estimate gradient delays from the scan and correct them where they are significant. [default: correct "
        "golden-radial readouts, leave stored ones]",
    )
    @functools.wraps(command)
    def with_imaging(settings: Settings, *args: Any, **given: Any) -> None:  # noqa: ANN401 - click has checked them
        chosen = {field.name: given.pop(field.name) for field in fields(Imaging) if field.name in given}
        command(settings, *args, imaging=Imaging(**chosen), **given)

    return with_imaging
