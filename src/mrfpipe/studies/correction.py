"""Correction: training a network to correct the maps that matching has made, on scans that are made as it goes.

It reads the coefficients of a neighbourhood and the matched maps, and gives what is to be added to each map and the
logarithm of the standard deviation that is left. For half of its time the training makes new scans; it ends when its
time is over.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.amp import GradScaler

from mrfpipe.learning.engine import learning_rate
from mrfpipe.learning.network import FingerprintNetwork, settle
from mrfpipe.learning.precision import exact_float32
from mrfpipe.learning.presets import Preset
from mrfpipe.studies.examples import Example

Report = Callable[[float, Mapping[str, float]], None]
"""Called with the share of the training that is done, and how it goes."""
FIRST_STEPS = 200
"""In which the learning rate rises: the first gradients of an untrained network would throw it far."""
LIKELIHOOD = 0.1
"""Weight of the standard deviations in the loss."""
LEAST_AND_MOST = (-9.0, 2.0)
"""Logarithms of standard deviations that a network may learn, over the errors of matching."""
MAKING = 0.5
"""Share of the time in which new scans are made."""
MOST_KEPT = 768
"""Scans that are held at most; the oldest go."""
TOLD_EVERY = 0.05
"""Share of the training after which it is told how it goes."""


@dataclass(slots=True, kw_only=True, eq=False)
class Training:
    """A training on scans that are made as it goes."""

    preset: Preset
    seconds: float
    network: FingerprintNetwork
    source: Callable[[], Example]
    held_out: Sequence[Example]
    mean: Tensor
    """Of every coefficient's direction. Shape `(rank)`."""
    deviation: Tensor
    """Shape `(rank)`."""
    scale: Tensor
    """Root mean square error of matching, which corrections are scaled by. Shape `(maps, 1, 1)`."""
    random: np.random.Generator
    examples: list[Example] = field(default_factory=list)

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Cut patches around drawn voxels: what the network reads, what it is to correct, and precision."""
        size, margin = self.preset.patch_size, self.network.margin
        directions, matched, errors, precision = [], [], [], []
        for _ in range(self.preset.batch_size):
            example = self.examples[int(self.random.integers(len(self.examples)))]
            n_y, n_x = example.maps.shape[-2:]
            y, x = example.corners[int(self.random.integers(len(example.corners)))]
            y, x = (min(max(at - size // 2, margin), n - size - margin) for at, n in ((y, n_y), (x, n_x)))
            wide = (slice(None), slice(y - margin, y + size + margin), slice(x - margin, x + size + margin))
            narrow = (slice(None), slice(y, y + size), slice(x, x + size))
            directions.append(example.coefficients[wide])
            matched.append(example.matched[wide])
            errors.append((example.maps[narrow] - example.matched[narrow]) / self.scale)
            precision.append(example.precision[narrow])
        return self._shown(torch.stack(directions), torch.stack(matched)), torch.stack(errors), torch.stack(precision)

    def _shown(self, directions: Tensor, matched: Tensor) -> Tensor:
        """Lay out standardised directions and matched maps, zero outside the body: `(patches, channels, y, x)`."""
        inside = (directions != 0).any(dim=1, keepdim=True)
        standard = (directions - self.mean[:, None, None]) / self.deviation[:, None, None]
        channels = torch.cat([standard.real, standard.imag, 2 * matched - 1], dim=1) * inside
        return channels.contiguous(memory_format=torch.channels_last)

    def run(self, report: Report) -> tuple[int, int]:
        """Train until the time is over; return the numbers of steps and of scans."""
        preset, device = self.preset, self.mean.device
        optimiser, on_gpu = torch.optim.Adam(self.network.parameters(), lr=preset.learning_rate), device.type == "cuda"
        # Not bfloat16: its 8 bits are as coarse as the errors that are to be corrected.
        autocast, scaler = torch.autocast(device.type, torch.float16, enabled=on_gpu), GradScaler(enabled=on_gpu)
        start, making, told, n_steps, n_scans = time.monotonic(), 0.0, 0.0, 0, len(self.examples)
        losses: list[Tensor] = []
        with exact_float32():
            while (progress := (time.monotonic() - start) / self.seconds) < 1:
                if making < MAKING * (time.monotonic() - start):
                    began = time.monotonic()
                    self.examples = [*self.examples[1 - MOST_KEPT :], self.source()]
                    _finish(device)
                    making, n_scans = making + time.monotonic() - began, n_scans + 1
                self.network.train()
                if progress >= 1 - preset.settled:
                    settle(self.network)
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(preset, progress) * min(1, (n_steps + 1) / FIRST_STEPS)
                read, errors, precision = self.batch()
                optimiser.zero_grad()
                with autocast:
                    estimate = self.network(read)
                losses.append(loss_of(estimate, errors, precision))
                scaler.scale(losses[-1]).backward()  # type: ignore[no-untyped-call]
                scaler.unscale_(optimiser)
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                scaler.step(optimiser)
                scaler.update()
                losses[-1], n_steps = losses[-1].detach(), n_steps + 1
                if progress - told > TOLD_EVERY:
                    told, mean = progress, float(torch.stack(losses).mean())
                    losses.clear()
                    report(progress, {"loss": mean, "steps": n_steps, "scans": n_scans, **self.errors()})
        report(1.0, {"steps": n_steps, "scans": n_scans, **self.errors()})
        return n_steps, n_scans

    @torch.inference_mode()
    def errors(self) -> dict[str, float]:
        """Errors over those of matching, of the validation scans' maps, and how many times the deviations they are.

        Root mean squares weighted by precision; the network is left in evaluation mode.
        """
        self.network.eval()
        margin, sums, spreads = self.network.margin, [], []
        for example in self.held_out:
            padded = (
                torch.nn.functional.pad(part, [margin] * 4)[None] for part in (example.coefficients, example.matched)
            )
            estimate = self.network(self._shown(*padded))[0].float()
            n_maps, before = len(example.maps), (example.maps - example.matched) / self.scale
            left = before - estimate[:n_maps]
            sums.append(torch.stack([(error**2 * example.precision).sum(dim=(1, 2)) for error in (left, before)]))
            inside = example.precision[0] > 0
            spreads.append((left * torch.exp(-estimate[n_maps:]))[:, inside].abs().median(dim=1).values / 0.6745)
        left, before = torch.stack(sums).sum(0)
        ratios, z = (left / before).sqrt().tolist(), torch.stack(spreads).mean(0).tolist()
        return {f"ratio{i}": value for i, value in enumerate(ratios)} | {f"z{i}": value for i, value in enumerate(z)}


def matching_errors(examples: Sequence[Example]) -> Tensor:
    """Root mean square errors of matched maps, scaled to 0..1, weighted by precision. Shape `(maps, 1, 1)`."""
    squares = torch.stack([((e.maps - e.matched) ** 2 * e.precision).sum(dim=(1, 2)) for e in examples])
    weights = torch.stack([e.precision.sum(dim=(1, 2)) for e in examples])
    return (squares.sum(0) / weights.sum(0)).sqrt()[:, None, None]


def loss_of(estimate: Tensor, errors: Tensor, precision: Tensor) -> Tensor:
    """Judge corrections in units of what would be fair, and how well the network knows what they leave.

    Parameters
    ----------
    estimate
        Corrections, then the logarithms of the standard deviations that are left, which are learned by the likelihood
        of what is left; the corrections do not see them. Shape `(patches, 2 maps, y, x)`.
    errors
        What should have been corrected. Shape `(patches, maps, y, x)`.
    precision
        As of `Example`. Shape `(patches, maps, y, x)`.
    """
    estimate, n_maps = estimate.float(), errors.shape[1]
    error, deviation = estimate[:, :n_maps] - errors, estimate[:, n_maps:].clamp(*LEAST_AND_MOST)
    inside = (precision > 0).float()
    fair = (error.square() * precision).sum(dim=(0, 2, 3)) / inside.sum(dim=(0, 2, 3))
    likelihood = 0.5 * (error.detach() * torch.exp(-deviation)).square() + deviation
    # The logarithm lets every map count alike, whatever its errors are: their shares of the gradient are relative.
    return fair.clamp(min=1e-12).log().sum() + LIKELIHOOD * (likelihood * inside).sum() / inside.sum()


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
