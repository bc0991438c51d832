"""How a command starts and ends: what is done beside its work takes little of its time."""

import gc
import subprocess
import sys

import pytest
from mrfpipe.cli.options import Settings

SETTINGS = Settings(device_name="cpu", threads=None, seed=0, force=False, verbosity=-1)


def test_garbage_is_not_looked_for_among_what_is_imported():
    """It took a fifth of the time of the imports."""
    before = gc.get_freeze_count()
    with SETTINGS.loading():
        assert not gc.isenabled()
        imported = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() > before + len(imported)


def test_garbage_is_looked_for_after_an_import_that_fails():
    with pytest.raises(ImportError), SETTINGS.loading():
        raise ImportError
    assert gc.isenabled()


def test_garbage_is_not_looked_for_when_the_process_ends():
    """It took most of a second after the last line of a match."""
    code = "import atexit, gc; atexit.register(lambda: print(len(gc.get_objects()))); import mrfpipe.cli"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100
