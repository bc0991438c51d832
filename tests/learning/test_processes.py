"""Trainings in processes of their own: killed and taken up again, and shared by two."""

import json
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from training_processes import train_here


@pytest.fixture(scope="module")
def task(protocol, tiny_preset, make_scan):
    """Two scans and a third to validate on; three epochs of seven steps."""
    series, labels = zip(*(make_scan(seed) for seed in (1, 2)), strict=True)
    scan, truth = make_scan(9, n_slices=1)
    return {
        "series": series,
        "labels": labels,
        "preset": tiny_preset,
        "protocol": protocol,
        "device": torch.device("cpu"),
        "seed": 5,
        "validation": ([scan], [truth]),
    }


@pytest.fixture(scope="module")
def start(forks):
    """Return a function that trains in a process of its own, and gives its exit code."""

    def start(folder: Path, task: dict, last_step: int | None = None) -> int:
        process = forks.Process(target=train_here, args=(task, folder / "result", last_step))
        process.start()
        process.join(300)
        return process.exitcode

    return start


def result(folder: Path, rank: int = 0) -> tuple[dict, dict]:
    return pickle.loads((folder / f"result.{rank}").read_bytes())  # noqa: S301


@pytest.fixture(scope="module")
def whole(task, start, tmp_path_factory):
    """Weights and record of a training that nothing interrupts, alone in a process as well: one that has loaded other
    libraries may round otherwise."""
    folder = tmp_path_factory.mktemp("whole")
    assert start(folder, task) == 0
    return result(folder)


@pytest.mark.parametrize("last_steps", [(10,), pytest.param((10, 4, 9), marks=pytest.mark.slow)], ids=str)
def test_a_training_that_is_killed_ends_with_the_very_same_weights(task, start, whole, tmp_path, last_steps):
    """In its second epoch, so that it goes on from what was kept of the first; or also before and after more is kept.

    All run on one machine by one thread each: by another number of threads sums would be taken in another order.
    """
    checkpoint, log = tmp_path / "run.checkpoint", tmp_path / "log.jsonl"
    task = task | {"checkpoint": checkpoint, "log": log}
    for last_step in last_steps:
        assert start(tmp_path, task, last_step) == -signal.SIGKILL
    assert start(tmp_path, task) == 0
    weights, record = result(tmp_path)
    assert record == whole[1]
    for name, expected in whole[0].items():
        np.testing.assert_array_equal(weights[name], expected, err_msg=name)
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["epoch"] for entry in entries] == [1, 2, 3]
    assert [entry["loss"] for entry in entries] == record["losses"]
    assert {path.name for path in tmp_path.iterdir()} == {"run.checkpoint", "log.jsonl", "result.0"}


def test_two_processes_train_as_one(task, start, whole, tmp_path):
    """They share out the same batches and add up losses, gradients and statistics: only the order of sums differs.

    Adam divides by the gradient's size, so that a gradient which is rounding alone moves its weight by up to the
    learning rate; hence the weights are compared by their norm and the losses closely. They are started by what
    torchrun itself calls, for one machine as with --standalone.
    """
    log = tmp_path / "log.jsonl"
    settings = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id="test",
        start_method="forkserver",
    )
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    elastic_launch(settings, train_here)(task | {"log": log}, tmp_path / "result")
    for number, handler in handlers.items():
        signal.signal(number, handler)
    weights, record = result(tmp_path)
    others, _ = result(tmp_path, 1)
    np.testing.assert_allclose(record["losses"], whole[1]["losses"], rtol=1e-4)
    np.testing.assert_allclose(record["validation_losses"], whole[1]["validation_losses"], rtol=1e-3)
    for name, expected in whole[0].items():
        np.testing.assert_array_equal(weights[name], others[name], err_msg=name)
        distance = np.linalg.norm(weights[name] - expected)
        assert distance <= 2e-3 * np.linalg.norm(expected) + 1e-6, name
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == [1, 2, 3]
