"""Check: which variant of a protocol explains the signals of a scan best, and how the others change its maps.

A wrong assumption leaves a residual that `match`, a correlation near 1, does not show: 0.6 % of the signal for a
twentieth of the inversion, 0.05 % for the history of T1-FF, beside the 2 % that noise and undersampling leave in a
voxel. The ratio of two residuals of the same voxel does show it, because both contain the same noise. Therefore every
variant is fitted to the same voxels, and the logarithms of the residuals are averaged. The standard error of such a
mean is estimated from its differences between parts of the slice, because neighbouring voxels share noise and aliasing.

The signals are coefficients in a basis that spans all variants; the basis of the protocol alone may remove what
distinguishes them. If the noise of the coefficients is known, coefficients and fingerprints are whitened, so that
residuals are in units of the noise and their squares add up to a likelihood.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from mrfpipe.arrays import Complex, Double
from mrfpipe.basis import entry_gram, leading_basis
from mrfpipe.dictionary import Dictionary
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.refine import refine
from mrfpipe.physics.simulate import SPOILED, component_signals
from mrfpipe.physics.variants import Setting, Variant
from mrfpipe.protocol import Grid, Protocol

CLEARLY = 4.0
"""Number of standard errors by which a variant must be better to count as better. On phantoms of thighs, legs and
pelvises that followed the protocol, at SNR 4000 and 1000, every other variant was worse by 4.4 or more."""
PARTS = 40
"""Parts of the slice whose means give the standard error."""
SPANNED = 0.999995
"""Share of the energy of all variants' fingerprints that their common basis keeps."""

VALUES = {"T1": 16, "T2": 16, "B1": 8, "off-resonance": 25}
"""Number of values of a parameter for which variants are simulated, by its quantity: enough for the interpolation error
to be less than the differences between variants."""
VALUES_OF_SECOND = 4
"""Number of values of a parameter that belongs only to the second of two components."""

Signals = tuple[Complex, ...]
"""Signals of every component over the regular grid. Shape `(*axes, frames)` each."""


def regular(protocol: Protocol) -> Protocol:
    """Return the protocol with a regular grid over the same ranges, with as many values as `VALUES` says."""
    n = {p.name: VALUES.get(p.quantity.name, protocol.grid[p.name].size) for p in protocol.parameters}
    n |= {name: VALUES_OF_SECOND for c in protocol.components[1:] for name in protocol.own_axes(c)}
    axes = {name: _spread(axis, n[name]) for name, axis in protocol.grid.items()}
    return replace(protocol, grid=Grid(axes=axes))


def is_fine(protocol: Protocol) -> bool:
    """Return whether a protocol's grid has all values of its regular grid."""
    return all(np.isin(axis, protocol.grid[name]).all() for name, axis in regular(protocol).grid.items())


def _spread(axis: Double, n: int) -> Double:
    """Select n values of an axis, including its ends, or spread n values between its ends if it has fewer."""
    if axis.size < n:
        return np.linspace(axis[0], axis[-1], n if axis[0] < axis[-1] else 1)
    spread: Double = axis[np.linspace(0, axis.size - 1, n).round().astype(int)]
    return spread


@dataclass(slots=True)
class Simulated:
    """The signals of a protocol's variants, each simulated when it is first asked for."""

    _found: dict[tuple[Setting, ...], Signals] = field(default_factory=dict)

    def __call__(self, variant: Variant) -> Signals:
        """Simulate a variant."""
        if variant.conjugated:
            return tuple(part.conj() for part in self(replace(variant, conjugated=False)))
        if variant.settings not in self._found:
            self._found[variant.settings] = component_signals(regular(variant.protocol), variant.model)
        return self._found[variant.settings]

    def basis(self, variants: Iterable[Variant]) -> Complex:
        """Return a basis of the fingerprints of all variants, with equal weight. Shape `(frames, rank)`."""
        grams = [entry_gram(self(variant), regular(variant.protocol)) for variant in variants]
        return leading_basis(sum(gram / np.trace(gram).real for gram in grams), None, SPANNED)[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Changed:
    """The signals of a dictionary, changed for a variant by as much as they change under ideal spoiling.

    This approximates the dictionary's own signal model in the time that ideal spoiling takes. The grid must be fine,
    see `is_fine`.
    """

    dictionary: Dictionary
    """Signals of the protocol as it is."""
    simulated: Simulated
    """Signals of variants under ideal spoiling."""

    def __call__(self, variant: Variant) -> Signals:
        """Approximate a variant with the dictionary's signal model that is not conjugated."""
        protocol, few = self.dictionary.protocol, regular(self.dictionary.protocol).grid
        changed = self.simulated(replace(variant, model=SPOILED))
        before = self.simulated(replace(variant, model=SPOILED, protocol=protocol))
        signals = []
        for component, mine, after, first in zip(
            protocol.components, self.dictionary.components, changed, before, strict=True
        ):
            at = np.ix_(*(np.searchsorted(protocol.grid[name], few[name]) for name in protocol.axes_of(component)))
            signals.append((mine[at] @ self.dictionary.basis.T + (after - first)).astype(np.complex64))
        return tuple(signals)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explained:
    """The fit of a variant to some voxels."""

    variant: Variant
    """The variant."""
    parameters: dict[str, Double]
    """Estimates in SI units, by name. Shape `(voxels)` each."""
    residual: Double
    """Squared residual of each voxel, in units of the signals. Shape `(voxels)`."""

    @property
    def level(self) -> float:
        """Size of the residuals: the mean of their logarithms."""
        return float(np.log(self.residual).mean())

    def margin(self, over: "Explained") -> float:
        """Return by how many standard errors this variant explains the voxels better than another one.

        Voxels must be in spatial order, so that consecutive ones form a part of the slice.
        """
        worse = np.log(over.residual) - np.log(self.residual)
        means = np.array([part.mean() for part in np.array_split(worse, min(PARTS, worse.size))])
        error = means.std(ddof=1) / np.sqrt(means.size) if means.size > 1 else np.inf
        return float(worse.mean() / error) if error > 0 else 0.0

    def change(self, since: "Explained") -> dict[str, float]:
        """Return the median changes of parameters from another variant, where they count, in file units."""
        return {
            p.name: _median(
                (self.parameters[p.name] - since.parameters[p.name])[p.counts_where(since.parameters)] * p.scale
            )
            for p in self.variant.protocol.parameters
        }


def _median(values: Double) -> float:
    return float(np.median(values)) if values.size else 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """The result of a check: how well the protocol and its variants explain a scan."""

    assumed: Explained
    """The fit of the protocol as it is."""
    best: Explained
    """The fit of the best variant: the protocol as it is, unless another is clearly better."""
    others: tuple[Explained, ...]
    """The fits of the variants that differ from the best in one setting."""

    @property
    def changes(self) -> tuple[Setting, ...]:
        """Settings in which the best variant differs from the protocol; none if the protocol explains the scan."""
        return self.best.variant.since(self.assumed.variant)

    @property
    def margin(self) -> float:
        """Number of standard errors by which the best variant is better than the protocol as it is."""
        return self.best.margin(self.assumed)

    @property
    def undecided(self) -> tuple[Explained, ...]:
        """The variants that are not clearly worse than the best."""
        return tuple(one for one in self.others if self.best.margin(one) < CLEARLY)


def whitening(noise: Complex) -> Complex:
    """Return the matrix that makes noise white and of unit variance. Shape `(readings, rank)` to `(rank, rank)`."""
    covariance = (noise.T @ noise.conj()).astype(np.complex128) / len(noise)
    white: Complex = np.linalg.inv(np.linalg.cholesky(covariance)).astype(np.complex64)
    return white


def explain(
    signals: Complex,
    basis: Complex,
    variant: Variant,
    simulated: Callable[[Variant], Signals],
    white: Complex | None = None,
) -> Explained:
    """Fit a variant to signals.

    Parameters
    ----------
    signals
        Coefficients, none of them all zero. Shape `(voxels, rank)`.
    basis
        Their basis. Shape `(frames, rank)`.
    variant
        The variant to fit.
    simulated
        Function that returns the signals of a variant.
    white
        Whitening matrix of the coefficients. Shape `(rank, rank)`.
    """
    turn = basis.conj() if white is None else basis.conj() @ white.T
    dictionary = Dictionary(
        components=tuple((part @ turn).astype(np.complex64) for part in simulated(variant)),
        basis=basis,
        energy=1.0,
        protocol=regular(variant.protocol),
        model=variant.model,
    )
    signals = signals if white is None else np.ascontiguousarray(signals @ white.T)
    found = refine(signals, match_exact(signals, dictionary).entry, dictionary)
    fits = found.signals.astype(np.complex128)
    scale = np.sum(fits.conj() * signals, axis=1) / np.sum(np.abs(fits) ** 2, axis=1)
    return Explained(
        variant=variant,
        parameters=found.parameters,
        residual=np.maximum(np.sum(np.abs(signals - scale[:, None] * fits) ** 2, axis=1), np.finfo(np.float64).tiny),
    )


def judge(
    assumed: Variant,
    others: Callable[[Variant], Iterable[Variant]],
    fitted: Callable[[Variant], Explained],
) -> Verdict:
    """Change a protocol, one setting at a time, as long as a change explains the scan clearly better.

    Parameters
    ----------
    assumed
        The protocol as it is.
    others
        Function that returns the variants that differ from a given one in one setting.
    fitted
        Function that fits a variant to the scan.
    """
    found: dict[tuple[Setting, ...], Explained] = {}

    def by(variant: Variant) -> Explained:
        if variant.settings not in found:
            found[variant.settings] = fitted(variant)
        return found[variant.settings]

    best = by(assumed)
    while True:
        tried = tuple(by(variant) for variant in others(best.variant))
        better = [one for one in tried if one.margin(best) > CLEARLY]
        if not better:
            return Verdict(assumed=by(assumed), best=best, others=tried)
        best = min(better, key=lambda one: one.level)
