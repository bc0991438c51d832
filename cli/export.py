"""``mrfpipe export``: a network as an ONNX graph."""

from pathlib import Path

import click

from mrfpipe.files.kinds import NETWORK

from .options import Settings, common_options
from .paths import Input, Output


@click.command()
@click.argument("model", required=False, type=Input(NETWORK), metavar="[MODEL]")
@click.option("-o", "--output", type=Output(), required=True, metavar="MODEL.onnx", help="File to write.")
@common_options
def command(settings: Settings, model: Path | None, output: Path) -> None:
    """Export MODEL, a network written by `train`, as one ONNX graph; without MODEL, the bundled pretrained network.

    Inputs of the graph: `images` (slices, 2 frames, y, x), the real parts of all frames, then the imaginary parts, and
    `mask` (slices, 1, y, x), 1 inside tissue. Output: `maps` (slices, maps, y, x) in the units of the metadata. The
    number of slices and the image size are free. A network trained on coefficients takes coefficients instead of
    frames. A network that corrects fitted maps, such as the bundled one, also takes `fitted` and `deviations` (slices,
    maps, y, x), as the Python function mrfpipe.matching.joint.fitted finds them. A network without encoding normalises
    over its whole input, so pass all slices of a scan at once. Needs mrfpipe[onnx].

    Example: mrfpipe export model -o model.onnx
    """
    import torch

    from mrfpipe.files.atomic import writing
    from mrfpipe.learning.export import export_onnx
    from mrfpipe.learning.model import load_model
    from mrfpipe.learning.shipped import shipped_model

    loaded = load_model(model or shipped_model(), torch.device("cpu"))
    with writing(output, force=settings.force) as partial:
        export_onnx(loaded, partial)
    click.echo(f"{output}: {loaded.architecture.n_parameters:,} parameters, {output.stat().st_size / 1e6:.1f} MB")
