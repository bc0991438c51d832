"""The README's commands and its Python are run as they stand, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


def test_commands(folder):
    (commands,) = blocks("sh")
    assert commands.count("mrfpipe ") == 7
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-eu"],
        input=commands,
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for result in ("results", "by-network"):
        assert {"maps.h5", "maps.png", "T1H2O.nii.gz", "T1H2O.json"} <= {
            p.name for p in (folder / result / "thigh").iterdir()
        }


def test_python(folder):
    (code,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"mean fat fraction 0\.\d\d\n", done.stdout)


def test_make_targets_and_tree_exist():
    makefile = (README.parent / "Makefile").read_text()
    for target in re.findall(r"^make (\S+)", blocks("")[0], flags=re.MULTILINE):
        assert f"\n{target}:" in makefile
    folder = README.parent
    for line in blocks("")[-1].splitlines():
        name = line.split()[0]
        if name == "src/mrfpipe/":
            folder = README.parent / name
        assert (folder / name).exists() or (README.parent / name).exists(), name
