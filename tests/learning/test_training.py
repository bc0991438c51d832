"""Training: it learns, it is reproducible, and an interruption leaves no trace in the weights."""

import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import with_maps
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mrfpipe.errors import InputError, MismatchError
from mrfpipe.learning.distributed import Team
from mrfpipe.learning.engine import learning_rate
from mrfpipe.learning.inference import reconstruct
from mrfpipe.learning.presets import PRESETS
from mrfpipe.learning.training import train
from mrfpipe.phantom.truth import PARAMETERS

CPU = torch.device("cpu")


class InterruptionError(Exception):
    """Stands for whatever ends a training early."""


def weights(model):
    return model.network.state_dict()


def assert_same_weights(one, other):
    assert weights(one).keys() == weights(other).keys()
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(other)[name]), name


@pytest.fixture
def scans(make_scan):
    series, labels = zip(*(make_scan(seed) for seed in (1, 2)), strict=True)
    return series, labels


@pytest.fixture
def run(protocol, tiny_preset, scans):
    """Return a function that trains the tiny preset on the two scans."""

    def run_(preset=tiny_preset, n_epochs=None, **changes):
        preset = preset if n_epochs is None else replace(preset, n_epochs=n_epochs)
        return train(*scans, **{"preset": preset, "protocol": protocol, "device": CPU, "seed": 5} | changes)

    return run_


def stop_after(epoch):
    def progress(done, _n_epochs, _loss):
        if done == epoch:
            raise InterruptionError

    return progress


def test_a_trained_network_finds_the_maps_of_a_scan_it_has_not_seen(protocol, tiny_preset, make_scan):
    """It explains what 16 frames tell of a map; swapped axes, parts or maps would leave nothing."""
    series, labels = zip(*(make_scan(seed) for seed in range(1, 7)), strict=True)
    losses = []
    model = train(
        series,
        labels,
        preset=replace(tiny_preset, n_epochs=40, patch_size=4, batch_size=32),
        protocol=protocol,
        device=CPU,
        progress=lambda *epoch: losses.append(epoch[2]),
    )
    assert losses[-1] < 0.15 * losses[0]
    scan, truth = make_scan(11)
    maps = reconstruct(scan, model, protocol, device=CPU)[0]
    for parameter, least in zip(PARAMETERS, (0.8, 0.15, 0.0, 0.8, 0.45), strict=True):
        sound = truth.mask & (truth.si["FF"] < 0.7) if parameter.name == "T1H2O" else truth.mask
        estimate, expected = (m.si[parameter.name][sound] for m in (maps, truth))
        assert 1 - np.mean((estimate - expected) ** 2) / np.var(expected) > least, parameter.name


@pytest.mark.parametrize("with_validation", [False, True])
def test_training_taken_up_again_is_bit_identical_to_one_never_interrupted(run, make_scan, tmp_path, with_validation):
    scan, labels = make_scan(9, n_slices=1)
    validation = ([scan], [labels]) if with_validation else None
    whole = run(validation=validation)
    checkpoint = tmp_path / "run.checkpoint"
    for epoch in (1, 2):
        with pytest.raises(InterruptionError):
            run(validation=validation, checkpoint=checkpoint, progress=stop_after(epoch))
    epochs = []
    resumed = run(validation=validation, checkpoint=checkpoint, progress=lambda *epoch: epochs.append(epoch[:2]))
    assert epochs == [(3, 3)]
    assert_same_weights(resumed, whole)
    assert resumed.record == whole.record
    assert [path.name for path in tmp_path.iterdir()] == ["run.checkpoint"]


def test_the_checkpoint_of_a_finished_training_gives_its_model_again(run, tmp_path):
    checkpoint = tmp_path / "run.checkpoint"
    model = run(checkpoint=checkpoint)
    assert_same_weights(run(checkpoint=checkpoint, progress=stop_after(3)), model)


def test_seed_decides_the_weights_and_the_global_random_state_is_left_alone(run):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - the state that must not change
    first, again, other = run(n_epochs=1), run(n_epochs=1), run(n_epochs=1, seed=6)
    assert_same_weights(first, again)
    assert not torch.equal(weights(first)["output.weight"], weights(other)["output.weight"])
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def entries(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_validation_chooses_the_epoch_that_explains_most(run, tiny_preset, make_scan, tmp_path):
    """With a rate that first helps and then ruins, the last epoch is not the best."""
    scan, labels = make_scan(9, n_slices=1)
    preset = replace(tiny_preset, learning_rate=1e-4, final_learning_rate=3.0, n_epochs=6)
    model = run(preset=preset, validation=([scan], [labels]), log=tmp_path / "log.jsonl")
    found = [entry["validation"] for entry in entries(tmp_path / "log.jsonl")]
    assert [entry["loss"] for entry in found] == model.record["validation_losses"]
    scores = [entry["explained_variance"]["mean"] for entry in found]
    best = scores.index(max(scores))
    assert best < 5
    assert [entry["best"] for entry in found] == [max(scores[: i + 1]) for i in range(6)]

    def stop_at_best(done, _n_epochs, _loss):
        if done == best + 1:
            raise InterruptionError

    checkpoint = tmp_path / "run.checkpoint"
    with pytest.raises(InterruptionError):
        run(preset=preset, validation=([scan], [labels]), progress=stop_at_best, checkpoint=checkpoint)
    with safe_open(checkpoint, framework="pt") as file:
        best_weights = {name: file.get_tensor(f"network.{name}").clone() for name in weights(model)}
    assert all(torch.equal(best_weights[name], tensor) for name, tensor in weights(model).items())
    # Taken up again after the best epoch, the worse ones that follow do not replace it.
    assert_same_weights(run(preset=preset, validation=([scan], [labels]), checkpoint=checkpoint), model)


def test_log_tells_every_epoch(run, tmp_path):
    model = run(log=tmp_path / "log.jsonl")
    found = entries(tmp_path / "log.jsonl")
    assert [entry["epoch"] for entry in found] == [1, 2, 3]
    assert [entry["loss"] for entry in found] == model.record["losses"]
    assert [entry["seconds_left"] > 0 for entry in found] == [True, True, False]
    mean = (found[0]["seconds"] + found[1]["seconds"]) / 2
    assert found[1]["seconds_left"] == pytest.approx(mean, rel=1e-6)
    assert found[-1]["learning_rate"] == pytest.approx(1e-4)


def test_bfloat16_is_off_on_the_cpu_and_learns_nearly_the_same_on_request(run):
    plain, coarse = run(), run(precision="bfloat16")
    assert (plain.record["precision"], coarse.record["precision"]) == ("float32", "bfloat16")
    assert coarse.record["losses"] != plain.record["losses"]
    # Rounding of 2e-3 a layer changes the course of a training, but not by how much it learns in three epochs.
    assert coarse.record["losses"] == pytest.approx(plain.record["losses"], rel=0.05)
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in weights(coarse).values())


def test_t1_of_water_in_fat_need_not_be_learned(protocol, tiny_preset, scans):
    """With wrong T1 of water in all fat, only the training that masks it is the same as with right ones."""
    series, labels = scans
    wrong = [
        with_maps(truth, T1H2O=np.where(truth.mask & (truth["FF"] > 0.7), 5, truth.si["T1H2O"])) for truth in labels
    ]
    for same in (True, False):
        preset = replace(tiny_preset, only_where_counts=same)
        right, misled = (
            train(series, maps, preset=replace(preset, n_epochs=1), protocol=protocol, device=CPU)
            for maps in (labels, wrong)
        )
        assert torch.equal(weights(right)["output.weight"], weights(misled)["output.weight"]) == same


def test_settled_batch_normalisation_keeps_its_statistics_while_the_weights_go_on(run, tiny_preset, tmp_path):
    """Of three epochs two begin before half of them is over; that they are settled survives an interruption."""
    preset, checkpoint = replace(tiny_preset, settled=0.5, weighted=True), tmp_path / "checkpoint"
    whole, plain = run(preset=preset), run(preset=replace(preset, settled=0.0))
    with pytest.raises(InterruptionError):
        run(preset=preset, checkpoint=checkpoint, progress=stop_after(2))
    before = load_file(checkpoint)
    assert_same_weights(run(preset=preset, checkpoint=checkpoint), whole)
    for name, tensor in weights(whole).items():
        statistics = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(tensor, before[f"network.{name}"]) == statistics, name
        if statistics:
            assert not torch.equal(tensor, weights(plain)[name]), name


def test_training_begins_with_tensors_that_are_given(run, tiny_preset):
    still = replace(tiny_preset, learning_rate=0.0, final_learning_rate=0.0)
    first = weights(run(preset=still, n_epochs=1))
    given = {"output.bias": torch.arange(5.0), "unknown": torch.zeros(3)}
    begun = run(preset=still, n_epochs=1, initial=given)
    assert torch.equal(weights(begun)["output.bias"], torch.arange(5.0))
    assert torch.equal(weights(begun)["output.weight"], first["output.weight"])
    with pytest.raises(
        MismatchError, match=r"Initial tensor output.bias has shape \(4,\), the network to train \(5,\)"
    ):
        run(initial={"output.bias": torch.zeros(4)})


def test_checkpoint_of_other_initial_tensors_is_refused(run, tmp_path):
    checkpoint = tmp_path / "run.checkpoint"
    run(n_epochs=1, checkpoint=checkpoint, initial={"output.bias": torch.ones(5)})
    with pytest.raises(MismatchError, match=r"its initial differ"):
        run(n_epochs=1, checkpoint=checkpoint, initial={"output.bias": torch.zeros(5)})


def test_best_weights_without_validation_scans_are_refused(run, make_scan, tmp_path):
    checkpoint = tmp_path / "run.checkpoint"
    scan, labels = make_scan(9, n_slices=1)
    run(n_epochs=1, checkpoint=checkpoint, validation=([scan], [labels]))
    with pytest.raises(MismatchError, match=r"its validation differ"):
        run(n_epochs=1, checkpoint=checkpoint)


def test_a_batch_too_small_to_share_is_refused(run, tiny_preset, monkeypatch):
    @contextmanager
    def two(device):
        yield Team(rank=1, size=2), device

    monkeypatch.setattr("mrfpipe.learning.training.joined_team", two)
    with pytest.raises(InputError, match="1 patches of a batch cannot be shared out among 2 processes; start fewer"):
        run(preset=replace(tiny_preset, batch_size=1))


def test_model_knows_what_it_was_trained_for(run, protocol, tiny_preset):
    model = run(n_epochs=1)
    assert model.sequence_hash == protocol.sequence.hash
    assert (model.protocol_hash, model.protocol_toml) == (protocol.hash, protocol.toml)
    assert model.architecture == tiny_preset.architecture(16, 5)
    assert model.scaling.low == (0.0, 0.5, 0.2, -120.0, 0.3)
    assert not model.network.training
    record = json.loads(json.dumps(model.record))
    assert record["seed"] == 5
    assert [scan["name"] for scan in record["scans"]] == ["scan1", "scan2"]


def test_divergence_is_told_with_its_cure(run, tiny_preset):
    preset = replace(tiny_preset, learning_rate=1e30, final_learning_rate=1e30)
    with pytest.raises(
        InputError, match=r"diverged in epoch \d of 3: .* Lower the learning rate of preset tiny \(1e\+30\)"
    ):
        run(preset=preset)


def test_scan_of_another_sequence_is_refused(run, protocol, tiny_preset, make_scan):
    scan, labels = make_scan(1)
    with pytest.raises(MismatchError, match="scan1 has 16 frames of sequence 0123, protocol tiny 16 of"):
        train([replace(scan, sequence_hash="0123")], [labels], preset=tiny_preset, protocol=protocol, device=CPU)


def test_checkpoint_of_another_training_is_refused(run, tmp_path):
    checkpoint = tmp_path / "run.checkpoint"
    run(n_epochs=1, checkpoint=checkpoint)
    with pytest.raises(MismatchError, match=r"another training \(its n_epochs and preset and seed differ\); delete it"):
        run(n_epochs=2, seed=1, checkpoint=checkpoint)


def test_damaged_checkpoint_is_refused(run, tmp_path):
    checkpoint = tmp_path / "run.checkpoint"
    run(n_epochs=1, checkpoint=checkpoint)
    whole = checkpoint.read_bytes()
    with safe_open(checkpoint, framework="pt") as file:
        metadata, names = file.metadata(), sorted(file.keys())
        without_one = {name: file.get_tensor(name).clone() for name in names[:-1]}
    checkpoint.write_bytes(whole[:-1000])
    with pytest.raises(InputError, match=r"run\.checkpoint is not a whole checkpoint; delete it"):
        run(n_epochs=1, checkpoint=checkpoint)
    save_file(without_one, checkpoint, metadata)
    with pytest.raises(InputError, match="not a whole checkpoint"):
        run(n_epochs=1, checkpoint=checkpoint)
    save_file(without_one, checkpoint, metadata | {"schema": "mrfpipe-checkpoint/0"})
    with pytest.raises(InputError, match="has schema 'mrfpipe-checkpoint/0'"):
        run(n_epochs=1, checkpoint=checkpoint)


def test_learning_rate_falls_along_half_a_cosine_or_stays():
    small, paper = PRESETS["small"], PRESETS["paper"]
    assert learning_rate(small, 0) == pytest.approx(small.learning_rate)
    assert learning_rate(small, 0.5) == pytest.approx((small.learning_rate + small.final_learning_rate) / 2)
    assert learning_rate(small, 1) == pytest.approx(small.final_learning_rate)
    assert {learning_rate(paper, progress) for progress in (0, 0.3, 1)} == {1e-3}
