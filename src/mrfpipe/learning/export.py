"""Export: a trained model as one ONNX graph, from a scan's images to its maps, for machines without torch.

The graph contains every step from images to maps: encoding or normalisation, the network with its batch normalisations
folded into the convolutions, and the conversion to the units of the maps. It needs no other file.
"""

import json
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from mrfpipe.errors import ResourceError
from mrfpipe.learning.encoding import Encoding, fit_channels
from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.network import folded
from mrfpipe.version import __version__

SCHEMA = "mrfpipe-onnx/1"
OPSET = 18
INPUTS = ("images", "mask", "fitted", "deviations")
OUTPUT = "maps"


class Estimator(nn.Module):
    """Estimates maps from images: `reconstruct` without tiles, as one differentiable function of tensors."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        encoding, margin = model.encoding, model.architecture.margin
        if encoding is None:
            self.prepare: nn.Module = Normalise()
        else:
            self.prepare = Encode(encoding, projects=model.reads == "frames")
        self.pad = nn.ConstantPad2d((margin,) * 4, 0.0)
        self.network = folded(model.network)
        scale = torch.tensor([parameter.scale for parameter in model.scaling.parameters], dtype=torch.float64)
        low, high = (
            torch.tensor(ends, dtype=torch.float64) * scale for ends in (model.scaling.low, model.scaling.high)
        )
        for name, values in (("low", low), ("high", high), ("span", high - low)):
            self.register_buffer(name, values.float().reshape(1, -1, 1, 1))
        self.low: Tensor
        self.high: Tensor
        self.span: Tensor

    def forward(
        self, images: Tensor, mask: Tensor, fitted: Tensor | None = None, deviations: Tensor | None = None
    ) -> Tensor:
        """Estimate the maps from the inputs that `export_onnx` describes. Shape `(slices, maps, y, x)`.

        Maps are in the units of files and clipped to the ranges of the training; values outside the mask mean nothing.
        """
        shown = self.prepare(images, mask)
        if fitted is None or deviations is None:
            unit = self.network(self.pad(shown))
        else:
            span = torch.where(self.span > 0, self.span, 1)
            before = torch.where(mask > 0, (fitted - self.low) / span, 0)
            channels = fit_channels(before, torch.where(mask > 0, deviations / span, 1).log())
            correction = self.network(self.pad(torch.cat([shown, channels * mask], dim=1)))
            unit = before + correction[:, : before.shape[1]]
        return torch.minimum(torch.maximum(self.low + unit * self.span, self.low), self.high)


class Normalise(nn.Module):
    """Normalises frames to mean 0 and standard deviation 1 over the mask of all slices.

    Real and imaginary parts are normalised separately.
    """

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        """Normalise the slices of one scan. Shape `(slices, 2 frames, y, x)`."""
        n_frames = images.shape[1] // 2
        count = mask.sum() * n_frames
        parts = []
        for part in (images[:, :n_frames], images[:, n_frames:]):
            centred = part - (part * mask).sum() / count
            parts.append(centred / torch.sqrt((centred.square() * mask).sum() / count))
        return torch.cat(parts, dim=1)


class Encode(nn.Module):
    """An `Encoding` as a module: standardised coefficients without phase and norm, zero outside the mask.

    It projects frames onto the basis, or else reads coefficients in the encoding's own basis.
    """

    def __init__(self, encoding: Encoding, *, projects: bool) -> None:
        super().__init__()
        basis = torch.from_numpy(encoding.basis.copy())
        real, imag = basis.real.T, -basis.imag.T  # the conjugate of the basis, (rank, frames)
        rows = torch.cat([torch.cat([real, -imag], dim=1), torch.cat([imag, real], dim=1)])
        matrix = rows if projects else torch.eye(2 * basis.shape[1])
        mean = torch.view_as_real(torch.from_numpy(encoding.mean.copy())).T.reshape(1, -1, 1, 1)
        deviation = torch.from_numpy(encoding.deviation.copy()).repeat(2).reshape(1, -1, 1, 1)
        for name, values in (("matrix", matrix[..., None, None]), ("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, values.contiguous())
        self.matrix: Tensor
        self.mean: Tensor
        self.deviation: Tensor

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        """Encode slices. Shape `(slices, 2 rank, y, x)`."""
        coefficients = nn.functional.conv2d(images, self.matrix)
        rank = self.matrix.shape[0] // 2
        real, imag = coefficients[:, :rank], coefficients[:, rank:]
        first_real, first_imag = real[:, :1], imag[:, :1]
        first = torch.sqrt(first_real.square() + first_imag.square())
        norm = torch.sqrt(coefficients.square().sum(dim=1, keepdim=True))
        # Without signal, all coefficients stay zero; if only the first coefficient is zero, its phase is taken as zero.
        safe = torch.where(first > 0, first, torch.ones_like(first))
        cosine = torch.where(first > 0, first_real / safe, torch.ones_like(first))
        sine = first_imag / safe
        turned = torch.cat([real * cosine + imag * sine, imag * cosine - real * sine], dim=1)
        directions = turned / torch.where(norm > 0, norm, torch.ones_like(norm))
        return (directions - self.mean) / self.deviation * mask


def export_onnx(model: TrainedModel, path: Path) -> None:
    """Write a model as an ONNX graph; ResourceError if ONNX is not installed.

    The inputs are ``images``, `(slices, 2 frames, y, x)`, the real parts of all frames followed by the imaginary parts,
    in any unit, and ``mask``, `(slices, 1, y, x)`, 1 inside tissue. The output is ``maps``, `(slices, maps, y, x)`. All
    are float32, with any number of slices and any size. A model that was trained on coefficients reads coefficients in
    its own basis instead of frames. A model without encoding normalises by the mean and standard deviation of its
    input, so it must be given all slices of a scan at once. A model that corrects maps has two more inputs, ``fitted``
    and ``deviations``: the results of `mrfpipe.matching.joint.fitted` in the units of ``maps``. The graph's metadata
    name maps, units, ranges, sequence, protocol and signal model.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch needs it to export
    except ImportError as e:
        raise ResourceError(f"Exporting needs {e.name}, which is not installed; pip install 'mrfpipe[onnx]'.") from e
    estimator = Estimator(model).eval().requires_grad_(requires_grad=False)
    if model.encoding is not None and model.reads == "frames":
        channels = 2 * len(model.encoding.basis)
    else:
        channels = model.architecture.n_inputs if model.encoding is None else 2 * model.encoding.mean.size
    # Separate tensors, because the graph would merge inputs that are the same tensor.
    fitted = [torch.ones(2, len(model.scaling.parameters), 24, 20) for _ in range(2 * model.corrects)]
    example = torch.ones(2, channels, 24, 20), torch.ones(2, 1, 24, 20), *fitted
    slices, height, width = torch.export.Dim("slices"), torch.export.Dim("y"), torch.export.Dim("x")
    sizes = {0: slices, 2: height, 3: width}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecation warnings
        program = torch.onnx.export(
            estimator,
            example,
            dynamo=True,
            input_names=list(INPUTS[: len(example)]),
            output_names=[OUTPUT],
            dynamic_shapes=(sizes,) * len(example),
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch gave no ONNX program.")
    proto = program.model_proto
    onnx.helper.set_model_props(proto, _metadata(model))
    onnx.checker.check_model(proto)
    onnx.save_model(proto, path)


def _metadata(model: TrainedModel) -> dict[str, str]:
    ranges = zip(model.scaling.low, model.scaling.high, strict=True)
    maps = [
        {"name": p.name, "unit": p.unit, "low": low * p.scale, "high": high * p.scale}
        for p, (low, high) in zip(model.scaling.parameters, ranges, strict=True)
    ]
    encoded = "none: normalised over all slices given" if model.encoding is None else "in the graph"
    return {
        "schema": SCHEMA,
        "mrfpipe_version": __version__,
        "maps": json.dumps(maps),
        "reads": model.reads,
        "encoding": encoded,
        "sequence_hash": model.sequence_hash,
        "protocol_hash": model.protocol_hash,
        "protocol_toml": model.protocol_toml,
        "signal_model": str(model.signal_model),
    }
