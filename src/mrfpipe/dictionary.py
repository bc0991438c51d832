"""Dictionary: all fingerprints of a grid, held as the water and fat signals they are made of, in an SVD basis.

An entry is ``(1 - FF) water(T1H2O, B1, df) + FF fat(T1fat, B1, df)``, so that a few ten thousand component signals
carry millions of entries. Entries are numbered over the axes FF, T1H2O, T1fat, df, B1, the last varying fastest; any
entry is made when asked for and none is stored.

The basis is the joint SVD of all entries, found without building them: their Gram matrix is a sum over components.
Signals are compressed as ``c = conj(basis).T s`` (McGivney et al., IEEE Trans Med Imaging 33:2311, 2014).

Components are in single precision. Where water and fat nearly cancel, an entry is the small difference of two large
signals: so entries are made in double precision, and a grid that has entries of which hardly anything is left is
refused.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch

from mrfpipe.arrays import Complex, Double, Int, ShortInt, check_dtype, check_shape, frozen
from mrfpipe.errors import InputError
from mrfpipe.maps import PARAMETERS
from mrfpipe.physics.simulate import SPOILED, ComponentSignals, SignalModel, component_signals
from mrfpipe.progress import Steps
from mrfpipe.protocol import AXES, Grid, Protocol

DEFAULT_ENERGY = 0.99999
"""Share of the entries' energy the basis keeps unless told otherwise; rank 12 for T1-FF."""
UNIT_TOLERANCE = 1e-3
"""By how much the norm of a group's representative may differ from 1; float32 rounds it by far less."""
LEAST_LEFT = 1e-4
"""What must be left of water and fat in an entry, ``|d| / ((1 - FF)|water| + FF |fat|)``. What is less is a thousandth
or more of rounding, as components are rounded by 1e-7, and would take an M0 10,000 times that of any other voxel."""
AT_ONCE = 4096
"""Signals whose outer products are summed at a time."""

Gram = npt.NDArray[np.complex128]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dictionary:
    """All entries of a protocol's grid in component form."""

    water: Complex
    """Compressed water signals. Shape `(t1w, b1, df, rank)`."""
    fat: Complex
    """Compressed fat signals. Shape `(t1f, b1, df, rank)`."""
    basis: Complex
    """Orthonormal temporal basis. Shape `(frames, rank)`."""
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
        }
        for name, (axes, dtype) in shapes.items():
            array = getattr(self, name)
            sizes = check_shape(name, array, axes, sizes)
            check_dtype(name, array, dtype)
            if not np.all(np.isfinite(array)):
                raise ValueError(f"{name} has values that are not finite.")
            object.__setattr__(self, name, frozen(array))
        if not (np.all(np.any(self.water != 0, axis=-1)) and np.all(np.any(self.fat != 0, axis=-1))):
            raise ValueError("A signal of the dictionary is zero; it could never be matched.")
        _refuse_cancelling(self)

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
        return replace(self, water=water, fat=fat, basis=np.ascontiguousarray(basis), energy=kept)

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
        share = self.protocol.grid.ff[ff][:, None]
        made = (1 - share) * self.water[t1w, b1, df] + share * self.fat[t1f, b1, df]
        return made.astype(np.complex64)

    def parameters(self, numbers: Int) -> dict[str, Double]:
        """Return the parameters of entries by number, in SI units, keyed as `AXES`. Shape `(entries)` each."""
        positions = np.unravel_index(numbers, self.protocol.grid.shape)
        return {name: getattr(self.protocol.grid, name)[i] for name, i in zip(AXES, positions, strict=True)}

    def products(self) -> "Products":
        """Multiply the components with themselves and each other."""
        water, fat = real_parts(self.water), real_parts(self.fat)
        return Products(
            water_energy=np.sum(water**2, axis=-1),
            fat_energy=np.sum(fat**2, axis=-1),
            cross=fat @ water.swapaxes(2, 3),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Products:
    """What the norms of entries are made of, in double precision, as `LEAST_LEFT` of an entry may be left."""

    water_energy: Double
    """Squared norms of the compressed water signals. Shape `(b1, df, t1w)`."""
    fat_energy: Double
    """Squared norms of the compressed fat signals. Shape `(b1, df, t1f)`."""
    cross: Double
    """Re <water, fat> of the compressed signals. Shape `(b1, df, t1f, t1w)`."""

    def cosines(self) -> Double:
        """Return Re <water, fat> / (|water| |fat|). Shape `(b1, df, t1f, t1w)`."""
        return self.cross / np.sqrt(self.fat_energy[..., None] * self.water_energy[..., None, :])


def real_parts(signals: Complex) -> Double:
    """Real and imaginary parts of signals `(t1, b1, df, rank)` in turns. Shape `(b1, df, t1, 2 rank)`."""
    return np.moveaxis(np.ascontiguousarray(signals).view(np.float32), 0, 2).astype(np.float64, order="C")


def _refuse_cancelling(dictionary: Dictionary) -> None:
    """Refuse a dictionary if less than `LEAST_LEFT` of an entry's water and fat is left.

    With u = (1 - FF)|water| and v = FF |fat|, ``|d|^2 = (u - v)^2 + 2 u v (1 + cosine)``: pairs of water and fat that
    are not opposed need no look at their entries.

    Raises
    ------
    InputError
        If there is such an entry; the error names it.
    """
    grid, products = dictionary.protocol.grid, dictionary.products()
    more_than_opposed = 1 + products.cosines()
    b1, df, t1f, t1w = np.nonzero(more_than_opposed < 2 * LEAST_LEFT**2)
    if b1.size == 0:
        return
    more_than_opposed = np.maximum(more_than_opposed[b1, df, t1f, t1w], 0)
    water, fat = np.sqrt(products.water_energy[b1, df, t1w]), np.sqrt(products.fat_energy[b1, df, t1f])
    for x in grid.ff:
        u, v = (1 - x) * water, x * fat
        left = np.sqrt((u - v) ** 2 + 2 * u * v * more_than_opposed) / (u + v)
        worst = int(np.argmin(left))
        if left[worst] < LEAST_LEFT:
            at = {"ff": x, "t1w": grid.t1w[t1w[worst]], "t1f": grid.t1f[t1f[worst]]}
            at |= {"df": grid.df[df[worst]], "b1": grid.b1[b1[worst]]}
            entry = ", ".join(f"{p.name} {at[p.field] * p.scale:.4g}{_unit(p.unit)}" for p in PARAMETERS)
            raise InputError(
                f"Protocol '{dictionary.protocol.name}': water and fat cancel in the fingerprint of {entry}, "
                f"{left[worst]:.1g} of them is left; leave this fat fraction out of grid.fat_fraction or change the "
                "echo times."
            )


def _unit(unit: str) -> str:
    return "" if unit == "1" else f" {unit}"


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
    progress: Steps | None = None,
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
    InputError
        If water and fat cancel in an entry.
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
    basis, kept = leading_basis(entry_gram(signals, protocol.grid), rank, energy)
    water, fat = signals.water @ basis.conj(), signals.fat @ basis.conj()
    return Dictionary(
        water=water,
        fat=fat,
        basis=basis,
        energy=kept,
        protocol=protocol,
        model=model,
    )


def entry_gram(signals: ComponentSignals, grid: Grid) -> Gram:
    """Sum of ``d conj(d)'`` over all entries d of a grid, without making them. Shape `(frames, frames)`.

    With u = 1 - FF and v = FF, one (B1, df) gives ``sum u^2 n_fat W W' + sum v^2 n_water F F' + sum u v (w f' + f w')``
    where the columns of W and F are the water and fat signals and w and f their sums.
    """
    u, v = 1 - grid.ff, grid.ff
    w, f = (
        component.sum(0, dtype=np.complex128).reshape(-1, component.shape[-1])
        for component in (signals.water, signals.fat)
    )
    mixed = w.T @ f.conj()
    gram: Gram = (
        (u @ u) * grid.t1f.size * outer_sum(signals.water)
        + (v @ v) * grid.t1w.size * outer_sum(signals.fat)
        + (u @ v) * (mixed + mixed.conj().T)
    )
    return gram


def outer_sum(signals: Complex) -> Gram:
    """Sum of ``s conj(s)'`` over signals s `(..., frames)`, in double precision. Shape `(frames, frames)`.

    In single precision the rounding of the largest directions, 1e-7 of the energy, would bury those beyond. Signals
    are widened a block at a time, and half the matrix is enough: double precision takes hardly more time or memory.
    """
    signals = signals.reshape(-1, signals.shape[-1])
    upper = np.zeros((signals.shape[1], signals.shape[1]), np.complex128, order="F")
    for start in range(0, len(signals), AT_ONCE):
        some = signals[start : start + AT_ONCE].astype(np.complex128)
        upper = scipy.linalg.blas.zherk(1.0, some.T, beta=1.0, c=upper, overwrite_c=True)
    total: Gram = upper + np.triu(upper, 1).conj().T
    return total


def leading_basis(gram: Gram, rank: int | None, energy: float) -> tuple[Complex, float]:
    """Leading eigenvectors of a Gram matrix `(frames, frames)`, and the share of energy they keep.

    Parameters
    ----------
    gram
        Sum of ``s conj(s)'`` over signals s.
    rank
        Number of vectors; if not given, the least, but two, that keep `energy`.
    energy
        Share of the signals' energy to keep, 0 to 1.
    """
    values, vectors = scipy.linalg.eigh(gram)
    kept = np.cumsum(np.maximum(values[::-1], 0))  # rounding makes those of no energy negative
    shares = kept / kept[-1]
    n = rank if rank is not None else max(2, int(np.searchsorted(shares, energy)) + 1)
    return np.ascontiguousarray(vectors[:, ::-1][:, :n].astype(np.complex64)), float(shares[n - 1])
