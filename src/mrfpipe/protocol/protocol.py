"""Protocol: a sequence, the components of the signal, and the parameters to estimate."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mrfpipe.arrays import Double, check_shape, frozen
from mrfpipe.protocol.sequence import Sequence, sha256_of
from mrfpipe.protocol.write import searched_tables, write_toml
from mrfpipe.quantities import B1, OFF_RESONANCE, Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the magnetisation has experienced before the sequence begins; all histories start in equilibrium."""

    kind: Literal["equilibrium", "repeated", "multislice"] = "repeated"
    """``equilibrium``: nothing. ``repeated``: the same sequence, continuously, for the time
    `mrfpipe.physics.events.STEADY_AFTER`. ``multislice``: the sequences of the slices measured before, one directly
    after the other; only their inversions and preparations, which are not slice-selective, reach this slice, and a
    train of excitations acts as a delay."""
    slices: int = 1
    """Number of slices of a ``multislice`` scan measured before. With many, the magnetisation is in the steady state
    of the preparations; one or two slices suffice if a sequence lasts a few T1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Component:
    """One pool of spins."""

    name: str
    """Short name."""
    t1: str | float
    """Name of the parameter that is its T1, or its T1 in s."""
    t2: str | float
    """Name of the parameter that is its T2, or its T2 in s."""
    amplitudes: Double
    """Share of each peak of its spectrum. Shape `(peaks)`."""
    shifts: Double
    """Shift of each peak in Hz, in the sign in which off-resonance adds to it. Shape `(peaks)`."""

    def __post_init__(self) -> None:
        sizes = check_shape("amplitudes", self.amplitudes, "peaks")
        check_shape("shifts", self.shifts, "peaks", sizes)
        for name in ("amplitudes", "shifts"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters that are its T1 or T2."""
        return tuple(name for name in (self.t1, self.t2) if isinstance(name, str))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid(Mapping[str, Double]):
    """Values of every parameter in SI units, by name, in increasing order.

    Entries are the combinations of all values, numbered with the last axis varying fastest.
    """

    axes: Mapping[str, Double]
    """Values by the name of the parameter. Shape `(values)` each."""

    def __post_init__(self) -> None:
        for name, axis in self.axes.items():
            check_shape(name, axis, name)
            if axis.size == 0 or np.any(np.diff(axis) <= 0):
                raise ValueError(f"Grid axis {name} must have values that rise.")
        object.__setattr__(self, "axes", {name: frozen(axis) for name, axis in self.axes.items()})

    def __getitem__(self, name: str) -> Double:
        return self.axes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.axes)

    def __len__(self) -> int:
        return len(self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of the axes."""
        return tuple(axis.size for axis in self.axes.values())

    @property
    def n_entries(self) -> int:
        """Number of combinations."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Protocol:
    """Sequence, components of the signal and parameters to estimate."""

    name: str
    """Short name."""
    sequence: Sequence
    """The sequence."""
    history: History
    """What the magnetisation has experienced before."""
    field: float
    """Static field in T."""
    parameters: tuple[Parameter, ...]
    """The parameters to estimate."""
    grid: Grid
    """Grid values of each parameter."""
    components: tuple[Component, ...]
    """The one or two components whose signals add up to that of a voxel."""
    share: str | None
    """Name of the parameter that is the share of the second component; None if there is one component."""
    subspace_rank: int | None = None
    """Number of leading basis vectors for subspace reconstruction; None to choose it by energy, see
    `mrfpipe.dictionary.Dictionary.subspace`."""
    description: str = ""
    """Description in one sentence."""

    def __post_init__(self) -> None:
        if tuple(self.grid) != tuple(p.name for p in self.parameters):
            raise ValueError("The grid must have an axis for every parameter, in the same order.")
        if len(self.components) not in (1, 2) or (self.share is None) != (len(self.components) == 1):
            raise ValueError("A protocol has one component, or two and the parameter that is the share of the second.")
        self._check_use()
        for p in self.parameters:
            axis, quantity = self.grid[p.name], p.quantity
            if axis[0] < quantity.least or axis[-1] > quantity.most:
                low, high = quantity.least * p.scale, quantity.most * p.scale
                raise ValueError(f"Grid axis {p.name} must lie from {low:g} to {high:g} {p.unit}.")

    def _check_use(self) -> None:
        """Refuse parameters that no signal depends on, parameters that do not exist, and two of one kind."""
        of_components = [name for component in self.components for name in component.parameters]
        used = {*of_components, self.share, self.off_resonance, self.b1}
        for p in self.parameters:
            if p.name not in used:
                raise ValueError(f"Parameter {p.name} is no component's T1 or T2, nor their share.")
        for name in (*of_components, *([self.share] if self.share else [])):
            if name not in self.grid:
                raise ValueError(f"There is no parameter {name}.")

    def __repr__(self) -> str:
        train = f"{self.sequence.n_readouts} readouts in {self.sequence.n_frames} frames, matrix {self.sequence.matrix}"
        return f"<Protocol {self.name}: {train}, {self.grid.n_entries:,} entries>"

    def _of(self, quantity: str) -> str | None:
        names = [p.name for p in self.parameters if p.quantity.name == quantity]
        if len(names) > 1:
            raise ValueError(f"Parameters {names[0]} and {names[1]} are both {quantity}; a voxel has one.")
        return names[0] if names else None

    @property
    def off_resonance(self) -> str | None:
        """Name of the off-resonance parameter; None if off-resonance is assumed to be 0."""
        return self._of(OFF_RESONANCE.name)

    @property
    def b1(self) -> str | None:
        """Name of the relative B1+ parameter; None if it is assumed to be 1."""
        return self._of(B1.name)

    def own_axes(self, component: Component) -> tuple[str, ...]:
        """Return the parameters on which only the signal of this component depends, in order."""
        others = {name for other in self.components if other is not component for name in other.parameters}
        return tuple(name for name in self.grid if name in component.parameters and name not in others)

    @property
    def shared_axes(self) -> tuple[str, ...]:
        """The parameters on which the signals of all components depend, in order."""
        own = {name for component in self.components for name in self.own_axes(component)}
        return tuple(name for name in self.grid if name not in own and name != self.share)

    def axes_of(self, component: Component) -> tuple[str, ...]:
        """Return the parameters on which the signal of a component depends: first its own, then the shared ones."""
        return *self.own_axes(component), *self.shared_axes

    @property
    def toml(self) -> str:
        """The protocol as TOML text."""
        return write_toml(self)

    @property
    def hash(self) -> str:
        """sha256 of all values that determine the fingerprints, and the names of parameters and components."""
        return sha256_of(*self.sequence.tables, *searched_tables(self))
