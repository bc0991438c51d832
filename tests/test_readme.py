"""The README's commands and its Python are run as they stand, in an empty folder; what it names is there."""

import re
from pathlib import Path

import pytest
from documents import RUN, blocks, figures, run_blocks, run_here

from mrfpipe.protocol import load_protocol, read
from mrfpipe.quantities import QUANTITIES

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"


def texts(page: Path, language: str) -> list[str]:
    return [block.text for block in blocks(page) if block.language == language]


def test_commands_and_python(tmp_path, monkeypatch):
    """Word for word, but in this process, and with the matrix of t1ff a quarter as wide."""
    (commands,) = texts(README, "sh")
    assert commands.count("mrfpipe ") == 4
    monkeypatch.chdir(tmp_path)
    protocol = load_protocol("t1ff").toml
    assert protocol.count("matrix = 350") == 1
    Path("t1ff").write_text(protocol.replace("matrix = 350", "matrix = 88"))
    others = [name for name in read.built_in_protocols() if name != "t1ff"]
    monkeypatch.setattr(read, "built_in_protocols", lambda: others)  # so that t1ff names this file
    assert_maps_are_made(tmp_path, [run_here(block) for block in blocks(README) if block.language in RUN])


@pytest.mark.slow
def test_commands_and_python_at_full_size(tmp_path):
    assert_maps_are_made(tmp_path, run_blocks(README, tmp_path))


def assert_maps_are_made(folder, printed):
    assert re.fullmatch(r"T1 of water in muscle: 1\d{3} ms\n", printed[-1])
    for result in ("results", "from-python"):
        assert {"maps.h5", "maps.png", "T1H2O.nii.gz", "T1H2O.json", "report.html"} <= {
            p.name for p in (folder / result / "scan").iterdir()
        }


def test_examples_of_how_to_contribute(tmp_path, monkeypatch, capsys):
    """Run here, not in processes of their own: importing what they need would take most of the time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(QUANTITIES, "T2*", None)  # which an example adds, and no other test is to find
    examples = texts(CONTRIBUTING, "python")
    assert len(examples) == 3
    for example in examples:
        exec(example, {"__name__": "example"})  # noqa: S102 - the text is this repository's
    assert "700" in capsys.readouterr().out


def test_links_lead_somewhere():
    for page in (README, CONTRIBUTING):
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
            assert (ROOT / target).exists(), f"{page.name}: {target}"


def test_errors_are_those_of_the_page_on_accuracy():
    table = "".join(line for line in README.read_text().splitlines() if " reconstruction, " in line and line[0] == "|")
    assert len(figures(table)) > 20
    assert figures(table) <= figures((ROOT / "docs" / "accuracy-and-speed.md").read_text())


def test_make_targets_and_tree_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"`make (\S+)`", README.read_text() + CONTRIBUTING.read_text())
    assert {"demo", "test", "docs"} <= set(targets)
    assert all(f"\n{target}:" in makefile for target in targets)
    (tree,) = (text for text in texts(CONTRIBUTING, "") if "src/mrfpipe/" in text)
    folder = ROOT
    for line in tree.splitlines():
        name = line.split()[0]
        if name == "src/mrfpipe/":
            folder = ROOT / name
        assert (folder / name).exists() or (ROOT / name).exists(), name
