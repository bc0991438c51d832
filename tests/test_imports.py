import subprocess
import sys

import pytest

BARE = [
    "physics.simulate",
    "dictionary",
    "maps",
    "protocol",
    "matching.match",
    "learning.training",
    "learning.inference",
]


@pytest.mark.parametrize("name", BARE)
def test_what_a_gpu_machine_runs_imports_with_little(name):
    """numpy, numba, torch and scipy are enough: nothing that reads scans or images is needed."""
    code = f"""if True:
        import sys
        for absent in ("sigpy", "nibabel", "ismrmrd", "h5py", "skimage", "matplotlib", "safetensors", "click", "tqdm"):
            sys.modules[absent] = None
        import mrfpipe.{name}"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
