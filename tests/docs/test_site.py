"""The documentation is built, every warning an error, and opens without a network."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings")
ROOT = Path(__file__).parents[2]


def build(folder, *options):
    """Build as `make docs` does. Not with --quiet, under which MkDocs counts no warnings."""
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", *options]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, "--site-dir", str(folder))
    assert done.returncode == 0, done.stderr + done.stdout
    return folder


def test_every_page_is_there_and_asks_for_nothing_from_elsewhere(site):
    for page in (ROOT / "docs").glob("*.md"):
        html = (site / f"{page.stem}.html").read_text()
        fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', html)
        assert not fetched, page.name
        for picture in re.findall(r'<img[^>]+src="([^"]+)"', html):
            assert (site / picture).exists(), picture


def test_docstrings_are_in_the_reference(site):
    html = (site / "api.html").read_text()
    for name in (
        "protocol.load_protocol",
        "matching.exact.match_exact",
        "files.dicom.write_dicom",
        "maps.ParameterMaps.si",
    ):
        assert f'id="mrfpipe.{name}"' in html


def test_a_broken_link_fails_the_build(site, tmp_path):
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[gone](gone.md)\n")
    settings = re.sub(r"^nav:.*", "", (tmp_path / "mkdocs.yml").read_text(), flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "mkdocs.yml").write_text(settings)
    done = build(tmp_path)
    assert done.returncode != 0
    assert "gone.md" in done.stderr
