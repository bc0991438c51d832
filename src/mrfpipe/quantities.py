"""Quantities: the table of what can be mapped, with the unit, colours and codes for every kind of output.

A protocol declares its parameters: named axes to search, each of one of these quantities. Values are in SI units inside
the library and in the quantity's unit in files, tables and figures.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from mrfpipe.arrays import Bool

if TYPE_CHECKING:
    from torch import Tensor

Numbers = npt.NDArray[np.floating[Any]]


def in_unit(number: str, unit: str) -> str:
    """Write a number with its unit; without one, the unit is ``1`` and not written."""
    return number if unit == "1" else f"{number} {unit}"


def heading_of(name: str, unit: str) -> str:
    """Write the name of numbers with their unit, above columns and beside axes; the unit ``1`` is not written."""
    return name if unit == "1" else f"{name} ({unit})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bids:
    """How BIDS stores an image of a quantity (https://bids-specification.readthedocs.io, quantitative MRI)."""

    folder: Literal["anat", "fmap"]
    """Folder of a scan."""
    suffix: str
    """Suffix of the file's name."""
    unit: str
    """Unit that BIDS prescribes."""
    scale: float
    """Factor from SI to that unit."""
    description: str = ""
    """Description of the image, if it differs from the title of the quantity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """What a map is a map of."""

    name: str
    """Name in protocols."""
    title: str
    """Name for people."""
    unit: str
    """Unit in files, tables and figures."""
    scale: float = 1.0
    """Factor from SI to that unit."""
    least: float = -np.inf
    """Least possible value, in SI units."""
    most: float = np.inf
    """Largest possible value, in SI units."""
    colours: str = "magma"
    """Colour map of matplotlib: perceptually uniform, diverging for what has a sign, cyclic for angles."""
    largest_sd: float
    """Standard deviation above which a value does not count, in SI units or as a share of the value."""
    relative_sd: bool = False
    """Whether `largest_sd` is a share of the value."""
    window: Literal["values", "bounds", "symmetric"] = "values"
    """Window for display: the range of values without outliers, from `least` to `most`, or symmetric about zero."""
    bids: Bids | None = None
    """How BIDS stores it."""
    dicom: tuple[str, str] | None = None
    """Code of DICOM (CID 7180) and its meaning."""

    def certain(self, values: Numbers, sd: Numbers) -> Bool:
        """Return where values count by their standard deviations, both in SI units and of one shape."""
        found: Bool = sd <= (self.largest_sd * np.abs(values) if self.relative_sd else self.largest_sd)
        return found

    @property
    def certainty(self) -> str:
        """Say in words when a value counts by its standard deviation."""
        if self.relative_sd:
            return f"its standard deviation is at most {100 * self.largest_sd:g} %"
        return in_unit(f"its standard deviation is at most {self.largest_sd * self.scale:g}", self.unit)


T1 = Quantity(
    name="T1",
    title="T1",
    unit="ms",
    scale=1e3,
    least=1e-3,
    most=100.0,
    largest_sd=0.05,
    relative_sd=True,
    bids=Bids(folder="anat", suffix="T1map", unit="s", scale=1.0),
    dicom=("113063", "T1"),
)
T2 = Quantity(
    name="T2",
    title="T2",
    unit="ms",
    scale=1e3,
    least=1e-4,
    most=10.0,  # a T2 in ms, such as 40, is beyond it
    largest_sd=0.1,
    relative_sd=True,
    bids=Bids(folder="anat", suffix="T2map", unit="s", scale=1.0),
    dicom=("113065", "T2"),
)
FAT_FRACTION = Quantity(
    name="fat-fraction",
    title="fat fraction",
    unit="1",
    least=0.0,
    most=1.0,
    largest_sd=0.05,
    colours="viridis",
    window="bounds",
    dicom=("129100", "Fat fraction"),
)
OFF_RESONANCE = Quantity(
    name="off-resonance",
    title="off-resonance",
    unit="Hz",
    least=-1e4,
    most=1e4,
    largest_sd=5.0,
    colours="coolwarm",
    window="symmetric",
    # Off-resonance is positive in the direction in which fat is shifted: lower frequency. A field map of BIDS is the
    # offset of the Larmor frequency, which rises with the field. The sign is inverted here and nowhere else.
    bids=Bids(
        folder="fmap",
        suffix="fieldmap",
        unit="Hz",
        scale=-1.0,
        description="offset of the Larmor frequency, which is -df: fat, at lower frequency, has a positive df",
    ),
)
B1 = Quantity(
    name="B1",
    title="relative B1+",
    unit="1",
    least=0.01,
    most=10.0,
    largest_sd=0.05,
    colours="viridis",
    bids=Bids(folder="fmap", suffix="TB1map", unit="percent", scale=100.0),
)
QUANTITIES = {quantity.name: quantity for quantity in (T1, T2, FAT_FRACTION, OFF_RESONANCE, B1)}
"""Quantities that a parameter can have, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Condition on another parameter of a voxel, which ensures enough signal for a parameter to be compared.

    Section 2.6 of Balsiger et al., Med Image Anal 64:101741 (2020), has such a rule for T1 of water.
    """

    parameter: str
    """Name of the other parameter."""
    sense: Literal["<=", ">"]
    """Whether its value must be at most the limit, or above it."""
    limit: float
    """The limit, in SI units."""
    text: str
    """The condition as a protocol writes it, in the unit of files."""

    @classmethod
    def parse(cls, text: str, scales: dict[str, float]) -> "Condition":
        """Read a condition such as ``FF <= 0.7`` on one of the parameters whose scales are given.

        Raises
        ------
        ValueError
            If it is not a condition, or not on one of these parameters.
        """
        found = re.fullmatch(r"\s*(\S+)\s*(<=|>)\s*(-?[\d.]+(?:[eE][-+]?\d+)?)\s*", text)
        if found is None or found[1] not in scales:
            raise ValueError(f"{text!r} is not a condition such as 'NAME <= 0.7' or 'NAME > 0.3' on a parameter")
        sense: Literal["<=", ">"] = "<=" if found[2] == "<=" else ">"
        number = float(found[3])
        return cls(
            parameter=found[1], sense=sense, limit=number / scales[found[1]], text=f"{found[1]} {sense} {number:g}"
        )

    @overload
    def holds(self, values: Numbers) -> Bool: ...
    @overload
    def holds(self, values: "Tensor") -> "Tensor": ...
    def holds(self, values: "Numbers | Tensor") -> "Bool | Tensor":
        """Return where values of the other parameter, in SI units, meet the condition; for arrays and tensors."""
        return values <= self.limit if self.sense == "<=" else values > self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A named axis to search."""

    name: str
    """Name in protocols, files, tables and figures."""
    quantity: Quantity
    """The quantity that it is."""
    title: str
    """Name for people."""
    counts: Condition | None = None
    """Where it is compared with a reference, and where it counts if its standard deviation is unknown; None for
    everywhere."""
    weight: float = 1.0
    """Weight of its squared error, scaled to 0..1, in trainings that weight parameters."""
    searched: tuple[float, float] | None = field(default=None, compare=False)
    """Least and largest value of the protocol's grid, in SI units; None if it is not known."""

    @property
    def unit(self) -> str:
        """Unit in files, tables and figures."""
        return self.quantity.unit

    @property
    def scale(self) -> float:
        """Factor from SI to that unit."""
        return self.quantity.scale

    @property
    def heading(self) -> str:
        """Its name with its unit, above columns and beside axes."""
        return heading_of(self.name, self.unit)

    def counts_where(self, values: Mapping[str, Numbers]) -> Bool:
        """Return where it counts, given values of all parameters by name, in SI units. Shape as the values."""
        if self.counts is None:
            return np.ones(values[self.name].shape, np.bool_)
        return self.counts.holds(values[self.counts.parameter])


def counting_rule(parameters: Iterable[Parameter]) -> str:
    """Say in words where parameters are compared with a reference; empty if everywhere."""
    return ", ".join(f"{p.name} is scored where the reference has {p.counts.text}" for p in parameters if p.counts)


def parameters_as_text(parameters: tuple[Parameter, ...]) -> str:
    """Describe parameters in JSON, as it is stored in files of maps."""

    def described(p: Parameter) -> dict[str, str | list[float]]:
        values: dict[str, str | list[float]] = {"name": p.name, "quantity": p.quantity.name, "title": p.title}
        values |= {} if p.counts is None else {"counts_where": p.counts.text}
        return values if p.searched is None else values | {"searched": [end * p.scale for end in p.searched]}

    return json.dumps([described(p) for p in parameters])


def parameters_from_text(text: str) -> tuple[Parameter, ...]:
    """Read what `parameters_as_text` wrote.

    Raises
    ------
    ValueError
        If it is something else.
    """
    try:
        entries = json.loads(text)
        quantities = {str(entry["name"]): QUANTITIES[entry["quantity"]] for entry in entries}
        scales = {name: quantity.scale for name, quantity in quantities.items()}
        return tuple(
            Parameter(
                name=str(entry["name"]),
                quantity=quantities[entry["name"]],
                title=str(entry["title"]),
                counts=Condition.parse(entry["counts_where"], scales) if "counts_where" in entry else None,
                searched=_range(entry["searched"], scales[entry["name"]]) if "searched" in entry else None,
            )
            for entry in entries
        )
    except (KeyError, TypeError) as e:
        raise ValueError(f"it does not state the parameters of its maps ({e})") from e


def _range(ends: list[float], scale: float) -> tuple[float, float]:
    low, high = (float(end) / scale for end in ends)
    return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """A quality map, which indicates how reliable the parameters are."""

    field: str
    """Name in `mrfpipe.maps.ParameterMaps`."""
    name: str
    """Name in files and figures."""
    unit: str
    """Unit in files and figures."""
    title: str
    """Title for display."""
    colours: str = "magma"
    """Colour map of matplotlib."""
    bids: Bids | None = None
    """How BIDS stores it."""


M0 = Quality(
    field="m0",
    name="M0",
    unit="arbitrary",
    title="scale of the signal relative to the fingerprint: proton density times receive gain",
    bids=Bids(folder="anat", suffix="M0map", unit="arbitrary", scale=1.0),
)
PHASE = Quality(
    field="phase",
    name="M0phase",
    unit="rad",
    title="phase of the signal relative to the fingerprint, -pi to pi",
    colours="twilight",
)
MATCH = Quality(field="match", name="match", unit="1", title="normalised correlation of signal and fingerprint, 0 to 1")
EDGE = Quality(
    field="edge",
    name="edge",
    unit="1",
    title="parameters at their grid limit, as a sum of one number per parameter",
    colours="cividis",
)
GAP = Quality(
    field="gap",
    name="gap",
    unit="1",
    title="difference in match between the best and the second-best local optimum",
)
DEVIATION = "sd"
"""Field of the standard deviations."""


def deviation_of(parameter: Parameter) -> Quality:
    """Return the quality map that holds a parameter's standard deviation, in the parameter's unit."""
    title = f"predicted standard deviation of {parameter.name}"
    return Quality(field=DEVIATION, name=f"{parameter.name}_sd", unit=parameter.unit, title=title)


UCUM = {
    "1": ("1", "no units"),
    "ms": ("ms", "millisecond"),
    "Hz": ("Hz", "Hertz"),
    "rad": ("rad", "radian"),
    "arbitrary": ("[arb'U]", "arbitrary unit"),
}
"""UCUM code and its meaning, by the unit that maps have in files."""
