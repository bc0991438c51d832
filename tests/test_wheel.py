"""The wheel has all that a user needs: it is built, installed in an environment of its own, and does the demo there.

That environment gets the libraries from the running one, by a line in a ``.pth`` file, so that the test needs no
network and no minutes for torch. It does not get mrfpipe from there: the checkout is in the running environment as an
editable install, which works by ``.pth`` files of its own, and Python follows those only in the folders it starts
from, not in folders that a ``.pth`` file names. That mrfpipe is the wheel's is checked by its path.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


def run(*line, **options):
    """Run a command as a user would, who has no checkout on the path; return its output."""
    environment = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "COVERAGE_PROCESS_START")
    }
    done = subprocess.run(
        [str(word) for word in line], env=environment, capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def package_folders():
    """Folders of the checkout that are packages, with their place in the wheel."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {("src" if not name else place): name for name, place in settings["package-dir"].items()}
    return {ROOT / place: name.replace(".", "/") for place, name in folders.items()}


def belongs(path):
    return path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing is left in the checkout, and nothing is built that is not in it."""
    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "wheel"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in package_folders():
        for path in filter(belongs, folder.rglob("*")):
            copy = source / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    run(*pip, "--wheel-dir", target, source)
    (made,) = target.iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of the programs of an environment that has the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    places = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (own / "libraries.pth").write_text("\n".join(sorted(places)) + "\n")
    found = run(python, "-c", "import mrfpipe, mrfpipe.cli; print(mrfpipe.__file__, mrfpipe.cli.__file__)", cwd=folder)
    assert all(Path(path).is_relative_to(own) for path in found.split()), found
    return folder / "bin"


def test_wheel_carries_every_file_of_every_package(wheel):
    expected = {
        f"{place}/{path.relative_to(folder).as_posix()}".lstrip("/")
        for folder, place in package_folders().items()
        for path in filter(belongs, folder.rglob("*"))
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == expected
    assert {
        "mrfpipe/cli/match.py",
        "mrfpipe/dictionaries/t1ff.toml",
        "mrfpipe/dictionaries/t1ff-small.toml",
        "mrfpipe/report/page.html",
        "mrfpipe/report/page.css",
        "mrfpipe/report/page.js",
        "mrfpipe/py.typed",
    } <= packed


def test_version_and_info(installed, tmp_path):
    assert version("mrfpipe") in run(installed / "mrfpipe", "--version", cwd=tmp_path)
    assert "7,182,000 entries" in run(installed / "mrfpipe", "info", "t1ff", cwd=tmp_path)


def test_demo(installed, tmp_path):
    run(installed / "mrfpipe", "demo", "-o", "demo", "--quiet", cwd=tmp_path)
    for method in ("matching", "network"):
        result = tmp_path / "demo" / method / "thigh"
        assert {"maps.h5", "maps.png", "report.html"} <= {p.name for p in result.iterdir()}
        assert '"warnings":[]' in (result / "report.html").read_text()  # nothing is wrong with it
