import os
import subprocess

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before any test loads torch


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 100 kB, where mounting one is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    try:
        allowed = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        allowed = False
    if not allowed:
        pytest.skip("mounting a small disk needs root and a system that lets it")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
