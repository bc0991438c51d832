"""The page's script is linted as a whole: a name that no part defines, or that none uses, is an error."""

import subprocess
import sys
from pathlib import Path

import pytest

from mrfpipe.report.page import script

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "src" / "mrfpipe" / "report"
OXLINT = Path(sys.executable).with_name("oxlint")


def lint(path, text):
    path.write_text(text)
    line = [OXLINT, "--config", ROOT / ".oxlintrc.json", "--deny", "no-undef", "--deny", "no-unused-vars", path]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.skipif(not OXLINT.exists(), reason="oxlint is not installed")
def test_the_script_is_clean_and_a_wrong_name_is_seen(tmp_path):
    for text in (script(), (REPORT / "overview.js").read_text()):
        code, said = lint(tmp_path / "page.js", text)
        assert code == 0, said
    code, said = lint(tmp_path / "page.js", script().replace("function layOut()", "function layout()"))
    assert code == 1
    assert "layOut" in said


def test_every_part_is_short():
    parts = sorted(REPORT.glob("*.js"))
    assert all(len(part.read_text().splitlines()) < 250 for part in parts)
    of_page = [part for part in parts if part.name != "overview.js"]
    assert sum(len(part.read_text()) for part in of_page) == len(script()) - len(of_page) + 1  # none is left out
