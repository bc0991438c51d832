"""Phantom: maps of a body that are known because they were made, and the file that keeps them beside a scan."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import Byte, check_dtype, check_shape, frozen
from mrfpipe.maps import ParameterMaps
from mrfpipe.protocol import load_protocol
from mrfpipe.quantities import parameters_as_text

PARAMETERS = load_protocol("t1ff").parameters
"""What bodies that are drawn have maps of."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Phantom:
    """A body's true maps, with its muscles drawn in."""

    maps: ParameterMaps
    """The truth: `m0` is the proton density, `phase` 0, `match` is 1 and `edge` is 0 inside the mask."""
    rois: Byte
    """Number of the region of interest, from 1, or 0. Shape `(slices, y, x)`."""
    roi_names: tuple[str, ...]
    """Name of every region; the first is number 1."""

    def __post_init__(self) -> None:
        check_shape("mask", self.maps.mask, "slices y x", check_shape("rois", self.rois, "slices y x"))
        check_dtype("rois", self.rois, np.uint8)
        if self.rois.max(initial=0) > len(self.roi_names):
            raise ValueError(f"rois go to {self.rois.max()}, roi_names has {len(self.roi_names)} names.")
        object.__setattr__(self, "rois", frozen(self.rois))


def truth_arrays(phantom: Phantom) -> dict[str, npt.NDArray[Any]]:
    """Name the truth's arrays as files do: `mask`, the maps in the units of files, `roi`, and what the maps are of.

    Arrays have shape `(slices, y, x)` and are 0 outside the mask.
    """
    maps = phantom.maps
    arrays: dict[str, npt.NDArray[Any]] = {"mask": maps.mask.astype(np.uint8)}
    arrays |= {name: np.where(maps.mask, values, np.float32(0)) for name, values in maps.items()}
    return arrays | {"roi": phantom.rois, "parameters": np.array(parameters_as_text(maps.parameters))}


def save_truth(phantom: Phantom, path: str | Path) -> None:
    """Write `truth_arrays` as an npz file to exactly `path`, whatever its suffix; an existing file is replaced."""
    with Path(path).open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **truth_arrays(phantom))
