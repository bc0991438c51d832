"""Truth: what the maps of a scan should be, if it lies beside the scan and fits.

It is a neighbour that nobody asked for: what is wrong with it is told, and never stands in the way of the maps.
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
    """The truth; None if there is none that can be used."""
    path: Path
    """Where it lies, or would."""
    warning: str = ""
    """Why one that is there cannot be used, in a line."""

    @classmethod
    def beside(cls, scan: Path, parameters: tuple[Parameter, ...]) -> Self:
        """Read the truth beside a scan, of these parameters unless it says of what."""
        path = truth_path(scan)
        try:
            return cls(path=path, maps=load_truth(scan, parameters))
        except MrfpipeError as e:
            return cls(path=path, warning=f"{_WITHOUT_TRUTH}: {e}")

    def of(self, maps: ParameterMaps) -> "Truth":
        """Return the truth if it is of the shape and the parameters of these maps."""
        if self.maps is None or (self.maps.mask.shape == maps.mask.shape and tuple(self.maps) == tuple(maps)):
            return self
        if tuple(self.maps) != tuple(maps):
            differs = f"has maps of {', '.join(self.maps)}, the result of {', '.join(maps)}"
        else:
            differs = f"has shape {self.maps.mask.shape}, the maps {maps.mask.shape} (slices, y, x)"
        complaint = f"{self.path} {differs}; it belongs to another scan; remove it."
        return Truth(path=self.path, warning=f"{_WITHOUT_TRUTH}: {complaint}")
