"""Every method that is compared can be trained by its name, in the stages it was published with."""

from dataclasses import replace

import pytest
import torch

from mrfpipe.learning.competitors import NETWORKS
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.methods import METHODS, train_stages
from mrfpipe.learning.training import train

CPU = torch.device("cpu")


def test_methods_are_those_of_the_paper():
    assert list(METHODS) == ["proposed", "cohen", "hoppe", "oksuz", "fang"]
    assert {stage.network for stages in METHODS.values() for stage in stages} == {"proposed", *NETWORKS}
    for name, stages in METHODS.items():
        for stage in stages:
            by_fingerprint = stage.network not in ("proposed", "fang")
            assert stage.batch_size == (100 if by_fingerprint else 20)
            assert stage.n_epochs == (75 if name in ("proposed", "fang") else 25)
            assert stage.learning_rate == stage.final_learning_rate == 1e-3
            assert abs(stage.architecture(175, 5).n_parameters - stage.n_parameters) <= 0.001 * stage.n_parameters
            assert stage.architecture(175, 5).receptive_field == stage.receptive_field
    assert [stage.network for stage in METHODS["fang"]] == ["fang-features", "fang"]


@pytest.fixture(scope="module")
def scan(make_scan):
    return make_scan(1, n_slices=1)


def shortened(name, **changes):
    """A stage that sees many fingerprints of few patches at once, which is quick."""
    return tuple(replace(stage, n_epochs=2, patch_size=16, batch_size=2, **changes) for stage in METHODS[name])


@pytest.mark.parametrize("name", ["cohen", "hoppe", "oksuz"])
def test_fingerprint_networks_train_and_reconstruct(scan, protocol, name, tmp_path):
    series, labels = scan
    settings = {"protocol": protocol, "device": CPU, "checkpoint": tmp_path / "run"}
    model = train_stages(shortened(name), [series], [labels], **settings)
    first, second = model.record["losses"]
    assert second < first
    assert reconstruct(series, model, protocol, device=CPU)[0].mask.shape == series.mask.shape
    taken_up = train_stages(shortened(name), [series], [labels], **settings)
    for key, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, taken_up.network.state_dict()[key])


def test_fang_is_trained_in_two_stages(scan, protocol, tmp_path):
    """The second begins with the features that the first has learned, and with nothing else of it."""
    series, labels = [scan[0]], [scan[1]]
    first, second = shortened("fang")
    second = replace(second, learning_rate=0.0, final_learning_rate=0.0, n_epochs=1, patch_size=64)
    settings = {"protocol": protocol, "device": CPU}
    model = train_stages((first, second), series, labels, log=tmp_path / "log", **settings)
    learned = train(series, labels, preset=first, **settings).network.state_dict()
    random = train(series, labels, preset=second, **settings).network.state_dict()
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, (learned if name.startswith("features.") else random)[name]), name
    assert not torch.equal(learned["features.0.weight"], random["features.0.weight"])
    assert {path.name for path in tmp_path.iterdir()} == {"log", "log.fang-features"}


def test_a_published_network_reads_coefficients_as_well(scan, protocol):
    stages = shortened("hoppe", rank=4)
    model = train_stages(stages, [scan[0]], [scan[1]], protocol=protocol, device=CPU)
    assert model.architecture.n_inputs == 8
    assert reconstruct(scan[0], model, protocol, device=CPU)[0].mask.shape == scan[0].mask.shape
