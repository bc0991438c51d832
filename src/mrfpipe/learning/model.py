"""TrainedModel: a network with everything that is needed to use it, and its folder on disk.

The folder holds ``model.safetensors`` (the weights) and ``model.json`` (everything else). Reading it runs no code.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from mrfpipe.errors import InputError
from mrfpipe.files.kinds import DESCRIPTION_FILE
from mrfpipe.imaging.series import Kind
from mrfpipe.learning.architecture import Architecture
from mrfpipe.learning.competitors import Competitor
from mrfpipe.learning.encoding import Encoding
from mrfpipe.learning.network import FingerprintNetwork, MapNetwork
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.physics.simulate import SPOILED, SignalModel
from mrfpipe.protocol import parse_protocol
from mrfpipe.quantities import Parameter

T = TypeVar("T")

SCHEMA = "mrfpipe-model/6"
WEIGHTS_FILE = "model.safetensors"
CPU = torch.device("cpu")
ENCODING = "encoding."
"""Prefix of the names of the encoding's tensors; real and imaginary parts of complex tensors are their last axis."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedModel:
    """A network in evaluation mode, with the sequence, protocol and signal model it was trained for."""

    network: MapNetwork
    """The network with its weights."""
    architecture: Architecture | Competitor
    """Layers of the network, or the name of a published network."""
    scaling: MapScaling
    """Turns the network's output into maps."""
    encoding: Encoding | None
    """Turns frames into the network's input; None if it reads the frames themselves."""
    sequence_hash: str
    """Hash of the sequence whose frames the network reads."""
    protocol_hash: str
    """Hash of the protocol the network was trained with."""
    protocol_toml: str
    """Text of that protocol's file."""
    signal_model: SignalModel = SPOILED
    """Signal model that defines the maps: that of the dictionary its labels come from, or of the phantoms' scans."""
    corrects: bool = False
    """Whether the network corrects fitted maps: it then reads these maps and their standard deviations in addition to
    coefficients, and returns the corrections, and the logarithms of the ratio between the remaining standard deviations
    and those of the fit."""
    record: Mapping[str, Any]
    """How the network was trained, in plain values that JSON can hold."""

    def __repr__(self) -> str:
        n_parameters = f"{self.architecture.n_parameters:,} parameters"
        return f"<TrainedModel of protocol {self.protocol_hash[:12]}: {n_parameters}, reads {self.reads}>"

    @property
    def reads(self) -> Kind:
        """Kind of images it was trained on and reads: frames, or coefficients of a subspace reconstruction."""
        return "coefficients" if self.record.get("input") == "coefficients" else "frames"


def save_model(model: TrainedModel, folder: str | Path, *, half: bool = False) -> None:
    """Write a model into a folder, which is created if it does not exist.

    Parameters
    ----------
    model
        Model to write.
    folder
        Folder to write to.
    half
        Whether to round the kernels to float16, which halves the size. Biases and the tensors of batch normalisation,
        which may exceed the range of float16, stay as they are.

    Raises
    ------
    InputError
        If a kernel exceeds the range of float16.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    if half:
        tensors = {name: _halved(name, tensor) for name, tensor in tensors.items()}
    if model.encoding is not None:
        tensors |= _encoding_tensors(model.encoding)
    save_file(tensors, folder / WEIGHTS_FILE)
    description = {
        "schema": SCHEMA,
        "weights_sha256": sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest(),
        "architecture": asdict(model.architecture),
        "maps": [
            {"name": parameter.name, "low": low, "high": high}
            for parameter, low, high in zip(
                model.scaling.parameters, model.scaling.low, model.scaling.high, strict=True
            )
        ],
        "sequence_hash": model.sequence_hash,
        "protocol_hash": model.protocol_hash,
        "protocol_toml": model.protocol_toml,
        "signal_model": asdict(model.signal_model),
        "corrects": model.corrects,
        "record": dict(model.record),
    }
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _halved(name: str, tensor: Tensor) -> Tensor:
    if not _is_kernel(tensor):
        return tensor
    rounded = tensor.half()
    if not torch.isfinite(rounded).all():
        raise InputError(f"{name} leaves the range of float16; write the model without half.")
    return rounded


def _is_kernel(tensor: Tensor) -> bool:
    """Return whether a tensor is the weight of a layer, as most values are, not a bias or part of a normalisation."""
    return tensor.ndim > 1


def load_model(folder: str | Path, device: torch.device = CPU) -> TrainedModel:
    """Read a model that `save_model` wrote; float16 kernels are converted to float32.

    Raises
    ------
    InputError
        If a file is missing, damaged or of another kind or schema, or the tensors do not fit the architecture.
    """
    folder = Path(folder)
    path = folder / DESCRIPTION_FILE
    values = _read_description(path)
    try:
        sequence_hash, protocol_hash, protocol_toml = (
            _typed(values[key], str) for key in ("sequence_hash", "protocol_hash", "protocol_toml")
        )
        parameters = parse_protocol(protocol_toml, f"{path}, its protocol").parameters
        corrects = _typed(values.get("corrects", False), bool)  # older models do not say
        architecture = _architecture(values["architecture"], len(parameters), corrects=corrects)
        scaling = _scaling(values["maps"], parameters)
        signal_model = _signal_model(values.get("signal_model", asdict(SPOILED)))  # older models do not say
        record = _typed(values["record"], dict)
        digest = _typed(values.get("weights_sha256", ""), str)
    except KeyError as e:
        raise InputError(f"{path} does not describe a model: {e} is missing; train the model again.") from e
    except (TypeError, ValueError, OverflowError) as e:
        raise InputError(f"{path} does not describe a model: {str(e).rstrip('.')}; train the model again.") from e
    n_coefficients = architecture.n_inputs // 2 - corrects * len(parameters)
    network, encoding = _read_weights(folder / WEIGHTS_FILE, architecture, n_coefficients)
    if corrects and encoding is None:
        raise InputError(f"{path} describes a network that corrects maps but has no encoding; train the model again.")
    _check_digest(folder / WEIGHTS_FILE, digest)
    return TrainedModel(
        network=network.to(device),
        encoding=encoding,
        architecture=architecture,
        scaling=scaling,
        sequence_hash=sequence_hash,
        protocol_hash=protocol_hash,
        protocol_toml=protocol_toml,
        signal_model=signal_model,
        corrects=corrects,
        record=record,
    )


def _check_digest(path: Path, digest: str) -> None:
    """Refuse weights that changed since they were written; models from before digests were introduced have none."""
    with path.open("rb") as file:
        if digest and file_digest(file, "sha256").hexdigest() != digest:
            raise InputError(f"{path} is not what was written with {DESCRIPTION_FILE}; copy the model's folder again.")


def _read_description(path: Path) -> dict[str, Any]:
    if path.exists() and not path.is_file():  # a pipe would never end
        raise InputError(f"{path} is not a file; copy the model's folder again.")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing; give the folder that the training wrote.") from None
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}; check the file.") from e
    except (ValueError, RecursionError) as e:
        raise InputError(f"{path} is not a JSON file; copy the model's folder again.") from e
    schema = description.get("schema") if isinstance(description, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{path} has schema {schema!r}, this version reads {SCHEMA!r}; train the model again.")
    return dict(description)


def _typed(value: object, kind: type[T]) -> T:
    """Return a value of a file if its type is exactly `kind`."""
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is not of type {kind.__name__}")
    return value


def _architecture(values: Mapping[str, Any], n_maps: int, *, corrects: bool) -> Architecture | Competitor:
    """Build the described architecture; check that it reads pairs of channels and has outputs for `n_maps` maps."""

    def counts(value: object) -> tuple[int, ...]:
        return tuple(_typed(one, int) for one in _typed(value, list))

    kind = Competitor if "name" in values else Architecture
    made: Any = {}
    for field in fields(kind):
        value = values[field.name]
        made[field.name] = _typed(value, field.type) if isinstance(field.type, type) else counts(value)
    architecture = kind(**made)
    if architecture.n_inputs % 2 or architecture.n_outputs != (1 + corrects) * n_maps:
        raise ValueError(f"{architecture.n_inputs} inputs and {architecture.n_outputs} outputs are not frames and maps")
    return architecture


def _scaling(maps: object, parameters: tuple[Parameter, ...]) -> MapScaling:
    entries = [_typed(entry, dict) for entry in _typed(maps, list)]
    if [entry["name"] for entry in entries] != [parameter.name for parameter in parameters]:
        raise ValueError(f"its maps are not {', '.join(parameter.name for parameter in parameters)}")
    return MapScaling(
        parameters=parameters,
        low=tuple(_typed(entry["low"], float) for entry in entries),
        high=tuple(_typed(entry["high"], float) for entry in entries),
    )


def _signal_model(values: object) -> SignalModel:
    entries = _typed(values, dict)
    return SignalModel.of(_typed(entries["spoiling"], str), slice_profile=_typed(entries["slice_profile"], bool))


def _read_weights(
    path: Path, architecture: Architecture | Competitor, n_coefficients: int
) -> tuple[MapNetwork, Encoding | None]:
    """Read the weights of an architecture and its encoding; memory is allocated only when names and shapes fit."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"{path} is missing; copy the model's folder again.")
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
            stored = {name: file.get_tensor(name) for name in shapes if name.startswith(ENCODING)}
            shapes = {name: shape for name, shape in shapes.items() if name not in stored}
            if isinstance(architecture, Architecture) and not _may_hold(shapes, architecture):
                raise InputError(f"{path} does not hold the layers that {DESCRIPTION_FILE} describes; train again.")
            network = _skeleton(path, architecture)
            _check_shapes(path, shapes, network)
            tensors = {name: file.get_tensor(name) for name in shapes}
    except SafetensorError as e:
        raise InputError(f"{path} is not a safetensors file or is truncated; copy the model's folder again.") from e
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror or e}; check the file.") from e
    for name, tensor in tensors.items():
        _check_values(path, name, tensor, network.state_dict()[name].dtype)
    network = network.to_empty(device="cpu")
    network.load_state_dict(tensors)
    network = network.requires_grad_(requires_grad=False).eval()
    return network, _encoding(path, stored, n_coefficients) if stored else None


def _skeleton(path: Path, architecture: Architecture | Competitor) -> MapNetwork:
    try:
        if isinstance(architecture, Architecture):
            return FingerprintNetwork(architecture, "meta")
        return architecture.build("meta")
    except (TypeError, RuntimeError, OverflowError) as e:  # more values than torch counts
        raise InputError(
            f"{path} cannot hold layers of the size that {DESCRIPTION_FILE} describes; train again."
        ) from e


def _may_hold(shapes: Mapping[str, tuple[int, ...]], architecture: Architecture) -> bool:
    """Return whether tensors may belong to an architecture, before layers that a damaged file describes are built."""
    n_convolutions = sum(len(shape) == 4 for shape in shapes.values())
    n_values = sum(math.prod(shape) for shape in shapes.values())
    return n_convolutions == architecture.n_nonlinearities + 1 and n_values >= architecture.n_parameters


def _encoding_tensors(encoding: Encoding) -> dict[str, Tensor]:
    return {
        f"{ENCODING}basis": torch.view_as_real(torch.from_numpy(encoding.basis.copy())),
        f"{ENCODING}mean": torch.view_as_real(torch.from_numpy(encoding.mean.copy())),
        f"{ENCODING}deviation": torch.from_numpy(encoding.deviation.copy()),
    }


def _encoding(path: Path, stored: Mapping[str, Tensor], rank: int) -> Encoding:
    try:
        encoding = Encoding(
            basis=torch.view_as_complex(stored[f"{ENCODING}basis"]).numpy().copy(),  # not left in the mapped file
            mean=torch.view_as_complex(stored[f"{ENCODING}mean"]).numpy().copy(),
            deviation=stored[f"{ENCODING}deviation"].numpy().copy(),
        )
    except (KeyError, RuntimeError, TypeError, ValueError) as e:
        raise InputError(f"{path}: the encoding is incomplete ({e}); train the model again.") from e
    if encoding.mean.size != rank:
        raise InputError(f"{path}: the encoding has rank {encoding.mean.size}, the network reads {rank}; train again.")
    return encoding


def _check_values(path: Path, name: str, tensor: Tensor, dtype: torch.dtype) -> None:
    halved = tensor.dtype == torch.float16 and dtype == torch.float32 and _is_kernel(tensor)
    if tensor.dtype != dtype and not halved:
        raise InputError(f"{path}: {name} is {tensor.dtype}, expected {dtype}; train the model again.")
    if not torch.isfinite(tensor).all():
        raise InputError(f"{path}: {name} is not finite everywhere; train the model again.")


def _check_shapes(path: Path, shapes: Mapping[str, tuple[int, ...]], network: MapNetwork) -> None:
    expected: dict[str, Tensor] = network.state_dict()
    for name in sorted(expected.keys() ^ shapes.keys()):
        problem = "is missing" if name in expected else "is not known"
        raise InputError(f"{path}: tensor {name} {problem}; weights and {DESCRIPTION_FILE} are not of one model.")
    for name, tensor in expected.items():
        if shapes[name] != tuple(tensor.shape):
            raise InputError(
                f"{path}: tensor {name} has shape {shapes[name]}, expected {tuple(tensor.shape)}; weights and "
                f"{DESCRIPTION_FILE} are not of one model."
            )
