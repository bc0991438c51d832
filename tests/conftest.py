import multiprocessing
import os
import subprocess

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before any test loads torch
if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: threads of linear algebra would wait for one another
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(threads, "1")


LONGEST = (
    "test_network_commands.py",
    "test_many_scans.py",
    "test_commands.py",
    "test_imaging_options.py",
    "test_delays.py",
)
"""Files that take longest; they begin, so that several processes end together."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def forks():
    """What starts processes by forking a server that has imported what they need: torch alone takes two seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["distributed", "mrfpipe.run.job", "mrfpipe.learning.training"])
    process = context.Process()  # which starts the server, before anything else asks for one
    process.start()
    process.join()
    return context


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
