"""Train the network that ships on one GPU in minutes, scans included; with `--rehearse` a little of it on a CPU.

Run as ``python benchmarks/train_on_gpu.py OUT [--rehearse]``.
"""

import argparse
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from mrfpipe.learning.model import save_model
from mrfpipe.protocol import load_protocol
from mrfpipe.studies.shipped import RECIPES, train_model


def main() -> None:
    """Train and write the model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--rehearse", action="store_true")
    arguments = parser.parse_args()
    start = time.perf_counter()

    def report(progress: float, values: Mapping[str, float]) -> None:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        print(f"{time.perf_counter() - start:6.1f} s, {progress:.0%}: {shown}", flush=True)

    recipe, device = RECIPES["paper"], torch.device("cpu" if arguments.rehearse else "cuda")
    if arguments.rehearse:
        preset = replace(recipe.preset, batch_size=4)
        recipe = replace(recipe, preset=preset, seconds=60, n_subjects=12, n_first=1, n_validation=1)
    model = train_model(
        recipe,
        load_protocol("t1ff"),
        device=device,
        backend="finufft",
        seed=0,
        processes=min(12, os.cpu_count() or 1),
        report=report,
    )
    save_model(model, arguments.out)
    size = sum(file.stat().st_size for file in arguments.out.iterdir()) / 1e6
    print(f"{time.perf_counter() - start:6.1f} s: {model.architecture.n_parameters:,} parameters, {size:.1f} MB")


if __name__ == "__main__":
    main()
