"""Arrays: names of axes, checks of shapes and types, and the available devices and memory.

Axes are named ``slices, coils, readouts, samples, frames, rank, y, x, voxels`` and, in a dictionary, by its parameters.
Shapes in docstrings and errors use these names. Everything is in SI units (s, rad, Hz, m) inside the library.
"""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mrfpipe.errors import ResourceError

if TYPE_CHECKING:
    import torch  # takes seconds, too long for an error such as a missing file

Float = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex64]
Bool = npt.NDArray[np.bool_]
Byte = npt.NDArray[np.uint8]
Int = npt.NDArray[np.int64]
ShortInt = npt.NDArray[np.int32]


def check_shape(
    name: str, array: npt.NDArray[Any], axes: str, sizes: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Check an array's rank and sizes against named axes.

    Parameters
    ----------
    name
        What the array is, for the error.
    array
        The array to check.
    axes
        Axis names separated by blanks, for example ``"slices y x"``; a number stands for itself.
    sizes
        Sizes that some of the names must have.

    Returns
    -------
        The size of every named axis, those of `sizes` included.

    Raises
    ------
    ValueError
        If the number of axes or a size is wrong.
    """
    names = axes.split()
    known = dict(sizes or {})
    expected = ", ".join(f"{n}={known[n]}" if n in known else n for n in names)
    if array.ndim != len(names):
        raise ValueError(f"{name} has shape {array.shape}, expected ({expected}).")
    for axis, size in zip(names, array.shape, strict=True):
        if known.setdefault(axis, int(axis) if axis.isdigit() else size) != size:
            raise ValueError(f"{name} has shape {array.shape}, expected ({expected}).")
    return known


def check_dtype(name: str, array: npt.NDArray[Any], dtype: npt.DTypeLike) -> None:
    """Raise ValueError unless `array` has exactly `dtype`."""
    if array.dtype != np.dtype(dtype):
        raise ValueError(f"{name} is {array.dtype}, expected {np.dtype(dtype)}.")


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a read-only view of `array`."""
    view = array.view()
    view.flags.writeable = False
    return view


def resolve_device(device: str) -> "torch.device":
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a torch device; ``auto`` takes the first GPU if there is one.

    Raises
    ------
    ResourceError
        If a GPU is asked for that this machine does not have.
    """
    import torch

    n_gpus = torch.cuda.device_count()
    if device == "auto":
        return torch.device("cuda:0" if n_gpus else "cpu")
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()) or (kind == "cpu" and number):
        raise ResourceError(f"Device '{device}' is not known; use auto, cpu, cuda or cuda:N.")
    if kind == "cuda" and int(number or 0) >= n_gpus:
        found = f"only {n_gpus} GPU(s)" if n_gpus else "no GPU that torch can use"
        raise ResourceError(f"Device '{device}' asked for, but this machine has {found}; use --device cpu or auto.")
    return torch.device(kind, int(number or 0)) if kind == "cuda" else torch.device("cpu")


def check_numba_gpu(task: str) -> None:
    """Raise ResourceError unless Numba can use an NVIDIA GPU; `task` is what to do on the CPU instead.

    torch may see a GPU that Numba cannot use because the CUDA compiler is missing. Numba's warnings about grids with
    few blocks are silenced: they are unavoidable with a small protocol.
    """
    from numba import cuda  # Numba looks for a GPU when it is imported

    warnings.filterwarnings("ignore", "Grid size")

    if not cuda.is_available():
        raise ResourceError(f"Numba finds no NVIDIA GPU it can use (`numba -s` says why); {task} with --device cpu.")


def limit_threads(threads: int) -> None:
    """Set the number of CPU threads that numba and torch use for computations of the calling thread.

    The number is capped at the number of cores: a mistyped one could use up the threads of the whole process.
    """
    import numba
    import torch

    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # set when numba is imported
    numba.set_num_threads(min(threads, most))
    torch.set_num_threads(min(threads, max(most, os.cpu_count() or 1)))


def available_memory() -> int:
    """Bytes of memory that are available without swapping."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return int(os.sysconf("SC_PAGE_SIZE")) * int(os.sysconf("SC_PHYS_PAGES")) // 2
