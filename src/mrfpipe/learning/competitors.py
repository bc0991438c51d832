"""Competitors: the four published networks that Balsiger et al., Med Image Anal 64:101741 (2020) compare theirs with.

Section 2.6 and Table 3 of that paper say what is known of them as they were compared; where they leave a number open,
the one chosen is in the docstring. Three read every fingerprint for itself, the fourth is a U-Net over features of
fingerprints. All read and give patches as a `MapNetwork` does, with `n_inputs` channels, two a frame or coefficient, to
`n_outputs`, and none normalises batches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from mrfpipe.learning.network import MapNetwork, initialise


class CohenNetwork(MapNetwork):
    """Two hidden layers of 300 over a fingerprint; Cohen et al., Magn Reson Med 80:885 (2018).

    Fully connected layers over a fingerprint are 1 x 1 convolutions over a patch.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.hidden = _features(n_inputs, 300)
        self.output = nn.Conv2d(300, n_outputs, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Estimate the maps. Shape `(batch, maps, y, x)`."""
        return self.finish(self.hidden(frames))


class HoppeNetwork(MapNetwork):
    """Four convolutions along time; Hoppe et al., Stud Health Technol Inform 243:202 (2017).

    Real and imaginary part are two channels. Three convolutions of five points, each with a stride of three, have 30,
    60 and 120 channels, which gives the published 0.05 million parameters; the fourth spans the time that is left.
    """

    CHANNELS = (2, 30, 60, 120)

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        length, layers = n_inputs // 2, list[nn.Module]()
        for n_in, n_out in pairwise(self.CHANNELS):
            layers += [nn.Conv1d(n_in, n_out, 5, stride=3, padding=2), nn.ReLU()]
            length = (length + 2) // 3
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Conv1d(self.CHANNELS[-1], n_outputs, length)

    def forward(self, frames: Tensor) -> Tensor:
        """Estimate the maps. Shape `(batch, maps, y, x)`."""
        return _as_patches(self.finish(self.hidden(_fingerprints(frames)))[..., 0], frames)


class OksuzNetwork(MapNetwork):
    """A gated recurrent unit of 100 neurons along time; Oksuz et al., ISBI, 1537 (2019).

    It reads real and imaginary part of a frame a step; one linear layer reads its outputs of all steps.
    """

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.recurrent = nn.GRU(2, 100, batch_first=True)
        self.output = nn.Linear(100 * (n_inputs // 2), n_outputs)

    def forward(self, frames: Tensor) -> Tensor:
        """Estimate the maps. Shape `(batch, maps, y, x)`."""
        steps, _ = self.recurrent(_fingerprints(frames).transpose(1, 2).contiguous())
        return _as_patches(self.finish(steps.flatten(1)), frames)


class FeatureNetwork(MapNetwork):
    """The first stage of Fang et al.: 64 features of a fingerprint by two dense layers, and maps from them."""

    N_FEATURES = 64

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.features = _features(n_inputs, self.N_FEATURES)
        self.output = nn.Conv2d(self.N_FEATURES, n_outputs, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Estimate the maps. Shape `(batch, maps, y, x)`."""
        return self.finish(self.features(frames))


class FangNetwork(MapNetwork):
    """Features of fingerprints, then a U-Net with two poolings; Fang et al., IEEE Trans Med Imaging 38:2364 (2019).

    The first stage's features go through 1, 2 and 4 convolutions of 3 x 3 at full, half and quarter resolution and
    then, joined with what came down at that resolution, through 1 at half and 2 at full, the last of them linear;
    between them maximum pooling and transposed convolutions of 2 x 2. With 74, 148 and 296 channels this gives what is
    published: a receptive field of 54 x 54, 11 non-linearities with the two of the features, and 3.84 million
    parameters. Convolutions are padded with zeros, as published, so that estimates near a patch's border differ.
    """

    WIDTH = 74

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        width = self.WIDTH
        self.features = _features(n_inputs, FeatureNetwork.N_FEATURES)
        self.down = nn.ModuleList(
            [_convolutions(FeatureNetwork.N_FEATURES, width, 1), _convolutions(width, 2 * width, 2)]
        )
        self.bottom = _convolutions(2 * width, 4 * width, 4)
        self.up = nn.ModuleList(
            [nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2), nn.ConvTranspose2d(2 * width, width, 2, stride=2)]
        )
        self.joined = nn.ModuleList([_convolutions(4 * width, 2 * width, 1), _convolutions(2 * width, width, 1)])
        self.pool = nn.MaxPool2d(2)
        self.output = nn.Conv2d(width, n_outputs, 3, padding=1)

    def forward(self, frames: Tensor) -> Tensor:
        """Estimate the maps; rows and columns are padded to a multiple of four. Shape `(batch, maps, y, x)`."""
        n_y, n_x = frames.shape[-2:]
        features = self.features(functional.pad(frames, (0, -n_x % 4, 0, -n_y % 4)))
        skipped = []
        for layers in self.down:
            features = layers(features)
            skipped.append(features)
            features = self.pool(features)
        features = self.bottom(features)
        for rise, layers in zip(self.up, self.joined, strict=True):
            features = layers(torch.cat([skipped.pop(), rise(features)], dim=1))
        return self.finish(features)[..., :n_y, :n_x]


@dataclass(frozen=True, slots=True, kw_only=True)
class Competitor:
    """A published network for so many inputs and outputs: what `Architecture` is for the proposed one."""

    name: str
    """Its name in `NETWORKS`."""
    n_inputs: int
    """Channels of the input: two a frame or coefficient."""
    n_outputs: int
    """Channels of the output: one a map."""

    def __post_init__(self) -> None:
        if self.name not in NETWORKS:
            raise ValueError(f"There is no network {self.name!r}; there are {', '.join(NETWORKS)}.")
        if self.n_inputs < 2 or self.n_inputs % 2 or self.n_outputs < 1:
            raise ValueError(
                f"{self.name} reads real and imaginary parts, an even number of inputs, and gives at least one map, "
                f"not {self.n_inputs} and {self.n_outputs}."
            )

    @property
    def receptive_field(self) -> int:
        """Voxels along y and along x that one voxel of the output depends on."""
        return 54 if self.name == "fang" else 1

    @property
    def margin(self) -> int:
        """Voxels that the output lacks on every side of the input: none, as convolutions are padded."""
        return 0

    @property
    def n_parameters(self) -> int:
        """Weights and biases."""
        return sum(parameter.numel() for parameter in self.build("meta").parameters())

    @property
    def n_nonlinearities(self) -> int:
        """Layers that a non-linearity belongs to; a recurrent unit is one."""
        return sum(isinstance(module, nn.ReLU | nn.GRU) for module in self.build("meta").modules())

    def build(self, device: torch.device | str = "cpu") -> MapNetwork:
        """Make the network with weights that are not set; ``meta`` makes none."""
        with torch.device("meta"):
            network = NETWORKS[self.name](self.n_inputs, self.n_outputs)
        return network if str(device) == "meta" else network.to_empty(device=device)

    def initial(self, generator: torch.Generator) -> MapNetwork:
        """Make the network with random weights that the generator alone decides, as `initial_network`."""
        network = self.build()
        initialise(network, generator)
        return network


NETWORKS: dict[str, Callable[[int, int], MapNetwork]] = {
    "cohen": CohenNetwork,
    "hoppe": HoppeNetwork,
    "oksuz": OksuzNetwork,
    "fang-features": FeatureNetwork,
    "fang": FangNetwork,
}
"""The published networks, and the first stage of one, by name."""


def _features(n_inputs: int, n_features: int) -> nn.Sequential:
    """Two layers that are fully connected over time, the same for every voxel."""
    return nn.Sequential(nn.Conv2d(n_inputs, n_features, 1), nn.ReLU(), nn.Conv2d(n_features, n_features, 1), nn.ReLU())


def _convolutions(n_in: int, n_out: int, n_layers: int) -> nn.Sequential:
    widths = [n_in, *[n_out] * n_layers]
    layers = [nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU()) for a, b in pairwise(widths)]
    return nn.Sequential(*layers)


def _fingerprints(frames: Tensor) -> Tensor:
    """Order patches `(batch, 2 frames, y, x)` by fingerprint, `(batch y x, 2, frames)`."""
    return frames.movedim(1, -1).reshape(-1, 2, frames.shape[1] // 2)


def _as_patches(values: Tensor, frames: Tensor) -> Tensor:
    """Order values of fingerprints `(batch y x, maps)` as the patches they came from, `(batch, maps, y, x)`."""
    batch, _, n_y, n_x = frames.shape
    return values.reshape(batch, n_y, n_x, -1).movedim(-1, 1)
