"""The demo prints what it does as commands that can be typed."""

import shlex
from types import SimpleNamespace

from mrfpipe.cli import demo


def test_a_folder_with_a_space_is_quoted_and_the_device_told_to_what_computes_on_it(run, monkeypatch):
    lines = []
    monkeypatch.setattr(demo, "main", SimpleNamespace(main=lambda line, **_: lines.append(line)))
    told = run("demo", "-o", "my demo", "--device", "cpu").stdout.splitlines()
    printed = [shlex.split(line)[2:] for line in told if line.startswith("$ ")]
    assert [line[: len(words)] for line, words in zip(lines, printed, strict=True)] == printed
    assert printed[0][1] == "my demo/thigh.h5"
    assert {line[0] for line in printed if "--device" in line} == {"frames", "simulate", "match", "reconstruct"}
