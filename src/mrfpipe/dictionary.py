"""Dictionary: all fingerprints of a grid, held as the water and fat signals they are made of, in an SVD basis.

An entry is ``(1 - FF) water(T1H2O, B1, df) + FF fat(T1fat, B1, df)``, so that a few ten thousand component signals
carry millions of entries. Entries are numbered over the axes FF, T1H2O, T1fat, df, B1, the last varying fastest; any
entry is made when asked for and none is stored.

The basis is the joint SVD of all entries, found without building them: their Gram matrix is a sum over components.
Signals are compressed as ``c = conj(basis).T s`` (McGivney et al., IEEE Trans Med Imaging 33:2311, 2014).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg
import torch

from mrfpipe.arrays import Complex, Double, Float, Int, ShortInt, check_dtype, check_shape, frozen
from mrfpipe.physics.simulate import SPOILED, ComponentSignals, SignalModel, component_signals
from mrfpipe.protocol import AXES, Grid, Protocol

DEFAULT_ENERGY = 0.99999
"""Share of the entries' energy the basis keeps unless told otherwise; rank 12 for T1-FF."""
UNIT_TOLERANCE = 1e-3
"""By how much the norm of a group's representative may differ from 1; float32 rounds it by far less."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dictionary:
    """All entries of a protocol's grid in component form."""

    water: Complex
    """Compressed water signals. Shape `(t1w, b1, df, rank)`."""
    fat: Complex
    """Compressed fat signals. Shape `(t1f, b1, df, rank)`."""
    basis: Complex
    """Orthonormal temporal basis. Shape `(frames, rank)`."""
    water_energy: Float
    """Squared norms of the compressed water signals. Shape `(t1w, b1, df)`."""
    fat_energy: Float
    """Squared norms of the compressed fat signals. Shape `(t1f, b1, df)`."""
    cross: Float
    """Re <water, fat> of the compressed signals. Shape `(t1w, t1f, b1, df)`."""
    energy: float
    """Share of the entries' energy inside the basis, 0 to 1."""
    protocol: Protocol
    """What was simulated."""
    model: SignalModel = SPOILED
    """How."""

    def __post_init__(self) -> None:
        grid = self.protocol.grid
        sizes = {name: getattr(grid, name).size for name in AXES} | {"frames": self.protocol.sequence.n_frames}
        shapes = {
            "basis": ("frames rank", np.complex64),
            "water": ("t1w b1 df rank", np.complex64),
            "fat": ("t1f b1 df rank", np.complex64),
            "water_energy": ("t1w b1 df", np.float32),
            "fat_energy": ("t1f b1 df", np.float32),
            "cross": ("t1w t1f b1 df", np.float32),
        }
        for name, (axes, dtype) in shapes.items():
            array = getattr(self, name)
            sizes = check_shape(name, array, axes, sizes)
            check_dtype(name, array, dtype)
            if not np.all(np.isfinite(array)):
                raise ValueError(f"{name} has values that are not finite.")
            object.__setattr__(self, name, frozen(array))
        if np.any(self.water_energy <= 0) or np.any(self.fat_energy <= 0):
            raise ValueError("A signal of the dictionary is zero; it could never be matched.")

    @property
    def rank(self) -> int:
        """Number of basis vectors."""
        return int(self.basis.shape[1])

    @property
    def n_entries(self) -> int:
        """Number of entries, none of which is stored."""
        return self.protocol.grid.n_entries

    def compress(self, signals: Complex) -> Complex:
        """Express signals in the basis. Shape `(..., frames)` to `(..., rank)`."""
        compressed: Complex = signals @ self.basis.conj()
        return compressed

    def in_basis(self, basis: Complex) -> "Dictionary":
        """Express the entries in another orthonormal basis, for signals that are known in that alone.

        Parameters
        ----------
        basis
            Shape `(frames, rank)`; as the leading vectors of this dictionary's.

        Returns
        -------
            The same entries, less what lies outside the basis.
        """
        turn = self.basis.T @ basis.conj()
        water, fat = self.water @ turn, self.fat @ turn
        before, after = (
            np.trace(entry_gram(ComponentSignals(water=w, fat=f), self.protocol.grid)).real
            for w, f in ((self.water, self.fat), (water, fat))
        )
        kept = self.energy * float(after / before)
        return replace(self, **_compressed(water, fat), basis=np.ascontiguousarray(basis), energy=kept)

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
        if numbers.size and (numbers.min() < 0 or numbers.max() >= self.n_entries):
            raise IndexError(f"Entry numbers run from 0 to {self.n_entries - 1}.")
        ff, t1w, t1f, df, b1 = np.unravel_index(numbers, self.protocol.grid.shape)
        share = self.protocol.grid.ff[ff].astype(np.float32)[:, None]
        made: Complex = (1 - share) * self.water[t1w, b1, df] + share * self.fat[t1f, b1, df]
        return made

    def parameters(self, numbers: Int) -> dict[str, Double]:
        """Return the parameters of entries by number, in SI units, keyed as `AXES`. Shape `(entries)` each."""
        positions = np.unravel_index(numbers, self.protocol.grid.shape)
        return {name: getattr(self.protocol.grid, name)[i] for name, i in zip(AXES, positions, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EntryGroups:
    """A dictionary's entries divided into groups of entries that are alike, each with one that stands for all.

    Made by `mrfpipe.matching.group.build_groups`.
    """

    entries: ShortInt
    """Numbers of all entries, one group after the other, rising within a group. Shape `(entries)`."""
    offsets: Int
    """Where in `entries` each group starts, and the end of the last. Shape `(groups + 1)`."""
    representatives: Complex
    """Unit signals that stand for the groups. Shape `(groups, rank)`."""

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
        """Express the signals that stand for groups in another basis than before. Shapes `(frames, rank)`."""
        turned = self.representatives @ (before.T @ basis.conj())
        return replace(self, representatives=turned / np.linalg.norm(turned, axis=1, keepdims=True))


def build_dictionary(
    protocol: Protocol,
    *,
    model: SignalModel = SPOILED,
    rank: int | None = None,
    energy: float = DEFAULT_ENERGY,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dictionary:
    """Simulate a protocol's components and compress them.

    Parameters
    ----------
    protocol
        Sequence, tissue and grid.
    model
        How signals are simulated; see `mrfpipe.physics.simulate`.
    rank
        Number of basis vectors; if not given, the least that keeps `energy`.
    energy
        Share of the entries' energy to keep, above 0 and below 1.
    device
        Where to simulate; the CPU if not given.
    progress
        Called with the number of signals simulated and of all.

    Raises
    ------
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
    signals = component_signals(protocol, model, device, progress)
    basis, kept = _joint_basis(signals, protocol.grid, rank, energy)
    water, fat = signals.water @ basis.conj(), signals.fat @ basis.conj()
    return Dictionary(**_compressed(water, fat), basis=basis, energy=kept, protocol=protocol, model=model)


def _compressed(water: Complex, fat: Complex) -> dict[str, Any]:
    """Return compressed signals with their energies and inner products, by the names of `Dictionary`."""
    return {
        "water": water,
        "fat": fat,
        "water_energy": _energy(water),
        "fat_energy": _energy(fat),
        "cross": np.einsum("iefr,jefr->ijef", water.conj(), fat, optimize=True).real.copy(),
    }


def _energy(signals: Complex) -> Float:
    energy: Float = np.sum(signals.real**2 + signals.imag**2, axis=-1)
    return energy


def entry_gram(signals: ComponentSignals, grid: Grid) -> np.ndarray[tuple[int, int], np.dtype[np.complex128]]:
    """Sum of ``d conj(d)'`` over all entries d of a grid, without making them. Shape `(frames, frames)`.

    With u = 1 - FF and v = FF, one (B1, df) gives ``sum u^2 n_fat W W' + sum v^2 n_water F F' + sum u v (w f' + f w')``
    where the columns of W and F are the water and fat signals and w and f their sums.
    """
    u, v = 1 - grid.ff, grid.ff
    n_frames = signals.water.shape[-1]
    water = signals.water.reshape(-1, n_frames)
    fat = signals.fat.reshape(-1, n_frames)
    w = signals.water.sum(0, dtype=np.complex128).reshape(-1, n_frames)
    f = signals.fat.sum(0, dtype=np.complex128).reshape(-1, n_frames)
    mixed = w.T @ f.conj()
    gram: np.ndarray[tuple[int, int], np.dtype[np.complex128]] = (
        (u @ u) * grid.t1f.size * (water.T @ water.conj())
        + (v @ v) * grid.t1w.size * (fat.T @ fat.conj())
        + (u @ v) * (mixed + mixed.conj().T)
    )
    return gram


def _joint_basis(signals: ComponentSignals, grid: Grid, rank: int | None, energy: float) -> tuple[Complex, float]:
    """Leading left singular vectors of all entries, and the share of energy they keep."""
    values, vectors = scipy.linalg.eigh(entry_gram(signals, grid))
    shares = np.cumsum(values[::-1]) / values.sum()
    n = rank if rank is not None else max(2, int(np.searchsorted(shares, energy)) + 1)
    return np.ascontiguousarray(vectors[:, ::-1][:, :n].astype(np.complex64)), float(shares[n - 1])
