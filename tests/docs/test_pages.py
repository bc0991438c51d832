"""Every command and every piece of Python of the documentation is run; every figure of its tables is a measured one."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from documents import RUN, SLOW, blocks, figures, run_block, run_blocks, run_here

import mrfpipe
from mrfpipe.errors import InputError
from mrfpipe.protocol import parse_protocol

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
COMPLETION = ("bash", "zsh", "fish")
"""Languages of blocks that are lines for a shell's own file."""


def params():
    for page in PAGES:
        if any(block.language in RUN for block in blocks(page)):
            marks = [pytest.mark.slow] if page.read_text().startswith(SLOW) else []
            yield pytest.param(page, id=page.stem, marks=marks)


@pytest.mark.parametrize("page", list(params()))
def test_what_a_page_says_runs(page, tmp_path, monkeypatch):
    """Slow pages run as a reader would run them, quick ones here, with what is imported already."""
    if not page.read_text().startswith(SLOW):
        monkeypatch.chdir(tmp_path)
        for block in blocks(page):
            if block.language in RUN:
                run_here(block)
        return
    if "--dicom" in page.read_text():
        pytest.importorskip("highdicom")
    run_blocks(page, tmp_path)


def test_there_is_no_block_that_is_not_run():
    for page in PAGES:
        for block in blocks(page):
            assert block.language in {*RUN, *COMPLETION}, block.place


def test_the_page_that_a_refused_protocol_is_sent_to_is_there():
    with pytest.raises(InputError) as refusal:
        parse_protocol("[sequence]\n[tissue]\n[grid]\n", "old.toml")
    (page,) = re.findall(r"docs/\S+\.md", str(refusal.value))
    assert "[tissue]" in (ROOT / page).read_text()


@pytest.mark.parametrize("shell", COMPLETION)
def test_line_for_completion(shell, tmp_path):
    """The line asks for the script of its shell, and the shell takes it, if it is here."""
    (block,) = (b for b in blocks(DOCS / "command-line.md") if b.language == shell)
    assert f"_MRFPIPE_COMPLETE={shell}_source mrfpipe" in block.text
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    known = {"bash": "complete -p mrfpipe", "zsh": "", "fish": "complete -C 'mrfpipe sim'"}[shell]
    start = {"bash": "", "zsh": "autoload -Uz compinit && compinit -D\n", "fish": ""}[shell]
    line = tmp_path / "line"
    line.write_text(f"{start}{block.text}{known}\n")
    done = subprocess.run([shell, line], capture_output=True, text=True, check=False, env=with_programs())
    assert (done.returncode, done.stderr) == (0, "")


def with_programs():
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def test_figures_are_those_of_the_benchmarks():
    measured = figures("".join((ROOT / name).read_text() for name in ("benchmarks/README.md", "CHANGELOG.md")))
    page = (DOCS / "accuracy-and-speed.md").read_text()
    assert len(figures(page)) > 80
    assert figures(page) <= measured, figures(page) - measured


def test_blocks_run_in_a_shell_that_has_the_command_and_one_that_fails_fails_the_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```sh\nmrfpipe --version > made\n```\n\n```python\nprint(open('made').read())\n```\n")
    assert run_blocks(page, tmp_path) == ["", f"mrfpipe, version {version('mrfpipe')}\n\n"]
    page.write_text("# Page\n\n```sh\nfalse\ntrue\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md, line 3"):
        run_block(blocks(page)[0], tmp_path)
    page.write_text("# Page\n\n```sh\nmrfpipe info none.h5\n```\n\n```python\nassert False\n```\n")
    for block in blocks(page):
        with pytest.raises(AssertionError):
            run_here(block)


def test_the_names_that_are_documented_are_those_that_there_are():
    rows = re.findall(r"^\| (`.*?) \|", (DOCS / "api.md").read_text(), flags=re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == [*mrfpipe.__all__]
