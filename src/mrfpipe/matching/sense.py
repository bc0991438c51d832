"""Sense: whether the phase of a scan's signals turns as the protocol's does, or the other way.

A receiver, or a program on the way, may store the complex conjugate of what the conventions here call the signal. Of
two components one then seems to be shifted to the other side of the other. The images are as good as ever, and matched
maps look plausible while a share is wrong by a quarter. (The centre of k-space alone does not tell: fingerprints turned
around lie in the span of the others, to a millionth of their energy.) What tells is how well entries explain single
voxels: both components of a voxel have one phase, and shares that are not negative. So some voxels are matched as they
are and conjugated, with a dictionary of few entries. Signals of a single component look the same either way, and pass.

Measured as energy that the best entries leave unexplained, as the signals are and conjugated: real thighs, 0.5 % and
6.6 % in undersampled frames, 0.04 % and 6 % in a subspace; turned around, the same figures the other way around. In
undersampled frames a scan with a few per cent of the second component passes as well.
"""

from dataclasses import dataclass, replace

import numpy as np

from mrfpipe.arrays import Complex, Double
from mrfpipe.dictionary import Dictionary, build_dictionary
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.matching.exact import match_exact
from mrfpipe.protocol import Grid, Protocol

CLEARLY = 2.0
"""How many times more must be left as the signals are than conjugated. Of conjugated phantoms of five regions 4.4 to 20
times in frames, with one coil or delays left uncorrected, and 2.0 to 2.6 with a tenth of their second component; of
right scans 1.0, and 1.2 of the first alone where its field lies 150 Hz off. Only of the second alone, 150 to 200 Hz
above where the protocol has it, is it 10."""
EXPLAINED = 0.03
"""Most that may be left of the energy of conjugated signals for them to count as explained; of those phantoms it was
0.017 at most. So a scan that fits neither way, of another sequence or a field far off, is not taken for conjugated."""
N_VOXELS = 1000
"""Voxels of a slice that are looked at."""
FEW = {"T1": 16, "T2": 16, "B1": 8}
"""Most values of a parameter in the dictionary of few entries, by its quantity; all of others."""
FEW_OF_SECOND = 4
"""Most values of a parameter that belongs to the second of two components alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unexplained:
    """Share of the energy of some signals that no entry explains."""

    as_they_are: float
    """Of the signals."""
    conjugated: float
    """Of their complex conjugates."""

    @property
    def is_conjugated(self) -> bool:
        """Whether only the conjugates are signals of the protocol."""
        return self.conjugated < EXPLAINED and self.as_they_are > CLEARLY * self.conjugated


def few_entries(protocol: Protocol) -> Dictionary:
    """Simulate a dictionary that tells the sense, in a tenth of the time that the whole one takes."""
    few = {p.name: FEW.get(p.quantity.name, protocol.grid[p.name].size) for p in protocol.parameters}
    few |= dict.fromkeys([n for c in protocol.components[1:] for n in protocol.own_axes(c)], FEW_OF_SECOND)
    thinned = Grid(axes={name: _some(axis, few[name]) for name, axis in protocol.grid.items()})
    return build_dictionary(replace(protocol, grid=thinned))


def _some(axis: Double, n: int) -> Double:
    """Take so many values of an axis if it has more, its ends among them."""
    some: Double = axis[np.unique(np.linspace(0, axis.size - 1, n).round().astype(int))]
    return some


def unexplained(series: FrameSeries, dictionary: Dictionary) -> Unexplained:
    """Match some voxels of a series as they are and conjugated.

    What neither has inside the dictionary's basis, aliasing and noise, does not count.
    """
    places = np.argwhere(series.mask)
    s, y, x = places[:: max(1, len(places) // N_VOXELS)].T
    signals = series.images[s, :, y, x]
    if series.basis is not None:
        signals = signals @ series.basis.T
    inside, explained = zip(*(_energies(some, dictionary) for some in (signals, signals.conj())), strict=True)
    most = max(inside)
    if most == 0:
        return Unexplained(as_they_are=0.0, conjugated=0.0)
    as_they_are, conjugated = (max(0.0, 1 - part / most) for part in explained)
    return Unexplained(as_they_are=as_they_are, conjugated=conjugated)


def _energies(signals: Complex, dictionary: Dictionary) -> tuple[float, float]:
    """Return the energy of signals inside the dictionary's basis, and what their best entries explain of it."""
    coefficients = dictionary.compress(signals)
    energy: Double = np.linalg.norm(coefficients, axis=1).astype(np.float64) ** 2
    there = energy > 0
    score = match_exact(coefficients[there], dictionary).score
    return float(energy.sum()), float(energy[there] @ score)
