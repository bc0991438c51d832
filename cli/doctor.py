"""``mrfpipe doctor``: describes this machine, and the defaults that commands choose on it."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from .options import Settings, common_options, device_option

if TYPE_CHECKING:
    import torch

LIBRARIES = ("numpy", "scipy", "numba", "torch", "sigpy", "finufft", "h5py", "nibabel", "ismrmrd")
OPTIONAL = {
    "highdicom": "--dicom; pip install 'mrfpipe[dicom]'",
    "distributed": "--scheduler; pip install 'mrfpipe[cluster]'",
    "tensorboard": "train --board; pip install 'mrfpipe[tensorboard]'",
    "pypulseq": "protocols from Pulseq files; pip install 'mrfpipe[pulseq]'",
    "onnx": "export; pip install 'mrfpipe[onnx]'",
}
"""Optional dependencies by module: what they are for, and how to install them."""

Report = dict[str, dict[str, str]]


@click.command()
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON instead of lines.")
@device_option
@common_options
def command(settings: Settings, json_wanted: bool) -> None:
    """List the resources of this machine, the optional packages installed, and the resulting defaults.

    Include the output in bug reports.

    Example: mrfpipe doctor
    """
    from mrfpipe.arrays import resolve_device

    device = resolve_device(settings.device_name)
    report = {
        "machine": _machine(),
        "versions": _versions(),
        "optional packages": _optional(),
        "defaults": _chosen(device),
    }
    click.echo(json.dumps(report, indent=2) if json_wanted else _lines(report))


def _lines(report: Report) -> str:
    return "\n\n".join(
        "\n".join([title, *(f"  {name + ':':20} {value}" for name, value in values.items())])
        for title, values in report.items()
    )


def _machine() -> dict[str, str]:
    import torch

    from mrfpipe.arrays import available_memory

    # A container or a batch system may give a process fewer cores than the machine has.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    gpus = [f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB" for gpu in found]
    return {
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "cores": f"{usable} of {os.cpu_count()}",
        "memory free": f"{available_memory() / 1e9:.1f} GB",
        "GPU": "; ".join(gpus) or f"none usable by torch ({_built_for()})",
    }


def _built_for() -> str:
    """Return whether this build of torch could use an NVIDIA GPU at all."""
    import torch

    return f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built for the CPU"


def _versions() -> dict[str, str]:
    return {
        "mrfpipe": _version("mrfpipe"),
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown version"


def _optional() -> dict[str, str]:
    return {name: _version(name) if find_spec(name) else f"not installed ({use})" for name, use in OPTIONAL.items()}


def _chosen(device: "torch.device") -> dict[str, str]:
    """Return what commands choose by default."""
    from mrfpipe.imaging.choices import Imaging
    from mrfpipe.learning.training import resolve_precision
    from mrfpipe.matching.match import default_memory

    return {
        "device": str(device),
        "NUFFT": Imaging().nufft_on(str(device)),
        "training precision": resolve_precision("auto", device),
        "memory for matching": f"{default_memory() / 1e9:.2f} GB, a quarter of the free memory",
    }
