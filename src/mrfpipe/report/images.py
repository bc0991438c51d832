"""Images: the maps of a result, encoded for a page."""

import base64
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mrfpipe.appearance import (
    DIFFERENCE,
    Window,
    colours_of,
    difference_window,
    match_window,
    window_from_zero,
    window_of,
)
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import EDGE, FAT_FRACTION, GAP, M0, MATCH, PHASE, Parameter, Quality, deviation_of
from mrfpipe.report.encoding import pack, quantise

_Values = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Image:
    name: str
    title: str
    unit: str
    colours: str
    values: _Values
    window: Window
    bits: tuple[str, ...] = ()
    """Meaning of each bit, if the values are bit fields."""
    digits: int = 4
    """Number of digits shown for a voxel."""
    cyclic: bool = False
    """Whether both ends of the window are the same value, as for an angle."""
    factor: float = 1.0
    """Factor from the unit of files, in which values and window are given, to the unit shown."""
    quality: bool = False
    """Whether it is a quality map."""

    def encode(self) -> dict[str, Any]:
        quantised = quantise(self.factor * self.values)
        return {
            "name": self.name,
            "title": self.title,
            "unit": "" if self.unit == "1" else self.unit,
            "colours": self.colours,
            "window": [self.factor * end for end in self.window],
            "factor": self.factor,
            "quality": self.quality,
            "bits": self.bits,
            "digits": self.digits,
            "cyclic": self.cyclic,
            "scale": quantised.scale,
            "offset": quantised.offset,
            "precision": quantised.precision,
            "data": pack(quantised.numbers),
        }


def encode_images(maps: ParameterMaps, truth: ParameterMaps | None) -> list[dict[str, Any]]:
    """Encode the parameter maps, each with its truth if there is one, and the quality maps for a page.

    Only values inside the mask are encoded, slice by slice and row by row, in the units of `shown`. Windows come from
    the protocol, or otherwise from the truth, if there is one.
    """
    images = []
    for p in maps.parameters:
        window = window_of(maps if truth is None else truth, p)
        encoded = _parameter(maps, p, window).encode() | _counting(maps, p)
        if truth is not None:
            encoded["truth"] = _parameter(truth, p, window).encode() | _counting(truth, p)
            ends = [shown(p)[0] * end for end in difference_window(maps, truth, p)]
            encoded["difference"] = {"colours": DIFFERENCE, "window": ends}
        images.append(encoded)
    return images + [image.encode() for image in _quality(maps)]


def shown(p: Parameter) -> tuple[float, str]:
    """Return the factor from the unit of files to the unit on a page, and that unit: fat fractions are in %."""
    return (100.0, "%") if p.quantity == FAT_FRACTION else (1.0, p.unit)


def colour_tables(images: list[dict[str, Any]]) -> dict[str, str]:
    """Return the 256 colours of every colour map in `images`, with three bytes per colour in base64."""
    names = {i["colours"] for i in images} | {i["difference"]["colours"] for i in images if "difference" in i}
    return {name: base64.b64encode(colours_of(name).tobytes()).decode("ascii") for name in sorted(names)}


def _parameter(maps: ParameterMaps, p: Parameter, window: Window) -> _Image:
    factor, unit = shown(p)
    return _Image(
        name=p.name,
        title=p.title,
        unit=unit,
        colours=p.quantity.colours,
        values=maps[p.name][maps.mask],
        window=window,
        factor=factor,
    )


def _counting(maps: ParameterMaps, p: Parameter) -> dict[str, str]:
    """Return where a map counts: the rule in words, and a flag for every voxel inside the mask."""
    rule, (factor, unit) = maps.counting_rule(p), shown(p)
    if maps.sd is not None and factor != 1:
        rule = f"its standard deviation is at most {factor * p.quantity.largest_sd:g} {unit}"
    return {"rule": rule, "counts": pack(maps.counts(p)[maps.mask])} if rule else {}


def _quality(maps: ParameterMaps) -> list[_Image]:
    def image(quality: Quality, title: str, values: _Values, window: Window, **how: Any) -> _Image:  # noqa: ANN401
        known: dict[str, Any] = {
            "name": quality.name,
            "unit": quality.unit,
            "colours": quality.colours,
            "quality": True,
        }
        return _Image(title=title, values=values[maps.mask], window=window, **known | how)

    bright, ends = window_from_zero(maps.m0[maps.mask]), (0.0, float(len(maps)))
    images = [
        image(MATCH, "correlation with the fingerprint", maps.match, match_window(maps), digits=6),
        image(M0, "proton density times receive gain", maps.m0, bright, unit="a.u."),
        image(PHASE, "phase at the moment of excitation", maps.phase, (-math.pi, math.pi), cyclic=True),
    ]
    if maps.gap is not None:
        window = window_from_zero(maps.gap[maps.mask])
        images.append(image(GAP, "correlation that the second-best explanation lacks", maps.gap, window))
    if maps.sd is not None:
        for p in maps.parameters:
            quality, (factor, unit) = deviation_of(p), shown(p)
            values = np.asarray(maps.quality_map(quality), np.float32)
            window = window_from_zero(values[maps.counts(p)])
            images.append(image(quality, "predicted standard deviation", values, window, factor=factor, unit=unit))
    edge, title = maps.edge.astype(np.float32), "parameters at an end of their grid"
    return [*images, image(EDGE, title, edge, ends, unit="parameters", bits=tuple(maps))]
