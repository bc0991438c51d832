"""Phantom: the true maps of a simulated body."""

from dataclasses import dataclass

import numpy as np

from mrfpipe.arrays import Byte, check_dtype, check_shape, frozen
from mrfpipe.maps import ParameterMaps
from mrfpipe.protocol import load_protocol

PARAMETERS = load_protocol("t1ff").parameters
"""Parameters of the maps of drawn bodies."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Phantom:
    """A body's true maps, with regions of interest."""

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
