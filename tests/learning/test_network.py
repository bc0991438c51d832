"""The network's layers: their number, their order and what they see."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mrfpipe.learning.architecture import Architecture, build_architecture
from mrfpipe.learning.network import FingerprintNetwork, TemporalBlock, folded, initial_network
from mrfpipe.learning.presets import PRESETS


def small(receptive_field: int) -> Architecture:
    return build_architecture(
        receptive_field=receptive_field,
        n_parameters=12_000,
        n_inputs=6,
        n_outputs=5,
        n_nonlinearities=8,
        spatial_stop=12,
        spatial_step=2,
        temporal_stop=6,
        temporal_step=2,
    )


def initial(architecture: Architecture, seed: int = 0) -> FingerprintNetwork:
    return initial_network(architecture, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("receptive_field", range(1, 17, 2))
def test_parameters_of_the_convolutions_are_those_counted(receptive_field):
    architecture = replace(PRESETS["paper"], receptive_field=receptive_field).proposed(350, 5)
    network = FingerprintNetwork(architecture, "meta")
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert sum(p.numel() for c in convolutions for p in c.parameters()) == architecture.n_parameters
    assert len(convolutions) == architecture.n_nonlinearities + 1
    assert sum(isinstance(module, nn.ReLU) for module in network.modules()) == architecture.n_nonlinearities


@pytest.mark.parametrize("receptive_field", [1, 3, 7])
def test_a_voxel_depends_on_its_neighbourhood_and_on_nothing_else(receptive_field):
    network = initial(small(receptive_field)).eval()
    height, width, margin = 13, 11, receptive_field // 2
    frames = torch.randn(1, 6, height, width, generator=torch.Generator().manual_seed(1), requires_grad=True)
    maps = network(frames)
    assert maps.shape == (1, 5, height - 2 * margin, width - 2 * margin)
    row, column = 3, 2
    maps[0, :, row, column].sum().backward()
    touched = frames.grad[0].abs().sum(0) > 0
    expected = torch.zeros(height, width, dtype=torch.bool)
    expected[row : row + receptive_field, column : column + receptive_field] = True
    assert torch.equal(touched, expected)


def test_every_layer_is_convolution_then_relu_then_batch_normalisation():
    network = initial(small(5))
    layers = [module for module in network.modules() if type(module) is nn.Sequential and len(module) == 3]
    assert len(layers) == 8
    for layer in layers:
        assert [type(step) for step in layer] == [nn.Conv2d, nn.ReLU, nn.BatchNorm2d]
    output = layers[0](torch.randn(4, 6, 8, 8, generator=torch.Generator().manual_seed(1)))
    # float32 means of 256 values of order 1.
    assert torch.allclose(output.mean((0, 2, 3)), torch.zeros(output.shape[1]), atol=1e-5)
    assert output.min() < 0


def test_temporal_block_hands_on_its_input_and_every_layer():
    torch_state = torch.get_rng_state()
    block = TemporalBlock(6, 4, 3).eval()
    torch.set_rng_state(torch_state)
    frames = torch.randn(2, 6, 3, 3, generator=torch.Generator().manual_seed(1))
    features = block(frames)
    assert features.shape == (2, 18, 3, 3)
    assert torch.equal(features[:, :6], frames)
    assert torch.equal(features[:, 6:10], block.layers[0](frames))
    assert torch.equal(features[:, 14:], block.layers[2](features[:, :14]))


def test_last_layer_is_linear():
    network = initial(small(3)).eval()
    frames = torch.randn(1, 6, 9, 9, generator=torch.Generator().manual_seed(1))
    once = network(frames)
    with torch.no_grad():
        network.output.weight *= -2
    assert torch.allclose(network(frames), -2 * once)


def test_the_generator_alone_decides_the_weights():
    before = torch.get_rng_state()
    first, again, other = (initial(small(3), seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["output.weight"], other["output.weight"])


def test_initial_signal_neither_dies_nor_explodes():
    network = initial(PRESETS["small"].architecture(175, 5)).train()
    maps = network(torch.randn(2, 32, 20, 20, generator=torch.Generator().manual_seed(1)))
    assert 0.1 < maps.std() < 10


def test_presets():
    assert PRESETS["paper"].architecture(175, 5).n_parameters == 4_995_684
    assert (PRESETS["paper"].batch_size, PRESETS["paper"].n_epochs) == (20, 75)
    small_preset = PRESETS["small"].architecture(175, 5)
    assert abs(small_preset.n_parameters - PRESETS["small"].n_parameters) < 0.02 * PRESETS["small"].n_parameters


@pytest.mark.parametrize("receptive_field", [1, 3, 7])
def test_folded_normalisations_change_nothing_but_rounding(receptive_field):
    generator = torch.Generator().manual_seed(2)
    network = initial(small(receptive_field)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -1, 1),
                (module.running_var, 0.2, 3),
                (module.weight.data, -2, 2),
                (module.bias.data, -1, 1),
            ):
                values.uniform_(low, high, generator=generator)
        elif isinstance(module, nn.Conv2d):
            module.bias.data.uniform_(-0.5, 0.5, generator=generator)
    frames = torch.randn(2, 6, 9, 8, generator=generator)
    with torch.no_grad():
        expected = network(frames)
        found = folded(network)(frames)
        again = network(frames)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded(network).modules())
    # Sums of up to a few hundred products in float32, through eight layers.
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    torch.testing.assert_close(again, expected, rtol=0, atol=0)


def test_a_network_is_folded_where_it_lies():
    network = FingerprintNetwork(small(3), "meta")
    assert all(parameter.is_meta for parameter in folded(network).parameters())
