"""FingerprintNetwork: the convolutional network that turns a neighbourhood of fingerprints into five maps.

Every layer is convolution, ReLU, batch normalisation, in this order. A temporal block (1 x 1 convolutions) hands on its
input together with the output of each of its layers; a spatial block is one valid 3 x 3 convolution; the last 1 x 1
convolution is linear. Balsiger et al., Med Image Anal 64:101741 (2020), section 2.3.
"""

import math

import torch
from torch import Tensor, nn

from mrfpipe.learning.architecture import Architecture


class TemporalBlock(nn.Module):
    """Dense block of 1 x 1 convolutions: features of each fingerprint for itself.

    Parameters
    ----------
    n_in
        Channels of the input.
    growth
        Channels that each layer adds to it.
    n_layers
        Number of layers.
    """

    def __init__(self, n_in: int, growth: int, n_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_layer(n_in + i * growth, growth, 1) for i in range(n_layers))

    def forward(self, features: Tensor) -> Tensor:
        """Return the input and what every layer made of all before it. Shape `(batch, channels, y, x)`."""
        for layer in self.layers:
            features = torch.cat([features, layer(features)], dim=1)
        return features


class FingerprintNetwork(nn.Module):
    """The network of an `Architecture`.

    Parameters
    ----------
    architecture
        Its layers.
    device
        Where its parameters are made; ``meta`` makes none.
    """

    def __init__(self, architecture: Architecture, device: torch.device | str = "cpu") -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        n_channels = architecture.n_inputs
        with torch.device(device):
            for n_layers, growth, n_spatial in zip(
                architecture.layers, architecture.temporal_channels, architecture.spatial_channels, strict=True
            ):
                blocks.append(TemporalBlock(n_channels, growth, n_layers))
                n_channels += n_layers * growth
                blocks.append(_layer(n_channels, n_spatial, architecture.spatial_kernel))
                n_channels = n_spatial
            self.blocks = nn.Sequential(*blocks)
            self.output = nn.Conv2d(n_channels, architecture.n_outputs, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Estimate the maps, scaled to 0..1.

        Parameters
        ----------
        frames
            Normalised real parts of all frames, then imaginary parts. Shape `(batch, 2 frames, y, x)`.

        Returns
        -------
            Shape `(batch, maps, y - R + 1, x - R + 1)` for a receptive field R.
        """
        maps: Tensor = self.output(self.blocks(frames))
        return maps


def initial_network(architecture: Architecture, generator: torch.Generator) -> FingerprintNetwork:
    """Make a network with random weights (He's uniform distribution) and biases of zero.

    The generator alone decides the weights; torch's global random state is neither used nor changed.
    """
    network = FingerprintNetwork(architecture, "meta").to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d):
            gain = 1.0 if module is network.output else math.sqrt(2)
            bound = gain * math.sqrt(3 / module.weight[0].numel())
            with torch.no_grad():
                module.weight.uniform_(-bound, bound, generator=generator)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return network


def _layer(n_in: int, n_out: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, kernel), nn.ReLU(), nn.BatchNorm2d(n_out))
