"""Correction: training a network to correct the maps that were fitted to the samples (`mrfpipe.imaging.joint`).

The network reads the coefficients of a neighbourhood, the fitted maps and their standard deviations. It estimates a
correction that is added to each map, and the ratio of the remaining standard deviation to that of the fit: a fit knows
the noise of a scan and how smooth its maps are, but neither the detail it lost nor the errors of its prior. Seed and
epoch determine every random choice, so that a training continues from its checkpoint as if it had not been interrupted.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.nn.functional import pad

from mrfpipe.arrays import Complex, Int
from mrfpipe.errors import InputError
from mrfpipe.learning.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from mrfpipe.learning.encoding import Encoding, fit_channels
from mrfpipe.learning.engine import learning_rate
from mrfpipe.learning.journal import Journal
from mrfpipe.learning.model import TrainedModel
from mrfpipe.learning.network import FingerprintNetwork, initial_network, settle
from mrfpipe.learning.precision import exact_float32
from mrfpipe.learning.presets import Preset
from mrfpipe.learning.scaling import MapScaling
from mrfpipe.limit import MEDIAN_OF_NORMAL
from mrfpipe.physics.simulate import SignalModel
from mrfpipe.progress import Epochs
from mrfpipe.protocol import Protocol

FIRST_STEPS = 200
"""Steps of warm-up of the learning rate: the first gradients of an untrained network would throw it far off."""
LIKELIHOOD = 0.1
"""Weight of the standard deviations in the loss."""
LEAST_AND_MOST = (-4.0, 6.0)
"""Range of the logarithm of the ratio between a learned standard deviation and that of the fit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """A scan with its fitted and its true maps, to learn from."""

    coefficients: Tensor
    """Coefficients of unit norm and without phase (see `Encoding`), zero outside the body. Shape `(rank, y, x)`."""
    fitted: Tensor
    """Fitted maps, scaled to 0..1, zero outside the body. Shape `(maps, y, x)`."""
    log_sd: Tensor
    """Logarithms of the standard deviations of the fitted maps, as fractions of the ranges, zero outside the body.
    Shape `(maps, y, x)`."""
    maps: Tensor
    """True maps, scaled to 0..1. Shape `(maps, y, x)`."""
    precision: Tensor
    """Reciprocal of the squared error that is to be expected, 0 outside the body. Shape `(maps, y, x)`."""

    @property
    def inside(self) -> Tensor:
        """Mask of the body. Shape `(y, x)`."""
        return self.precision[0] > 0

    def on(self, device: torch.device) -> "Example":
        """Return the example on a device."""
        return Example(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def save(self, path: Path) -> None:
        """Write the example to a file, which appears only when it is complete."""
        from safetensors.torch import save_file

        temporary = path.with_name(f".{path.name}.part")
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors["coefficients"] = torch.view_as_real(self.coefficients)
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Example":
        """Read what `save` wrote; InputError if the file is damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors = load_file(path)
            coefficients = torch.view_as_complex(tensors.pop("coefficients"))
            return cls(coefficients=coefficients, **tensors)
        except (SafetensorError, OSError, KeyError, TypeError, RuntimeError) as e:
            raise InputError(f"{path} is damaged ({e}); delete it to have the scan made again.") from e


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """An example prepared for cutting patches, zero-padded so that every patch lies within it."""

    read: Tensor
    """Input of the network. Shape `(channels, y, x)`."""
    aims: Tensor
    """Errors to be corrected, the precision of every map, and the logarithm of the ratio between the standard deviation
    of the fit and the scale of the corrections. Shape `(3 maps, y, x)`."""
    voxels: Int
    """Indices of the voxels of the body. Shape `(voxels, 2 (y, x))`."""


@dataclass(slots=True, kw_only=True, eq=False)
class Training:
    """A training of a network that corrects fitted maps."""

    preset: Preset
    network: FingerprintNetwork
    examples: InitVar[Sequence[Example]]
    """Scans to learn from."""
    held_out: Sequence[Example]
    """Scans that monitor the training, on the training's device."""
    encoding: Encoding
    """Standardises the normalised coefficients."""
    scale: Tensor
    """Root mean square error of the fits: the unit of the corrections. Shape `(maps, 1, 1)`."""
    scaling: MapScaling
    """Scales the maps to 0..1."""
    seed: int
    sheets: Sequence[Sheet] = field(init=False)

    def __post_init__(self, examples: Sequence[Example]) -> None:
        """Prepare the scans for cutting patches."""
        self.sheets = [self._sheet(example.on(self.scale.device)) for example in examples]

    @property
    def n_steps(self) -> int:
        """Steps per epoch: as many as there are scans."""
        return len(self.sheets)

    def batch(self, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Cut patches around randomly drawn voxels: the input of the network, and the `aims` of the `Sheet`."""
        size, read, aims = self.preset.patch_size, [], []
        wide = size + 2 * self.network.margin
        for _ in range(self.preset.batch_size):
            sheet = self.sheets[int(random.integers(self.n_steps))]
            y, x = sheet.voxels[int(random.integers(len(sheet.voxels)))].tolist()
            read.append(sheet.read[:, y : y + wide, x : x + wide])
            aims.append(sheet.aims[:, y : y + size, x : x + size])
        return torch.stack(read).contiguous(memory_format=torch.channels_last), torch.stack(aims)

    def _sheet(self, example: Example) -> Sheet:
        around, margin = self.preset.patch_size // 2, self.network.margin
        return Sheet(
            read=pad(self.shown(example), [around + margin] * 4),
            aims=pad(self.aims(example), [around] * 4),
            voxels=np.argwhere(example.inside.cpu().numpy()),
        )

    def shown(self, example: Example) -> Tensor:
        """Stack standardised coefficients, fitted maps and their standard deviations, zero outside the body.

        Shape `(channels, y, x)`.
        """
        mean, deviation = (
            torch.from_numpy(values.copy()).to(example.coefficients.device)[:, None, None]
            for values in (self.encoding.mean, self.encoding.deviation)
        )
        standard = (example.coefficients - mean) / deviation
        channels = torch.cat([standard.real, standard.imag, fit_channels(example.fitted, example.log_sd)])
        return channels * example.inside

    def aims(self, example: Example) -> Tensor:
        """Stack the aims that `Sheet` describes. Shape `(3 maps, y, x)`."""
        errors = (example.maps - example.fitted) / self.scale
        return torch.cat([errors, example.precision, example.log_sd - self.scale.log()])

    def run(
        self, settings: Mapping[str, Any], progress: Epochs | None, checkpoint: Path | None, log: Path | None
    ) -> list[float]:
        """Train from the checkpoint, if there is one, to the last epoch; return the loss of every epoch."""
        preset, device = self.preset, self.scale.device
        optimiser, on_gpu = torch.optim.Adam(self.network.parameters(), lr=preset.learning_rate), device.type == "cuda"
        state = TrainingState(network=self.network, optimiser=optimiser)
        if checkpoint is not None and checkpoint.exists():
            load_checkpoint(checkpoint, state, settings)
        # Not bfloat16: its 8 bits are as coarse as the errors to be corrected.
        autocast, scaler = torch.autocast(device.type, torch.float16, enabled=on_gpu), GradScaler(enabled=on_gpu)
        with exact_float32(), Journal(log, n_done=state.epoch) as journal:
            while state.epoch < preset.n_epochs:
                began = time.monotonic()
                loss = self._epoch(state, autocast, scaler)
                if not math.isfinite(loss):
                    raise InputError(f"Training diverged in epoch {state.epoch + 1}: the loss is not finite.")
                state.losses.append(loss)
                entry = {"epoch": state.epoch, "n_epochs": preset.n_epochs, "loss": loss, **self.errors()}
                journal.write(entry | {"seconds": time.monotonic() - began})
                if checkpoint is not None:
                    save_checkpoint(checkpoint, state, settings)
                if progress is not None:
                    progress(state.epoch, preset.n_epochs, loss)
        return state.losses

    def _epoch(self, state: TrainingState, autocast: torch.autocast, scaler: GradScaler) -> float:
        """Take the steps of an epoch; return their mean loss."""
        preset, random = self.preset, np.random.default_rng([self.seed, state.epoch])
        self.network.train()
        if state.epoch >= preset.n_epochs * (1 - preset.settled):
            settle(self.network)
        losses = []
        for step in range(self.n_steps):
            done = state.epoch * self.n_steps + step
            for group in state.optimiser.param_groups:
                rate = learning_rate(preset, done / (preset.n_epochs * self.n_steps))
                group["lr"] = rate * min(1, (done + 1) / FIRST_STEPS)
            read, aims = self.batch(random)
            state.optimiser.zero_grad()
            with autocast:
                estimate = self.network(read)
            loss = loss_of(estimate, aims)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.unscale_(state.optimiser)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            scaler.step(state.optimiser)
            scaler.update()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    @torch.inference_mode()
    def errors(self) -> dict[str, dict[str, float]]:
        """Compare the network's errors on the held-out scans with those of the fits and with its standard deviations.

        `ratio` is the root mean square error of the network divided by that of the fits, weighted by precision.
        `spread` is the median of absolute error over standard deviation where the map counts, scaled to be 1 for normal
        errors. The network is left in evaluation mode.
        """
        self.network.eval()
        margin, names = self.network.margin, [parameter.name for parameter in self.scaling.parameters]
        sums: list[Tensor] = []
        z: dict[str, list[Tensor]] = {name: [] for name in names}
        for example in self.held_out:
            estimate, log_ratio = self.network(pad(self.shown(example), [margin] * 4)[None])[0].float().chunk(2)
            before, precision, log_sd = self.aims(example).chunk(3)
            left = before - estimate
            sums.append(torch.stack([(error**2 * precision).sum(dim=(1, 2)) for error in (left, before)]))
            counts = self.scaling.counted(example.maps) & example.inside
            for name, one, where in zip(names, left.abs() * torch.exp(-log_ratio - log_sd), counts, strict=True):
                z[name].append(one[where])
        after, before = torch.stack(sums).sum(0)
        ratios = (after / before.clamp(min=1e-30)).sqrt().tolist()
        spreads = {name: float(torch.cat(parts).median()) / MEDIAN_OF_NORMAL for name, parts in z.items()}
        return {"ratio": dict(zip(names, ratios, strict=True)), "spread": spreads}


def train_corrections(
    examples: Sequence[Example],
    held_out: Sequence[Example],
    *,
    basis: Complex,
    preset: Preset,
    protocol: Protocol,
    signal_model: SignalModel,
    device: torch.device,
    seed: int = 0,
    progress: Epochs | None = None,
    checkpoint: Path | None = None,
    log: Path | None = None,
) -> TrainedModel:
    """Train a network on scans and the maps that are fitted to them.

    Parameters
    ----------
    examples
        Scans to learn from.
    held_out
        Other scans, which monitor the training and from which the standard deviations are rescaled, map by map.
    basis
        Temporal basis of the coefficients. Shape `(frames, rank)`.
    preset
        The network and how it is trained. An epoch has as many steps as there are examples.
    protocol, signal_model
        Protocol of the scans, and the model their signals were simulated with.
    device, seed, progress, checkpoint, log
        As for `mrfpipe.learning.training.train`.

    Raises
    ------
    MismatchError, InputError
        If the checkpoint belongs to another training or is damaged, or the loss becomes infinite or NaN.
    """
    n_maps = len(protocol.parameters)
    directions = [example.coefficients[:, example.inside].cpu().numpy() for example in examples]
    architecture = preset.proposed(2 * (basis.shape[1] + n_maps), 2 * n_maps)
    network = initial_network(architecture, torch.Generator().manual_seed(seed))
    training = Training(
        preset=preset,
        network=network.to(device, memory_format=torch.channels_last),  # type: ignore[call-overload]
        examples=examples,
        held_out=[example.on(device) for example in held_out],
        encoding=Encoding.measured(basis, np.concatenate(directions, axis=1)),
        scale=fit_errors(examples).to(device),
        scaling=MapScaling.of(protocol),
        seed=seed,
    )
    settings = {
        "preset": json.loads(json.dumps(asdict(preset))),
        "protocol": protocol.hash,
        "signal_model": str(signal_model),
        "seed": seed,
        "scans": len(examples),
        "input": "coefficients",
    }
    losses = training.run(settings, progress, checkpoint, log)
    spread = training.errors()["spread"]
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return TrainedModel(
        network=_finished(training, spread),
        architecture=architecture,
        scaling=training.scaling,
        encoding=training.encoding,
        sequence_hash=protocol.sequence.hash,
        protocol_hash=protocol.hash,
        protocol_toml=protocol.toml,
        signal_model=signal_model,
        corrects=True,
        record={
            **settings,
            "losses": losses,
            "steps": training.n_steps * preset.n_epochs,
            "deviations_scaled_by": spread,
            "device": device_name,
        },
    )


def _finished(training: Training, spread: Mapping[str, float]) -> FingerprintNetwork:
    """Fold the scale of the corrections, and the rescaling of the standard deviations, into the last layer."""
    network = training.network.cpu().requires_grad_(requires_grad=False).eval()
    scale, output, n_maps = training.scale.cpu()[:, 0, 0], network.output, len(training.scaling.parameters)
    output.weight[:n_maps] *= scale[:, None, None, None]
    output.bias[:n_maps] *= scale  # type: ignore[index]
    off = torch.tensor([spread[parameter.name] or 1.0 for parameter in training.scaling.parameters])
    output.bias[n_maps:] += off.log()  # type: ignore[index]
    return network


def fit_errors(examples: Sequence[Example]) -> Tensor:
    """Return root mean square errors of fitted maps, scaled to 0..1, weighted by precision. Shape `(maps, 1, 1)`."""
    squares = torch.stack([((e.maps - e.fitted) ** 2 * e.precision).sum(dim=(1, 2)) for e in examples])
    weights = torch.stack([e.precision.sum(dim=(1, 2)) for e in examples])
    return (squares.sum(0) / weights.sum(0)).sqrt().clamp(min=1e-6)[:, None, None]


def loss_of(estimate: Tensor, aims: Tensor) -> Tensor:
    """Return the loss: remaining errors in units of those to be expected, and how well the network predicts them.

    Parameters
    ----------
    estimate
        Corrections, then the logarithms of the ratio between the remaining standard deviation and that of the fit. The
        latter are learned from the likelihood of the remaining errors, from which no gradient flows into the
        corrections. Shape `(patches, 2 maps, y, x)`.
    aims
        As in `Sheet`. Shape `(patches, 3 maps, y, x)`.
    """
    (correction, log_ratio), (errors, precision, log_sd) = estimate.float().chunk(2, dim=1), aims.chunk(3, dim=1)
    error, deviation = correction - errors, log_sd + log_ratio.clamp(*LEAST_AND_MOST)
    inside = (precision > 0).float()
    fair = (error.square() * precision).sum(dim=(0, 2, 3)) / inside.sum(dim=(0, 2, 3))
    likelihood = 0.5 * (error.detach() * torch.exp(-deviation)).square() + deviation
    # The logarithm makes gradients relative, so that every map counts equally, however large its errors are.
    return fair.clamp(min=1e-12).log().sum() + LIKELIHOOD * (likelihood * inside).sum() / inside.sum()
