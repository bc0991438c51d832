"""The scripts that wait for a GPU, rehearsed without one, so that a GPU at hand loses no time to them."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(script: str, *words: str) -> str:
    line = [sys.executable, str(ROOT / "benchmarks" / script), *words]
    done = subprocess.run(
        line, capture_output=True, text=True, check=False, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_everything_that_a_gpu_computes_is_measured():
    printed = run("on_gpu.py", "--device", "cpu", "--small")
    assert "failed" not in printed
    rows = json.loads(printed.splitlines()[-1])["rows"]
    named = ["epg, all signals", "exact", "brute, of 8192 voxels", "group", "subspace, a slice", "its right side"]
    named += ["frames, five slices", "joint, a slice"]
    assert {f"{name} (s)" for name in named} <= {*rows}
    assert rows["exact, worst score against brute ()"] < 1e-5


@pytest.mark.slow
def test_a_training_on_a_gpu_is_rehearsed(tmp_path):
    """The command of the script, for 4 of its phantoms and one of its epochs."""
    script = (ROOT / "benchmarks" / "train_on_gpu.sh").read_text().replace("\\\n", " ")
    (command,) = re.findall(r"main\(\)\" (train .*)", script)
    words = shlex.split(command.replace("$1", str(tmp_path / "model")))
    for option, value in (("--phantoms", "4"), ("--device", "cpu")):
        words[words.index(option) + 1] = value
    line = [sys.executable, "-c", "from mrfpipe.cli import main; main()", *words, "--epochs", "1"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "preset large, 2,052,586 parameters, trained on 4 phantoms" in done.stdout
    assert sum(path.stat().st_size for path in (tmp_path / "model").iterdir()) < 12e6
