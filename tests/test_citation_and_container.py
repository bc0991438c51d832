"""CITATION.cff and the Dockerfile name what there is: version, paper, files, extras."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_citation():
    cited = pytest.importorskip("yaml").safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)  # what the format requires
    assert (cited["title"], cited["version"]) == (PROJECT["project"]["name"], PROJECT["project"]["version"])
    (paper,) = cited["references"]
    assert f"https://doi.org/{paper['doi']}" in (ROOT / "README.md").read_text()
    assert (paper["authors"][0]["family-names"], paper["year"]) == ("Balsiger", 2020)


def test_container_copies_every_package_and_asks_for_extras_that_exist():
    text = (ROOT / "Dockerfile").read_text()
    copied = {name for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for name in line.split()[:-1]}
    assert all((ROOT / name).exists() for name in copied)
    assert set(PROJECT["tool"]["setuptools"]["package-dir"].values()) <= copied
    (extras,) = re.findall(r"^ARG EXTRAS=(.*)$", text, re.MULTILINE)
    assert set(extras.split(",")) <= set(PROJECT["project"]["optional-dependencies"])
