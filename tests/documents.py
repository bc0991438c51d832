"""The fenced blocks of a page for people, run as a reader would: in order, in one folder, each as it stands."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner
from mrfpipe.cli import main

FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = {"sh": ["sh", "-eu"], "python": [sys.executable, "-"]}
"""What runs a block, by its language; it reads the block from its standard input."""


SLOW = "<!-- slow"
"""How a page begins whose commands take long, or need more of a shell than `run_here` has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    place: str
    """Page and line, for whoever has to mend it."""


def blocks(page: Path) -> list[Block]:
    """Find all fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            language=found["language"],
            text=found["text"],
            place=f"{page.name}, line {text.count(chr(10), 0, found.start()) + 1}",
        )
        for found in FENCE.finditer(text)
    ]


def figures(text: str) -> set[str]:
    """Numbers as they are written, units and signs aside; years and names of columns are among them, and harmless."""
    return set(re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?", text))


def run_blocks(page: Path, folder: Path) -> list[str]:
    """Run what can be run of a page in a folder; return what each block printed."""
    return [run_block(block, folder) for block in blocks(page) if block.language in RUN]


def run_block(block: Block, folder: Path) -> str:
    """Run one block, with the programs of this environment first; return what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        RUN[block.language],
        input=block.text,
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block.place}:\n{done.stderr}"
    return done.stdout


def run_here(block: Block) -> str:
    """Run one block in this process, as `run_block` in one of its own, where imports would take most of the time.

    Of the shell it may have commands of mrfpipe and comments, which is all that most blocks have.
    """
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        if block.language == "python":
            exec(compile(block.text, block.place, "exec"), {"__name__": "__main__"})  # noqa: S102 - of this repository
        else:
            for line in block.text.splitlines():
                print(command(line), end="")  # noqa: T201 - as the shell does
    return printed.getvalue()


def command(line: str) -> str:
    """Run a line for the shell in this process; return what it printed."""
    program, *words = shlex.split(line, comments=True) or [""]
    assert program == "mrfpipe", f"'{line}' is for a shell; begin the page with {SLOW} -->"
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, f"{line}: {result.output}\n{result.exception!r}"
    return result.stdout
