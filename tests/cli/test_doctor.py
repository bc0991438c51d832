import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from importlib.metadata import version

import pytest
import torch
from mrfpipe.cli import doctor

from mrfpipe.matching.match import default_memory


def test_lines(run):
    text = run("doctor").stdout
    for title in ("machine", "versions", "optional packages", "defaults"):
        assert re.search(rf"^{title}$", text, flags=re.MULTILINE)
    assert re.search(rf"^  torch: +{re.escape(version('torch'))}$", text, flags=re.MULTILINE)
    assert re.search(r"^  NUFFT: +sigpy$", text, flags=re.MULTILINE)


def test_json_says_what_this_process_finds(run):
    report = json.loads(run("doctor", "--json").stdout)
    assert report["machine"]["cores"].endswith(f"of {os.cpu_count()}")
    assert report["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert report["defaults"]["device"] == ("cuda:0" if torch.cuda.device_count() else "cpu")
    for name, found in report["optional packages"].items():
        assert found.startswith("not installed") == (importlib.util.find_spec(name) is None), name
    # What is free changes while the test runs, by much less than half.
    assert float(report["defaults"]["memory for matching"].split()[0]) == pytest.approx(default_memory() / 1e9, rel=0.5)


def test_parts_that_are_absent_say_what_they_are_for(run, monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", {}.get)
    found = json.loads(run("doctor", "--json").stdout)["optional packages"]
    assert found["onnx"] == "not installed (export; pip install 'mrfpipe[onnx]')"
    assert all(text.startswith("not installed (") for text in found.values())


def test_absent_device_is_an_error_as_everywhere(run):
    assert "asked for, but this machine has" in run("doctor", "--device", "cuda:77", code=6).stderr


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_first_answer_comes_at_once(word):
    """Nothing heavy is imported; half a second, of the process's own time, is five times what it takes."""
    code = f"""if True:
        import sys
        from mrfpipe.cli import main
        try:
            main(['{word}'], prog_name='mrfpipe')
        except SystemExit:
            import time
            assert not {{'numpy', 'torch', 'numba', 'sigpy', 'h5py', 'matplotlib'}} & set(sys.modules)
            sys.exit(0 if time.process_time() < 0.5 else f'took {{time.process_time():.2f}} s')"""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr} ({time.perf_counter() - started:.2f} s by the clock)"


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o"), ("zsh", "#compdef mrfpipe"), ("fish", "--command mrfpipe")]
)
def test_completion_script(run, shell, mark):
    code = "from mrfpipe.cli import main; main(prog_name='mrfpipe')"
    ask = os.environ | {"_MRFPIPE_COMPLETE": f"{shell}_source"}
    done = subprocess.run([sys.executable, "-c", code], env=ask, capture_output=True, text=True, check=False)
    if shell == "bash" and "Couldn't detect Bash version" in done.stderr:
        pytest.skip("click asks bash for its version, and there is none")
    assert mark in done.stdout, done.stderr


def test_completion_knows_commands_and_options():
    code = "from mrfpipe.cli import main; main(prog_name='mrfpipe')"
    for words, expected in (
        ("mrfpipe sim", "simulate"),
        ("mrfpipe match --rec", "--recon"),
        ("mrfpipe doctor --js", "--json"),
    ):
        last = len(words.split()) - 1
        ask = os.environ | {"_MRFPIPE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(last)}
        done = subprocess.run([sys.executable, "-c", code], env=ask, capture_output=True, text=True, check=False)
        assert done.stdout.split() == [f"plain,{expected}"], done.stderr
