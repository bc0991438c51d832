"""Trainings in processes of their own: killed and taken up again, and shared by two."""

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPT = Path(__file__).with_name("train_script.py")


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


def start(folder: Path, task: dict, *arguments: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    (folder / "task").write_bytes(pickle.dumps(task))
    command = [sys.executable, *launcher, str(SCRIPT), str(folder / "task"), str(folder / "result"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=os.environ)


def result(folder: Path, rank: int = 0) -> tuple[dict, dict]:
    return pickle.loads((folder / f"result.{rank}").read_bytes())  # noqa: S301


@pytest.fixture(scope="module")
def whole(task, tmp_path_factory):
    """Weights and record of a training that nothing interrupts, alone in a process as well: one that has loaded other
    libraries may round otherwise."""
    folder = tmp_path_factory.mktemp("whole")
    run = start(folder, task)
    assert run.returncode == 0, run.stderr
    return result(folder)


@pytest.mark.parametrize("n_kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_training_that_is_killed_ends_with_the_very_same_weights(task, whole, tmp_path, n_kills):
    """All run on one machine by one thread each: by another number of threads sums would be taken in another order."""
    checkpoint, log = tmp_path / "run.checkpoint", tmp_path / "log.jsonl"
    task = task | {"checkpoint": checkpoint, "log": log}
    random = np.random.default_rng(11)
    for _ in range(n_kills):
        killed = start(tmp_path, task, str(random.integers(3, 13)))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    finished = start(tmp_path, task)
    assert finished.returncode == 0, finished.stderr
    weights, record = result(tmp_path)
    assert record == whole[1]
    for name, expected in whole[0].items():
        np.testing.assert_array_equal(weights[name], expected, err_msg=name)
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["epoch"] for entry in entries] == [1, 2, 3]
    assert [entry["loss"] for entry in entries] == record["losses"]
    assert {path.name for path in tmp_path.iterdir()} == {"run.checkpoint", "log.jsonl", "task", "result.0"}


def test_two_processes_train_as_one(task, whole, tmp_path):
    """They share out the same batches and add up losses, gradients and statistics: only the order of sums differs.

    Adam divides by the gradient's size, so that a gradient which is rounding alone moves its weight by up to the
    learning rate; hence the weights are compared by their norm and the losses closely.
    """
    log = tmp_path / "log.jsonl"
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    run = start(tmp_path, task | {"log": log}, launcher=launcher)
    assert run.returncode == 0, run.stderr
    weights, record = result(tmp_path)
    others, _ = result(tmp_path, 1)
    np.testing.assert_allclose(record["losses"], whole[1]["losses"], rtol=1e-4)
    np.testing.assert_allclose(record["validation_losses"], whole[1]["validation_losses"], rtol=1e-3)
    for name, expected in whole[0].items():
        np.testing.assert_array_equal(weights[name], others[name], err_msg=name)
        distance = np.linalg.norm(weights[name] - expected)
        assert distance <= 2e-3 * np.linalg.norm(expected) + 1e-6, name
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == [1, 2, 3]
