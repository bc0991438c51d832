"""The options of commands that read raw scans: how a scan becomes a series of images."""

import functools
from collections.abc import Callable
from typing import Any

import click

from mrfpipe.imaging.choices import BY_FRAMES, Imaging

from .options import Settings


def imaging_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that is called with its settings the options of reconstruction, and `imaging` made of them."""
    return _recon_option(scan_options(command))


_recon_option = click.option(
    "--recon",
    type=click.Choice(["nufft", "subspace"]),
    default=BY_FRAMES.recon,
    show_default=True,
    help="Each frame by itself, or all readouts together in the dictionary's leading vectors: slower, more accurate.",
)


def scan_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the same options but --recon, where it is not the caller who chooses the kind of images."""

    @click.option(
        "--nufft",
        "backend",
        type=click.Choice(["sigpy", "finufft"]),
        default=BY_FRAMES.backend,
        show_default=True,
        help="What computes the NUFFT; finufft is more accurate, faster by subspace, and needs mrfpipe[finufft].",
    )
    @click.option(
        "--coil-maps",
        type=click.Choice(["centre", "espirit", "jsense"]),
        default=BY_FRAMES.coil_maps,
        show_default=True,
        help="How coil sensitivities are estimated.",
    )
    @click.option(
        "--virtual-coils",
        type=click.IntRange(min=1),
        metavar="N",
        help="Compress to at most so many coils. [default: 8 for subspace, all for nufft]",
    )
    @click.option(
        "--noise",
        type=click.Choice(["scan", "edges"]),
        default=BY_FRAMES.noise,
        show_default=True,
        help="Whiten the coils by the noise scan, if there is one, or by the edge of k-space.",
    )
    @click.option(
        "--conjugate",
        is_flag=True,
        help="Take the complex conjugate of all samples: for a scan whose phase turns the other way, which is refused "
        "without. The anatomy stays where it is.",
    )
    @click.option(
        "--delays/--no-delays",
        "correct_delays",
        default=BY_FRAMES.correct_delays,
        help="Correct gradient delays that stand out from the scan itself, which those of spokes do. [default: delays "
        "of golden-radial readouts, none of stored ones]",
    )
    @functools.wraps(command)
    def with_imaging(
        settings: Settings,
        *args: Any,  # noqa: ANN401 - the command's own arguments
        recon: Any = BY_FRAMES.recon,  # noqa: ANN401 - click has checked the choices
        backend: Any,  # noqa: ANN401
        coil_maps: Any,  # noqa: ANN401
        virtual_coils: int | None,
        noise: Any,  # noqa: ANN401
        conjugate: bool,
        correct_delays: bool | None,
        **kwargs: Any,  # noqa: ANN401 - the command's own options
    ) -> None:
        imaging = Imaging(
            recon=recon,
            backend=backend,
            coil_maps=coil_maps,
            virtual_coils=virtual_coils,
            noise=noise,
            conjugate=conjugate,
            correct_delays=correct_delays,
        )
        command(settings, *args, imaging=imaging, **kwargs)

    return with_imaging
