from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers import small_protocol
from mrfpipe.cli import main

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def run() -> Run:
    """Run a command line; check its exit code, and that an error is one line without a traceback."""

    def run_line(*words: object, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        if code > 2:
            assert "Traceback" not in result.output
            assert len(result.stderr.strip().splitlines()) <= 2, result.stderr
            assert result.stderr.strip().splitlines()[-1].startswith("mrfpipe: ")
        return result

    return run_line


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """A folder with a small protocol, a phantom scan with its truth, its frames and a dictionary."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "small.toml").write_text(small_protocol(matrix=64).toml)
    protocol = folder / "small.toml"
    run("phantom", folder / "leg.h5", "--protocol", protocol, "--slices", 2, "--coils", 4, "--seed", 1)
    run("frames", folder / "leg.h5", "-o", folder / "leg.frames.h5", "--protocol", protocol)
    run("simulate", protocol, "-o", folder / "small.h5")
    return folder


@pytest.fixture(scope="session")
def of_raw(tmp_path_factory: pytest.TempPathFactory, run: Run, study: Path) -> tuple[Result, Path]:
    """What `match` says of the raw scan, by frames, and the result, to be read only."""
    out = tmp_path_factory.mktemp("of_raw")
    return run("match", study / "leg.h5", "-d", study / "small.h5", "-o", out, "--recon", "nufft"), out / "leg"


@pytest.fixture(scope="session")
def of_frames(tmp_path_factory: pytest.TempPathFactory, run: Run, study: Path) -> Path:
    """The result of `match` of the frames, to be read only."""
    out = tmp_path_factory.mktemp("of_frames")
    run("match", study / "leg.frames.h5", "-d", study / "small.h5", "-o", out)
    return out / "leg"
