"""Truth: the true maps of a scan, if a file with them is beside the scan and fits.

The user did not ask for this file, so problems with it only cause a warning and never prevent the maps.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mrfpipe.errors import MrfpipeError
from mrfpipe.files.truth import load_truth, truth_path
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import Parameter

_WITHOUT_TRUTH = "the ground truth is not shown"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """The truth that pictures and page of a result show."""

    maps: ParameterMaps | None = None
    """The true maps; None if there are none that can be used."""
    path: Path
    """Path of the file, whether it exists or not."""
    warning: str = ""
    """Why an existing file cannot be used, in one line."""

    @classmethod
    def beside(cls, scan: Path, parameters: tuple[Parameter, ...]) -> Self:
        """Read the truth beside a scan; its parameters are the given ones unless the file names others."""
        path = truth_path(scan)
        try:
            return cls(path=path, maps=load_truth(scan, parameters))
        except MrfpipeError as e:
            return cls(path=path, warning=f"{_WITHOUT_TRUTH}: {e}")

    def of(self, maps: ParameterMaps) -> "Truth":
        """Return the truth if it has the shape and the parameters of these maps, otherwise a warning."""
        if self.maps is None or (self.maps.mask.shape == maps.mask.shape and tuple(self.maps) == tuple(maps)):
            return self
        if tuple(self.maps) != tuple(maps):
            differs = f"has maps of {', '.join(self.maps)}, the result of {', '.join(maps)}"
        else:
            differs = f"has shape {self.maps.mask.shape}, the maps {maps.mask.shape} (slices, y, x)"
        complaint = f"{self.path} {differs}; it belongs to another scan; remove it."
        return Truth(path=self.path, warning=f"{_WITHOUT_TRUTH}: {complaint}")
