"""FingerprintNetwork: the convolutional network that turns a neighbourhood of fingerprints into maps.

Every layer consists of convolution, ReLU and batch normalisation, in this order. A temporal block (1 x 1 convolutions)
passes on its input together with the output of each of its layers; a spatial block is one valid 3 x 3 convolution; the
last 1 x 1 convolution is linear. Balsiger et al., Med Image Anal 64:101741 (2020), section 2.3.
"""

import copy
import math
from typing import cast

import torch
from torch import Tensor, nn

from mrfpipe.learning.architecture import Architecture


class MapNetwork(nn.Module):
    """Any network that turns patches of fingerprints into patches of maps, scaled to 0..1.

    It reads `(batch, inputs, y, x)`, the normalised real parts of all frames or coefficients followed by the imaginary
    parts, and returns `(batch, maps, y - 2 margin, x - 2 margin)`.
    """

    margin: int = 0
    """Voxels by which the output is smaller than the input on every side."""
    output: nn.Conv2d | nn.Conv1d | nn.Linear
    """The last layer, which is linear."""

    def finish(self, features: Tensor) -> Tensor:
        """Apply the last layer in the precision of its weights, float32, whatever the precision of the other layers.

        bfloat16 has only 128 values between 0.25 and 0.5: maps would be quantised, and a training could not see errors
        smaller than these steps.
        """
        with torch.autocast(features.device.type, enabled=False):
            values: Tensor = self.output(features.to(self.output.weight.dtype))
        return values


class TemporalBlock(nn.Module):
    """Dense block of 1 x 1 convolutions: features of each fingerprint alone; each layer adds `growth` channels."""

    def __init__(self, n_in: int, growth: int, n_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_layer(n_in + i * growth, growth, 1) for i in range(n_layers))

    def forward(self, features: Tensor) -> Tensor:
        """Return the input and the outputs of all layers, each of which reads all before it.

        Shape `(batch, channels, y, x)`.
        """
        for layer in self.layers:
            features = torch.cat([features, layer(features)], dim=1)
        return features


class FingerprintNetwork(MapNetwork):
    """The network of an `Architecture`; its parameters are created on `device`, with ``meta`` not allocated at all."""

    def __init__(self, architecture: Architecture, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.margin = architecture.margin
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
        """Estimate the maps, scaled to 0..1."""
        return self.finish(self.blocks(frames))


def initial_network(architecture: Architecture, generator: torch.Generator) -> FingerprintNetwork:
    """Build a network with random weights (He's uniform distribution) and biases of zero.

    The weights depend on the generator alone; torch's global random state is neither used nor changed.
    """
    network = FingerprintNetwork(architecture, "meta").to_empty(device="cpu")
    initialise(network, generator)
    return network


def initialise(network: MapNetwork, generator: torch.Generator) -> None:
    """Give a network on the CPU the random weights that `initial_network` describes.

    A gated recurrent unit is initialised as in torch: weights and biases are uniform within 1 over the square root of
    the number of its units.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.GRU):
            for parameter in module.parameters():
                nn.init.uniform_(parameter, -(module.hidden_size**-0.5), module.hidden_size**-0.5, generator)
        elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            gain = 1.0 if module is network.output else math.sqrt(2)
            bound = gain * math.sqrt(3 / _fan_in(module))
            with torch.no_grad():
                module.weight.uniform_(-bound, bound, generator=generator)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]


def _fan_in(layer: nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> int:
    """Return the number of input values that are summed into one value of a layer's output."""
    if isinstance(layer, nn.ConvTranspose2d):
        return layer.in_channels  # the kernel is as wide as the stride, so windows do not overlap
    return layer.weight[0].numel()


def settle(network: MapNetwork) -> None:
    """Let batch normalisations use and keep their running statistics, while everything else continues to train."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def folded(network: MapNetwork) -> MapNetwork:
    """Copy a network for estimation; in a `FingerprintNetwork`, batch normalisations are folded into the convolutions.

    Normalisation by running statistics scales and shifts each channel. The output of a layer is read only by
    convolutions without padding, so the scale can go into their weights and the shift into their biases, exactly up to
    rounding. Every voxel is then written once per layer instead of twice.
    """
    copied = copy.deepcopy(network).eval()
    if not isinstance(copied, FingerprintNetwork):
        return copied
    with torch.no_grad():
        first = next(m for m in copied.modules() if isinstance(m, nn.Conv2d))
        scale = first.weight.new_ones(first.in_channels, dtype=torch.float64)
        shift = torch.zeros_like(scale)
        for block in copied.blocks:
            layers = block.layers if isinstance(block, TemporalBlock) else [block]
            for layer in cast("list[nn.Sequential]", layers):
                own_scale, own_shift = _fold(layer, scale, shift)
                grows = isinstance(block, TemporalBlock)
                scale = torch.cat([scale, own_scale]) if grows else own_scale
                shift = torch.cat([shift, own_shift]) if grows else own_shift
        _absorb(cast("nn.Conv2d", copied.output), scale, shift)
    return copied


def _fold(layer: nn.Sequential, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Fold the preceding scale and shift into a layer's convolution; replace its normalisation by those it returns."""
    convolution, normalisation = cast("nn.Conv2d", layer[0]), cast("nn.BatchNorm2d", layer[2])
    _absorb(convolution, scale, shift)
    mean, variance = cast("Tensor", normalisation.running_mean), cast("Tensor", normalisation.running_var)
    own = normalisation.weight.double() / torch.sqrt(variance.double() + normalisation.eps)
    layer[2] = nn.Identity()
    return own, normalisation.bias.double() - mean.double() * own


def _absorb(convolution: nn.Conv2d, scale: Tensor, shift: Tensor) -> None:
    """Change a convolution so that it scales and shifts its input channels itself."""
    weight, bias = convolution.weight.double(), cast("Tensor", convolution.bias).double()
    shifted = (weight * shift.reshape(1, -1, 1, 1)).sum(dim=(1, 2, 3))
    convolution.weight.copy_(weight * scale.reshape(1, -1, 1, 1))
    cast("Tensor", convolution.bias).copy_(bias + shifted)


def _layer(n_in: int, n_out: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, kernel), nn.ReLU(), nn.BatchNorm2d(n_out))
