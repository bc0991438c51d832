import subprocess
import sys
from pathlib import Path

BARE = [
    "physics.simulate",
    "dictionary",
    "maps",
    "protocol",
    "matching.match",
    "learning.training",
    "learning.inference",
]


def test_what_a_gpu_machine_runs_imports_with_little():
    """numpy, numba, torch and scipy are enough: nothing that reads scans or images is needed.

    Each name is imported as the first of mrfpipe, in one process, which loads torch once.
    """
    code = f"""if True:
        import sys
        from importlib import import_module
        for absent in ("sigpy", "nibabel", "ismrmrd", "h5py", "skimage", "matplotlib", "safetensors", "click", "tqdm"):
            sys.modules[absent] = None
        for name in {BARE}:
            for loaded in [module for module in sys.modules if module.partition(".")[0] == "mrfpipe"]:
                del sys.modules[loaded]
            import_module("mrfpipe." + name)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_matches_ready_images_imports_no_more_than_it_needs():
    """Half of the time until a match began went into what reconstructs, and into what draws figures."""
    code = """if True:
        import sys, cli.match, cli.output, mrfpipe.report.page, mrfpipe.run.job
        idle = ("sigpy", "scipy.signal", "scipy.stats", "matplotlib", "onnx", "highdicom", "nibabel")
        print([name for name in idle if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_images_are_reconstructed_without_importing_sigpy():
    """Its import and the compilation of its loops took three seconds of every command."""
    code = """if True:
        import sys, numpy as np
        from mrfpipe.imaging.nufft import cell_sums, combined_adjoint, nufft_adjoint
        samples, trajectory = np.ones((1, 2, 3), np.complex64), np.zeros((2, 3, 2), np.float32)
        for backend in ("sigpy", "finufft"):
            nufft_adjoint(samples, trajectory, 16, backend=backend)
            combined_adjoint(samples, trajectory, np.ones((1, 16, 16), np.complex64), backend=backend)
        cell_sums(np.ones((2, 3), np.float32), trajectory, 16)
        print("sigpy" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_progress_is_called_with_is_said_in_one_place():
    root = Path(__file__).parents[1]
    files = [file for folder in ("src", "cli") for file in (root / folder).rglob("*.py") if file.name != "progress.py"]
    shapes = (
        "Callable[[int], None]",
        "Callable[[int, int], None]",
        "Callable[[int, int, float], None]",
        "\nProgress = ",
    )
    assert [str(file) for file in files if any(shape in file.read_text() for shape in shapes)] == []
