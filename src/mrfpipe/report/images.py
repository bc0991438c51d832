"""Images: the maps of a result as a page shows them, each with its colours and its window."""

import base64
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps

from mrfpipe.arrays import Bool
from mrfpipe.maps import EDGE, GAP, M0, MATCH, MOST_FAT_FOR_WATER, PARAMETERS, PHASE, Parameter, ParameterMaps
from mrfpipe.report.encoding import pack, quantise

_Values = npt.NDArray[np.floating[Any]]

_COLOURS = {"FF": "viridis", "T1H2O": "magma", "T1fat": "magma", "df": "coolwarm", "B1": "viridis"}
"""Perceptually uniform, and diverging for what has a sign."""
_DIFFERENCE = "PuOr_r"
_USUAL_MATCH = 0.9
"""Lower end of the match's window, unless a scan is worse."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Image:
    """One map with its words and window."""

    name: str
    title: str
    unit: str
    colours: str
    values: _Values
    window: tuple[float, float]
    bits: tuple[str, ...] = ()
    """What the bits of the values mean, if they are no numbers."""
    digits: int = 4
    """Digits that are read out."""
    cyclic: bool = False
    """Whether the window's two ends are one value, as of an angle."""

    def encode(self) -> dict[str, Any]:
        quantised = quantise(self.values)
        return {
            "name": self.name,
            "title": self.title,
            "unit": "" if self.unit == "1" else self.unit,
            "colours": self.colours,
            "window": self.window,
            "bits": self.bits,
            "digits": self.digits,
            "cyclic": self.cyclic,
            "scale": quantised.scale,
            "offset": quantised.offset,
            "precision": quantised.precision,
            "data": pack(quantised.numbers),
        }


def encode_images(maps: ParameterMaps, truth: ParameterMaps | None) -> list[dict[str, Any]]:
    """Prepare the five maps, each with its truth if there is one, and the quality maps that are there for a page.

    Values are those inside the mask, slice by slice and row by row.
    """
    images = []
    for p in PARAMETERS:
        encoded = _parameter(maps, p).encode()
        if truth is not None:
            encoded["truth"] = _parameter(truth, p).encode()
            encoded["difference"] = {"colours": _DIFFERENCE, "window": _difference_window(maps, truth, p)}
        images.append(encoded)
    return images + [image.encode() for image in _quality(maps)]


def colour_tables(images: list[dict[str, Any]]) -> dict[str, str]:
    """Return the 256 colours, three bytes each in base64, of every colour map that `images` name."""
    names = {i["colours"] for i in images} | {i["difference"]["colours"] for i in images if "difference" in i}
    return {
        name: base64.b64encode(colormaps[name](np.arange(256), bytes=True)[:, :3].tobytes()).decode("ascii")
        for name in sorted(names)
    }


def _parameter(maps: ParameterMaps, p: Parameter) -> _Image:
    values = maps.in_file_units(p)[maps.mask]
    if p.name == "FF":
        window = (0.0, 1.0)
    elif p.name == "df":
        top = _percentile(np.abs(values), 99) or 1.0
        window = (-top, top)
    else:
        telling = maps.in_file_units(p)[_telling(maps, p)]
        window = _opened(_percentile(telling, 1), _percentile(telling, 99))
    return _Image(name=p.name, title=p.title, unit=p.unit, colours=_COLOURS[p.name], values=values, window=window)


def _quality(maps: ParameterMaps) -> list[_Image]:
    match, m0 = maps.match[maps.mask], maps.m0[maps.mask]
    gap = None if maps.gap is None else maps.gap[maps.mask]
    bottom = min(_USUAL_MATCH, float(np.floor(10 * _percentile(match, 1)) / 10))
    return [
        _Image(
            name=MATCH.name,
            title="correlation with the matched fingerprint",
            unit=MATCH.unit,
            colours="magma",
            values=match,
            window=(max(0.0, bottom), 1.0),
            digits=6,
        ),
        _Image(
            name=M0.name,
            title="proton density times receive gain",
            unit="a.u.",
            colours="magma",
            values=m0,
            window=_opened(0.0, _percentile(m0, 99)),
        ),
        _Image(
            name=PHASE.name,
            title="phase at the moment of excitation",
            unit=PHASE.unit,
            colours="twilight",
            values=maps.phase[maps.mask],
            window=(-math.pi, math.pi),
            cyclic=True,
        ),
        *([] if gap is None else [_gap(gap)]),
        _Image(
            name=EDGE.name,
            title="parameters at an end of their grid",
            unit="parameters",
            colours="cividis",
            values=maps.edge[maps.mask].astype(np.float32),
            window=(0.0, float(len(PARAMETERS))),
            bits=tuple(p.name for p in PARAMETERS),
        ),
    ]


def _gap(values: _Values) -> _Image:
    return _Image(
        name=GAP.name,
        title="correlation that the second-best explanation lacks",
        unit=GAP.unit,
        colours="magma",
        values=values,
        window=_opened(0.0, _percentile(values, 99)),
    )


def _difference_window(maps: ParameterMaps, truth: ParameterMaps, p: Parameter) -> tuple[float, float]:
    both = _telling(truth, p) & maps.mask
    top = _percentile(np.abs(maps.in_file_units(p)[both] - truth.in_file_units(p)[both]), 97) or 1.0
    return -top, top


def _telling(maps: ParameterMaps, p: Parameter) -> Bool:
    """Return where a map makes its window: T1 of water is a guess in fat, and would open it to all of the grid."""
    counts: Bool = maps.mask
    return counts & (maps.ff <= MOST_FAT_FOR_WATER) if p.field == "t1w" else counts


def _percentile(values: _Values, share: float) -> float:
    return float(np.percentile(values, share)) if values.size else 0.0


def _opened(low: float, high: float) -> tuple[float, float]:
    """Give a window without width one."""
    return (low, high) if high > low else (low, low + 1)
