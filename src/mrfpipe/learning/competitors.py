"""Competitors: the four published networks that Balsiger et al., Med Image Anal 64:101741 (2020) compare theirs with.

Section 2.6 and Table 3 of that paper describe the networks as they were compared; where these leave a number open, the
docstring states the number chosen here. Three networks read each fingerprint separately; the fourth is a U-Net on
features of fingerprints. All map patches to patches as a `MapNetwork` does, from `n_inputs` channels, two per frame or
coefficient, to `n_outputs`. None uses batch normalisation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from mrfpipe.learning.network import MapNetwork, initialise


class CohenNetwork(MapNetwork):
    """Two hidden layers of 300 neurons that read one fingerprint; Cohen et al., Magn Reson Med 80:885 (2018).

    Layers that are fully connected over a fingerprint are 1 x 1 convolutions over a patch.
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
    60 and 120 channels, which gives the published 0.05 million parameters; the fourth spans all remaining time points.
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

    It reads the real and imaginary part of one frame per step; one linear layer reads the outputs of all steps.
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
    """The first stage of Fang et al.: two dense layers compute 64 features of a fingerprint, and maps from these."""

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

    The features of the first stage pass through 1, 2 and 4 convolutions of 3 x 3 at full, half and quarter resolution.
    On the way up they are concatenated with the features of the way down at the same resolution and pass through 1
    convolution at half and 2 at full resolution, the last of which is linear. Resolutions are connected by maximum
    pooling and transposed convolutions of 2 x 2. With 74, 148 and 296 channels, this gives the published numbers: a
    receptive field of 54 x 54, 11 non-linearities including the two of the features, and 3.84 million parameters.
    Convolutions are padded with zeros, as published, so that estimates near a patch's border differ.
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
    """A published network with given numbers of inputs and outputs: what `Architecture` is for the proposed network."""

    name: str
    """Its name in `NETWORKS`."""
    n_inputs: int
    """Channels of the input: two per frame or coefficient."""
    n_outputs: int
    """Channels of the output: one per map."""

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
        """Voxels by which the output is smaller than the input on every side: none, as convolutions are padded."""
        return 0

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return sum(parameter.numel() for parameter in self.build("meta").parameters())

    def build(self, device: torch.device | str = "cpu") -> MapNetwork:
        """Build the network with uninitialised weights; on device ``meta`` no weights are allocated."""
        with torch.device("meta"):
            network = NETWORKS[self.name](self.n_inputs, self.n_outputs)
        return network if str(device) == "meta" else network.to_empty(device=device)

    def initial(self, generator: torch.Generator) -> MapNetwork:
        """Build the network with random weights that depend on the generator alone, as `initial_network` does."""
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
"""The published networks, and the first stage of Fang et al., by name."""


def _features(n_inputs: int, n_features: int) -> nn.Sequential:
    """Build two layers that are fully connected over time and shared by all voxels."""
    return nn.Sequential(nn.Conv2d(n_inputs, n_features, 1), nn.ReLU(), nn.Conv2d(n_features, n_features, 1), nn.ReLU())


def _convolutions(n_in: int, n_out: int, n_layers: int) -> nn.Sequential:
    widths = [n_in, *[n_out] * n_layers]
    layers = [nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU()) for a, b in pairwise(widths)]
    return nn.Sequential(*layers)


def _fingerprints(frames: Tensor) -> Tensor:
    """Reshape patches `(batch, 2 frames, y, x)` to one row per fingerprint, `(batch y x, 2, frames)`."""
    return frames.movedim(1, -1).reshape(-1, 2, frames.shape[1] // 2)


def _as_patches(values: Tensor, frames: Tensor) -> Tensor:
    """Reshape values of fingerprints `(batch y x, maps)` to the patches they came from, `(batch, maps, y, x)`."""
    batch, _, n_y, n_x = frames.shape
    return values.reshape(batch, n_y, n_x, -1).movedim(-1, 1)
