"""CITATION.cff, the Dockerfile and the settings of CI and hooks name what there is: version, paper, files, extras."""

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


def test_ci_runs_the_gate_and_hooks_are_a_part_of_it():
    yaml = pytest.importorskip("yaml")
    steps = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["test"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    assert runs[0] == ".ci/run"
    assert "pip wheel" in runs[1]
    gate = (ROOT / "Makefile").read_text().replace("$(BIN)", ".venv/bin")
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["entry"] for hook in local["hooks"]}
    called = {".venv/bin/ruff check", ".venv/bin/ruff format", ".venv/bin/mypy"}
    assert hooks == {*called, ".venv/bin/oxlint"}  # which a test calls, too
    assert all(f"\t{entry}" in gate for entry in called)
