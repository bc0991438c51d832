"""The published networks: their size, what a voxel depends on, and each fingerprint against an obvious twin."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mrfpipe.learning.competitors import NETWORKS, Competitor, FangNetwork

FINGERPRINT_WISE = ("cohen", "hoppe", "oksuz", "fang-features")
SAME = 1e-5
"""Absolute: float32 sums of up to 17,500 values of order 1e-2, taken in another order."""


def made(name: str, n_inputs: int = 32, seed: int = 0) -> nn.Module:
    return Competitor(name=name, n_inputs=n_inputs, n_outputs=5).initial(torch.Generator().manual_seed(seed)).eval()


def patches(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "n_parameters", "millions", "n_nonlinearities"),
    [
        ("cohen", 197_105, 0.20, 2),
        ("hoppe", 49_715, 0.05, 3),
        ("oksuz", 118_705, 0.12, 1),
        ("fang", 3_842_069, 3.84, 11),
    ],
)
def test_sizes_are_those_published(name, n_parameters, millions, n_nonlinearities):
    competitor = Competitor(name=name, n_inputs=350, n_outputs=5)
    assert competitor.n_parameters == n_parameters
    assert round(competitor.n_parameters / 1e6, 2) == millions
    layers = competitor.build("meta").modules()
    assert sum(isinstance(layer, nn.ReLU | nn.GRU) for layer in layers) == n_nonlinearities


def test_hoppe_has_four_convolutions_and_fang_two_poolings():
    hoppe, fang = (Competitor(name=name, n_inputs=350, n_outputs=5).build("meta") for name in ("hoppe", "fang"))
    assert sum(isinstance(module, nn.Conv1d) for module in hoppe.modules()) == 4
    assert len(fang.down) == 2


@pytest.mark.parametrize("n_inputs", [2, 16, 32, 350])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_number_of_frames_or_coefficients_and_any_patch_will_do(name, n_inputs):
    with torch.inference_mode():
        assert made(name, n_inputs)(patches(2, n_inputs, 5, 7)).shape == (2, 5, 5, 7)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_last_layer_is_in_float32_while_others_train_in_bfloat16(name):
    network = made(name)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = network(patches(1, 32, 4, 4))
    exact = network(patches(1, 32, 4, 4))
    assert coarse.dtype == torch.float32
    assert not torch.equal(coarse.bfloat16(), coarse)  # it has values between the steps of bfloat16
    # Rounding to 2^-9 a layer, whose errors partly cancel.
    assert 0 < (coarse - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("name", FINGERPRINT_WISE)
def test_a_voxel_depends_on_its_own_fingerprint_alone(name):
    frames = patches(2, 32, 3, 4).requires_grad_()
    made(name)(frames)[1, :, 2, 1].sum().backward()
    touched = frames.grad.abs().sum(1) > 0
    expected = torch.zeros(2, 3, 4, dtype=torch.bool)
    expected[1, 2, 1] = True
    assert torch.equal(touched, expected)


def cohen(network: nn.Module, real: torch.Tensor, imag: torch.Tensor) -> torch.Tensor:
    values = torch.cat([real, imag])
    for layer in (network.hidden[0], network.hidden[2]):
        values = torch.relu(layer.weight[:, :, 0, 0] @ values + layer.bias)
    return network.output.weight[:, :, 0, 0] @ values + network.output.bias


def hoppe(network: nn.Module, real: torch.Tensor, imag: torch.Tensor) -> torch.Tensor:
    values = torch.stack([real, imag])
    for layer in network.hidden[::2]:
        padded = functional.pad(values, (2, 2))
        points = range(0, padded.shape[1] - 4, 3)
        columns = [(layer.weight * padded[:, i : i + 5]).sum((1, 2)) + layer.bias for i in points]
        values = torch.relu(torch.stack(columns, dim=1))
    return (network.output.weight * values).sum((1, 2)) + network.output.bias


def oksuz(network: nn.Module, real: torch.Tensor, imag: torch.Tensor) -> torch.Tensor:
    """The gates of Cho et al. (2014), step by step."""
    unit, state, outputs = network.recurrent, torch.zeros(100), []
    for step in zip(real, imag, strict=True):
        of_input = (unit.weight_ih_l0 @ torch.stack(step) + unit.bias_ih_l0).split(100)
        of_state = (unit.weight_hh_l0 @ state + unit.bias_hh_l0).split(100)
        reset, update = (torch.sigmoid(a + b) for a, b in zip(of_input[:2], of_state[:2], strict=True))
        new = torch.tanh(of_input[2] + reset * of_state[2])
        state = (1 - update) * new + update * state
        outputs.append(state)
    return network.output.weight @ torch.cat(outputs) + network.output.bias


@pytest.mark.parametrize("twin", [cohen, hoppe, oksuz])
def test_a_patch_is_its_fingerprints_one_by_one(twin):
    """Real parts come first, frames in order, rows before columns: any other reading gives other numbers."""
    network, frames = made(twin.__name__), patches(2, 32, 3, 4)
    with torch.inference_mode():
        maps = network(frames)
        for b, y, x in ((0, 0, 0), (0, 2, 1), (1, 1, 3)):
            expected = twin(network, frames[b, :16, y, x], frames[b, 16:, y, x])
            assert torch.allclose(maps[b, :, y, x], expected, atol=SAME)


def linear_twin(network: nn.Module) -> nn.Module:
    """All weights 1, mean for maximum, no ReLU: nothing is cancelled or switched off."""
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.Identity())
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(2))
    return network.double()


def test_receptive_field_of_fang_is_54_wherever_the_voxel_lies(monkeypatch):
    """By few channels, on whose number it does not depend."""
    monkeypatch.setattr(FangNetwork, "WIDTH", 2)
    network = linear_twin(made("fang", 2))
    for offset in range(4):
        frames = torch.zeros(1, 2, 120, 116, dtype=torch.double, requires_grad=True)
        network(frames)[0, 0, 60 + offset, 56 + (offset * 3) % 4].backward()
        rows, columns = (torch.nonzero(frames.grad[0, 0].sum(axis)).ravel() for axis in (1, 0))
        assert rows.tolist() == list(range(rows[0], rows[0] + 54))
        assert columns.tolist() == list(range(columns[0], columns[0] + 54))
        assert rows[0] < 60 + offset < rows[-1]
    assert Competitor(name="fang", n_inputs=2, n_outputs=5).receptive_field == 54


def test_fang_gives_what_its_parts_give_and_sees_the_patch_border():
    network, frames = made("fang"), patches(1, 32, 12, 16)
    with torch.inference_mode():
        full = network.down[0](network.features(frames))
        half = network.down[1](functional.max_pool2d(full, 2))
        quarter = network.bottom(functional.max_pool2d(half, 2))
        rising = network.joined[0](torch.cat([half, network.up[0](quarter)], 1))
        rising = network.joined[1](torch.cat([full, network.up[1](rising)], 1))
        assert torch.equal(network(frames), network.output(rising))
        assert not torch.allclose(network(frames[..., 4:, :]), network(frames)[..., 4:, :], atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_generator_alone_decides_the_weights_and_the_signal_lives(name):
    before = torch.get_rng_state()
    first, again, other = (made(name, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["output.weight"], other["output.weight"])
    with torch.inference_mode():
        assert 0.01 < made(name)(patches(2, 32, 16, 16)).std() < 10


def test_what_there_is_not_is_refused():
    with pytest.raises(ValueError, match="no network 'song'; there are cohen, hoppe, oksuz, fang-features, fang"):
        Competitor(name="song", n_inputs=350, n_outputs=5)
    with pytest.raises(ValueError, match=r"even number of inputs.*, not 7 and 5"):
        Competitor(name="oksuz", n_inputs=7, n_outputs=5)
