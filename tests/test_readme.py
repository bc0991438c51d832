"""The README's commands and its Python are run as they stand, in an empty folder."""

import re
from pathlib import Path

from documents import blocks, run_blocks

README = Path(__file__).parents[1] / "README.md"


def texts(language: str) -> list[str]:
    return [block.text for block in blocks(README) if block.language == language]


def test_commands_and_python(tmp_path):
    (commands,) = texts("sh")
    assert commands.count("mrfpipe ") == 8
    _, printed = run_blocks(README, tmp_path)
    assert re.fullmatch(r"mean fat fraction 0\.\d\d\n", printed)
    for result in ("results", "by-network"):
        assert {"maps.h5", "maps.png", "T1H2O.nii.gz", "T1H2O.json"} <= {
            p.name for p in (tmp_path / result / "thigh").iterdir()
        }


def test_make_targets_and_tree_exist():
    makefile = (README.parent / "Makefile").read_text()
    for target in re.findall(r"^make (\S+)", texts("")[0], flags=re.MULTILINE):
        assert f"\n{target}:" in makefile
    folder = README.parent
    for line in texts("")[-1].splitlines():
        name = line.split()[0]
        if name == "src/mrfpipe/":
            folder = README.parent / name
        assert (folder / name).exists() or (README.parent / name).exists(), name
