"""Dictionary: all fingerprints of a grid, stored as the signals of their components, in an SVD basis.

With one component, an entry is the signal of that component. With two, a and b, it is ``(1 - share) a + share b``. Each
component depends on axes of its own and on axes that both share, so that a few ten thousand component signals represent
millions of entries. Entries are numbered over the axes of the grid, the last varying fastest. They are computed on
demand; none is stored.

The basis is the joint SVD of all entries (`mrfpipe.basis`). Signals are compressed as ``c = conj(basis).T s`` (McGivney
et al., IEEE Trans Med Imaging 33:2311, 2014).

Components are in single precision. Where two nearly cancel, an entry is the small difference of two large signals.
Therefore entries are computed in double precision, and a grid is refused if the components of an entry cancel almost
completely.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from mrfpipe.arrays import Complex, Double, Int, ShortInt, check_dtype, check_shape, frozen
from mrfpipe.basis import DEFAULT_ENERGY, entry_gram, leading_basis
from mrfpipe.errors import InputError
from mrfpipe.physics.simulate import SignalModel, component_signals, signal_model
from mrfpipe.progress import UNTOLD, Steps
from mrfpipe.protocol import Component, Protocol
from mrfpipe.quantities import in_unit

UNIT_TOLERANCE = 1e-3
"""Largest deviation of the norm of a group's representative from 1; rounding to float32 is far smaller."""
LEAST_LEFT = 1e-4
"""Least norm of an entry relative to its components a and b, ``|d| / ((1 - share)|a| + share |b|)``. Below it, rounding
is a thousandth of the entry or more, because components are rounded by 1e-7, and a voxel would need an M0 10,000 times
that of any other."""
SUBSPACE_LEFT = 2.5e-4
"""Share of the entries' energy that the subspace of a reconstruction leaves out, unless the protocol sets its rank."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dictionary:
    """All entries of a protocol's grid in component form."""

    components: tuple[Complex, ...]
    """Compressed signals of each component. Shape `(*axes, rank)`, the axes as `Protocol.axes_of` gives
    them."""
    basis: Complex
    """Orthonormal temporal basis. Shape `(frames, rank)`."""
    energy: float
    """Share of the entries' energy inside the basis, 0 to 1."""
    protocol: Protocol
    """The protocol that was simulated."""
    model: SignalModel
    """The signal model."""

    def __post_init__(self) -> None:
        protocol = self.protocol
        sizes = dict(zip(protocol.grid, protocol.grid.shape, strict=True)) | {"frames": protocol.sequence.n_frames}
        sizes = check_shape("basis", self.basis, "frames rank", sizes)
        arrays = {"basis": self.basis}
        if len(self.components) != len(protocol.components):
            raise ValueError(f"{len(protocol.components)} components have {len(self.components)} arrays of signals.")
        for component, signals in zip(protocol.components, self.components, strict=True):
            check_shape(component.name, signals, component_axes(protocol, component), sizes)
            arrays[component.name] = signals
        for name, array in arrays.items():
            check_dtype(name, array, np.complex64)
            if not np.all(np.isfinite(array)):
                raise ValueError(f"{name} has values that are not finite.")
        object.__setattr__(self, "basis", frozen(self.basis))
        object.__setattr__(self, "components", tuple(map(frozen, self.components)))
        if not all(np.all(np.any(signals != 0, axis=-1)) for signals in self.components):
            raise ValueError("A signal of the dictionary is zero; it could never be matched.")
        if len(self.components) == 2:
            _refuse_cancelling(self)

    def __repr__(self) -> str:
        kept = f"rank {self.rank} with {self.energy:.6%} of their energy"
        return f"<Dictionary of {self.protocol.name}, {self.model}: {self.n_entries:,} entries, {kept}>"

    @property
    def rank(self) -> int:
        """Number of basis vectors."""
        return int(self.basis.shape[1])

    @property
    def n_entries(self) -> int:
        """Number of entries, none of which is stored."""
        return self.protocol.grid.n_entries

    @property
    def ends(self) -> tuple[Double, Double]:
        """Least and largest value of every axis of the grid, in its order, in SI units. Shape `(parameters)` each."""
        axes = list(self.protocol.grid.values())
        return np.array([axis[0] for axis in axes]), np.array([axis[-1] for axis in axes])

    @property
    def shares(self) -> Double:
        """Shares of the second component on the grid; none if there is one component. Shape `(shares)`."""
        return np.zeros(0) if self.protocol.share is None else self.protocol.grid[self.protocol.share]

    @property
    def subspace(self) -> Complex:
        """The leading basis vectors that a subspace reconstruction uses. Shape `(frames, rank)`.

        Their number is set by the protocol, or is the least that leaves out no more energy than `SUBSPACE_LEFT`: fewer
        vectors miss part of the signal, more vectors add noise.
        """
        rank = self.protocol.subspace_rank
        return self.basis[:, : self.rank_leaving(SUBSPACE_LEFT) if rank is None else rank]

    def rank_leaving(self, most: float) -> int:
        """Return the number of leading basis vectors that leave out at most this share of the energy, or all."""
        energies = np.diagonal(entry_gram(self.components, self.protocol)).real
        left = 1 - self.energy * np.cumsum(energies) / energies.sum()
        return int(np.argmax(left <= most)) + 1 if left[-1] <= most else self.rank

    def compress(self, signals: Complex) -> Complex:
        """Express signals in the basis. Shape `(..., frames)` to `(..., rank)`."""
        compressed: Complex = signals @ self.basis.conj()
        return compressed

    def in_basis(self, basis: Complex) -> "Dictionary":
        """Express the entries in another orthonormal basis, for signals that are known only in that basis.

        Parameters
        ----------
        basis
            Shape `(frames, rank)`; for example the leading vectors of this dictionary's basis.

        Returns
        -------
            The same entries, without their part outside the basis.
        """
        turn = self.basis.T @ basis.conj()
        turned = tuple(signals @ turn for signals in self.components)
        before, after = (
            np.trace(entry_gram(components, self.protocol)).real for components in (self.components, turned)
        )
        kept = self.energy * float(after / before)
        return replace(self, components=turned, basis=np.ascontiguousarray(basis), energy=kept)

    def positions(self, numbers: Int) -> dict[str, Int]:
        """Return the positions of entries on every axis of the grid, by its name. Shape `(entries)` each.

        Raises
        ------
        IndexError
            If a number is outside the grid.
        """
        if numbers.size and (numbers.min() < 0 or numbers.max() >= self.n_entries):
            raise IndexError(f"Entry numbers run from 0 to {self.n_entries - 1}.")
        grid = self.protocol.grid
        return dict(zip(grid, np.unravel_index(numbers, grid.shape), strict=True))

    def entries(self, numbers: Int) -> Complex:
        """Make entries by number.

        Parameters
        ----------
        numbers
            Entry numbers, 0 to `n_entries` - 1. Shape `(entries)`.

        Returns
        -------
            Compressed fingerprints. Shape `(entries, rank)`.

        Raises
        ------
        IndexError
            If a number is outside the grid.
        """
        at, protocol = self.positions(numbers), self.protocol
        made = [
            signals[tuple(at[name] for name in protocol.axes_of(component))]
            for component, signals in zip(protocol.components, self.components, strict=True)
        ]
        if protocol.share is None:
            return made[0]
        share = self.shares[at[protocol.share]][:, None]
        mixed: Complex = ((1 - share) * made[0] + share * made[1]).astype(np.complex64)
        return mixed

    def parameters(self, numbers: Int) -> dict[str, Double]:
        """Return the parameters of entries by number, in SI units, by name. Shape `(entries)` each."""
        return {name: self.protocol.grid[name][at] for name, at in self.positions(numbers).items()}

    def nearest(self, parameters: Mapping[str, Double]) -> Int:
        """Return the numbers of the entries nearest to parameters in SI units, by name. Shape `(entries)` each."""
        at = []
        for name, axis in self.protocol.grid.items():
            above = np.clip(np.searchsorted(axis, parameters[name]), 1, max(axis.size - 1, 1))
            between = (axis[above - 1] + axis[np.minimum(above, axis.size - 1)]) / 2
            at.append(np.where(parameters[name] > between, np.minimum(above, axis.size - 1), above - 1))
        numbers: Int = np.ravel_multi_index(at, self.protocol.grid.shape)
        return numbers

    def by_group(self) -> tuple[Complex, ...]:
        """Return the signals of each component by group: one group for every point on the shared axes.

        Shape `(groups, signals, rank)`, the signals numbered over the component's own axes.
        """
        n_groups = self.n_groups
        return tuple(
            np.ascontiguousarray(signals.reshape(-1, n_groups, self.rank).swapaxes(0, 1)) for signals in self.components
        )

    @property
    def n_groups(self) -> int:
        """Points on the shared axes."""
        return int(np.prod([self.protocol.grid[name].size for name in self.protocol.shared_axes], dtype=int))

    def numbers(self, group: Int, share: Int, *signals: Int) -> Int:
        """Return the numbers of entries that are given by group, as in `by_group`.

        Parameters
        ----------
        group
            Group. Shape `(entries)`.
        share
            Position of the share; not looked at if there is one component. Shape `(entries)`.
        signals
            Number of each component's signal in the group. Shape `(entries)` each.
        """
        protocol, grid = self.protocol, self.protocol.grid
        at: dict[str, Int] = {} if protocol.share is None else {protocol.share: share}
        own = [protocol.own_axes(component) for component in protocol.components]
        for names, index in ((protocol.shared_axes, group), *zip(own, signals, strict=True)):
            if names:
                at |= zip(names, np.unravel_index(index, tuple(grid[name].size for name in names)), strict=True)
        numbers: Int = np.ravel_multi_index([at[name] for name in grid], grid.shape)
        return numbers

    def products(self) -> "Products":
        """Multiply the components with themselves and each other."""
        first, *others = (real_parts(signals) for signals in self.by_group())
        second = others[0] if others else first[:, :0]
        return Products(
            energies=(np.sum(first**2, axis=-1), np.sum(second**2, axis=-1)), cross=second @ first.swapaxes(1, 2)
        )


def component_axes(protocol: Protocol, component: Component) -> str:
    """Return the axes of a component's compressed signals, as `check_shape` takes them."""
    return " ".join([*protocol.axes_of(component), "rank"])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Products:
    """Inner products from which the norms of entries are computed; in double precision, as components may cancel."""

    energies: tuple[Double, Double]
    """Squared norms of the compressed signals of the first and the second component. Shape `(groups, signals)`."""
    cross: Double
    """Re <first, second> of the compressed signals of two components; empty for one. Shape
    `(groups, seconds, firsts)`."""

    def cosines(self) -> Double:
        """Return Re <first, second> / (|first| |second|). Shape `(groups, seconds, firsts)`."""
        first, second = self.energies
        cosines: Double = self.cross / np.sqrt(second[..., None] * first[..., None, :])
        return cosines


def real_parts(signals: Complex) -> Double:
    """Interleaved real and imaginary parts of signals `(..., rank)`. Shape `(..., 2 rank)`."""
    parts: Double = np.ascontiguousarray(signals).view(np.float32).astype(np.float64)
    return parts


def _refuse_cancelling(dictionary: Dictionary) -> None:
    """Raise InputError, naming the entry, if the components of an entry cancel to less than `LEAST_LEFT`.

    With u = (1 - share)|a| and v = share |b|, ``|d|^2 = (u - v)^2 + 2 u v (1 + cosine)``. Entries are computed only for
    pairs of signals that are nearly opposed.
    """
    protocol, products = dictionary.protocol, dictionary.products()
    more_than_opposed = 1 + products.cosines()
    group, second, first = np.nonzero(more_than_opposed < 2 * LEAST_LEFT**2)
    if group.size == 0:
        return
    more_than_opposed = np.maximum(more_than_opposed[group, second, first], 0)
    a, b = np.sqrt(products.energies[0][group, first]), np.sqrt(products.energies[1][group, second])
    for position, share in enumerate(dictionary.shares):
        u, v = (1 - share) * a, share * b
        left = np.sqrt((u - v) ** 2 + 2 * u * v * more_than_opposed) / (u + v)
        worst = int(np.argmin(left))
        if left[worst] < LEAST_LEFT:
            number = dictionary.numbers(group[[worst]], np.array([position]), first[[worst]], second[[worst]])
            at = dictionary.parameters(number)
            entry = ", ".join(in_unit(f"{p.name} {at[p.name][0] * p.scale:.4g}", p.unit) for p in protocol.parameters)
            names = " and ".join(component.name for component in protocol.components)
            raise InputError(
                f"Protocol '{protocol.name}': {names} cancel to {left[worst]:.1g} of their size in the fingerprint of "
                f"{entry}; leave this value out of parameters.{protocol.share} or change echo times."
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EntryGroups:
    """A dictionary's entries divided into groups of similar entries, each with a representative signal.

    Made by `mrfpipe.matching.grouping.build_groups`.
    """

    entries: ShortInt
    """Numbers of all entries, one group after the other, rising within a group. Shape `(entries)`."""
    offsets: Int
    """Position in `entries` where each group starts, and the end of the last group. Shape `(groups + 1)`."""
    representatives: Complex
    """Representative signals of the groups, of unit norm. Shape `(groups, rank)`."""

    def __post_init__(self) -> None:
        sizes = check_shape("representatives", self.representatives, "groups rank")
        check_shape("offsets", self.offsets, "edges", {"edges": sizes["groups"] + 1})
        check_shape("entries", self.entries, "entries")
        for name, dtype in (("entries", np.int32), ("offsets", np.int64), ("representatives", np.complex64)):
            check_dtype(name, getattr(self, name), dtype)
            object.__setattr__(self, name, frozen(getattr(self, name)))
        n_entries = self.entries.size
        if self.offsets[0] != 0 or self.offsets[-1] != n_entries or np.any(np.diff(self.offsets) <= 0):
            raise ValueError(f"The offsets of the groups do not rise from 0 to the number of entries, {n_entries}.")
        if self.entries.min() < 0 or self.entries.max() >= n_entries or not np.all(np.bincount(self.entries) == 1):
            raise ValueError(f"The groups do not hold every entry from 0 to {n_entries - 1} once.")
        # Written so that NaN is refused, too.
        if not np.all(np.abs(np.linalg.norm(self.representatives, axis=1) - 1) < UNIT_TOLERANCE):
            raise ValueError("The signals that stand for the groups are not all of unit norm.")

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.representatives.shape[0])

    def in_basis(self, basis: Complex, before: Complex) -> "EntryGroups":
        """Express the representatives in another basis than `before`. Shapes `(frames, rank)`."""
        turned = self.representatives @ (before.T @ basis.conj())
        return replace(self, representatives=turned / np.linalg.norm(turned, axis=1, keepdims=True))


def build_dictionary(
    protocol: Protocol,
    *,
    model: SignalModel | None = None,
    rank: int | None = None,
    energy: float = DEFAULT_ENERGY,
    device: torch.device | None = None,
    progress: Steps = UNTOLD,
) -> Dictionary:
    """Simulate a protocol's components and compress them.

    Parameters
    ----------
    protocol
        Sequence, components and grid.
    model
        How signals are simulated; by default as `mrfpipe.physics.simulate.signal_model` chooses.
    rank
        Number of basis vectors; if not given, as few as keep `energy`.
    energy
        Share of the entries' energy to keep, above 0 and below 1.
    device
        Where to simulate; the CPU if not given.
    progress
        Called with the number of signals simulated and the number of all signals.

    Raises
    ------
    InputError
        If two components cancel in an entry.
    ResourceError
        If the device is a GPU that Numba cannot use.
    ValueError
        If the rank is not from 2 to the number of frames, or the energy not between 0 and 1.
    """
    n_frames = protocol.sequence.n_frames
    if rank is not None and not 2 <= rank <= n_frames:
        raise ValueError(f"Rank must be from 2 to the number of frames, {n_frames}, not {rank}.")
    if not 0 < energy < 1:
        raise ValueError(f"Energy to keep must lie between 0 and 1, not {energy}.")
    model = signal_model(protocol) if model is None else model
    signals = component_signals(protocol, model, device, progress)
    basis, kept = leading_basis(entry_gram(signals, protocol), rank, energy)
    compressed = tuple(component @ basis.conj() for component in signals)
    return Dictionary(components=compressed, basis=basis, energy=kept, protocol=protocol, model=model)
