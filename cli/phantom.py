"""``mrfpipe phantom``: a simulated raw scan with known truth."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from .options import Number, Settings, common_options, seed_option
from .paths import Output, protocol_option

if TYPE_CHECKING:
    from mrfpipe.acquisition.scan import RawScan
    from mrfpipe.phantom.truth import Phantom
    from mrfpipe.protocol import Protocol


@click.command()
@click.argument("output", type=Output(), metavar="OUT.h5")
@click.option(
    "--anatomy",
    type=click.Choice(["thigh", "leg", "shoulder", "abdomen", "pelvis", "spheres"]),
    default="thigh",
    show_default=True,
    help="Body region, or the spheres of the ISMRM/NIST system phantom.",
)
@click.option("--slices", type=click.IntRange(1, 100), default=1, show_default=True, help="Number of slices.")
@click.option("--coils", type=click.IntRange(1, 128), default=8, show_default=True, help="Number of receive coils.")
@click.option(
    "--snr",
    type=Number(min=0, min_open=True, infinite=True),
    default=4000.0,
    show_default=True,
    help="Signal-to-noise ratio: mean magnitude at the centre of k-space over the noise.",
)
@protocol_option()
@seed_option
@common_options
def command(
    settings: Settings, output: Path, anatomy: str, slices: int, coils: int, snr: float, protocol: "Protocol"
) -> None:
    """Simulate the raw scan of a phantom: OUT.h5 (ISMRMRD), with the ground truth in OUT.truth.npz.

    The seed determines the subject: build, muscles, disease, fields and noise; for spheres, their contents.

    Example: mrfpipe phantom thigh.h5 --slices 2 --seed 7
    """
    from mrfpipe.files.atomic import refuse_existing

    truth = truth_beside(output)
    refuse_existing(truth, force=settings.force)

    from mrfpipe.phantom.anatomy import ANATOMIES
    from mrfpipe.phantom.scanner import scan
    from mrfpipe.phantom.spheres import spheres

    sequence = protocol.sequence
    phantom = (ANATOMIES | {"spheres": spheres})[anatomy](
        matrix=sequence.matrix,
        fov=sequence.fov,
        n_slices=slices,
        slice_spacing=1.5 * sequence.slice_thickness,
        seed=settings.seed,
    )
    raw = scan(phantom, protocol, n_coils=coils, snr=snr, seed=settings.seed, name=output.stem)
    write_scan(output, phantom, raw, protocol, force=settings.force)
    click.echo(f"{output}: {anatomy}, {slices} slice(s), {coils} coils, {raw.n_readouts} readouts; truth in {truth}")
    settings.say(f"next: mrfpipe match {quote(str(output))} -d DICT.h5 -o RESULTS")


def truth_beside(path: Path) -> Path:
    """Return the path of the truth of a phantom's raw scan."""
    return path.with_name(f"{path.stem}.truth.npz")


def write_scan(path: Path, phantom: "Phantom", raw: "RawScan", protocol: "Protocol", *, force: bool) -> None:
    """Write a phantom's raw scan and the truth beside it; both get their names when both are complete."""
    from mrfpipe.acquisition.ismrmrd_writer import write_ismrmrd
    from mrfpipe.files.atomic import require_space, writing
    from mrfpipe.files.truth import save_truth

    require_space(path, raw.kspace.nbytes + raw.n_slices * raw.trajectory.nbytes)
    with writing(truth_beside(path), force=force) as truth, writing(path, force=force) as partial:
        save_truth(phantom.maps, phantom.rois, truth)
        write_ismrmrd(raw, protocol.sequence, partial, field=protocol.field)
