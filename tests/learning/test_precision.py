"""What networks compute in: never TF32 for float32, and a last layer in float32 whatever the others compute in."""

from dataclasses import replace

import pytest
import torch

from mrfpipe.learning import engine, validation
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.network import FingerprintNetwork
from mrfpipe.learning.precision import exact_float32
from mrfpipe.learning.training import train

CPU = torch.device("cpu")


def flags():
    """Whether convolutions, recurrent units and products may round to TF32, and convolutions choose how to sum."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    return (
        convolutions.allow_tf32,
        products.allow_tf32,
        torch.get_float32_matmul_precision() != "highest",
        not convolutions.deterministic,
    )


@pytest.fixture
def allowed():
    """Allow TF32 for a test, as a caller may have done; tell what is set then."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, True
    torch.set_float32_matmul_precision("high")
    yield flags()
    torch.backends.cudnn.allow_tf32 = before
    torch.set_float32_matmul_precision("highest")


@pytest.fixture
def seen(monkeypatch):
    """The flags every time that a network runs."""
    forward, found = FingerprintNetwork.forward, []

    def spied(network, frames):
        found.append(flags())
        return forward(network, frames)

    monkeypatch.setattr(FingerprintNetwork, "forward", spied)
    return found


def test_tf32_is_off_while_a_network_trains_validates_and_estimates(
    allowed, seen, make_model, make_scan, protocol, tiny_preset, tmp_path
):
    assert allowed == (True, True, True, True)
    scan, labels = make_scan(1, n_slices=1)
    preset, held_out = replace(tiny_preset, n_epochs=1), ([scan], [labels])
    for _ in range(2):  # the second only looks how good the best weights were
        checkpoint = tmp_path / "checkpoint"
        train(
            [scan], [labels], preset=preset, protocol=protocol, device=CPU, validation=held_out, checkpoint=checkpoint
        )
    reconstruct(scan, make_model(), protocol, device=CPU)
    assert set(seen) == {(False, False, False, False)}
    assert flags() == allowed


def test_an_error_leaves_what_the_caller_had_set(allowed):
    with pytest.raises(ZeroDivisionError), exact_float32():
        raise ZeroDivisionError
    assert flags() == allowed


def test_a_training_in_bfloat16_sees_errors_smaller_than_its_steps(make_scan, protocol, tiny_preset, monkeypatch):
    """Estimates that training and validation compare with the maps have values between the steps of bfloat16."""
    found = []

    def spied(estimate, *others):
        found.append(estimate.detach())
        return squared_error(estimate, *others)

    squared_error = engine.squared_error
    for module in (engine, validation):
        monkeypatch.setattr(module, "squared_error", spied)
    scan, labels = make_scan(1, n_slices=1)
    train(
        [scan],
        [labels],
        preset=replace(tiny_preset, n_epochs=1),
        protocol=protocol,
        device=CPU,
        precision="bfloat16",
        validation=([scan], [labels]),
    )
    assert len(found) > 2
    for estimate in found:
        assert estimate.dtype == torch.float32
        between = estimate != estimate.bfloat16()
        assert between.float().mean() > 0.9  # of 2^16 float32 values one is of bfloat16
