"""Check: which variant of a protocol explains the signals of a scan best, and what the others do to its maps.

A wrong assumption leaves a residual that `match`, a correlation near 1, does not show: 0.6 % of the signal for a
twentieth of the inversion, 0.05 % for the history of T1-FF, beside the 2 % that noise and undersampling leave in a
voxel. What shows it is the difference between two residuals of one voxel, as noise is common to both. So the same
voxels are explained by every variant, each fitted by itself, and the relative differences of their squared residuals
are averaged. How sure that mean is, is seen from how it differs between parts of the slice: neighbours, which share
noise and aliasing, stay together.

The signals are coefficients of a basis that spans all variants; that of the protocol alone may cut off what tells them
apart. Where the noise of the coefficients is known, coefficients and fingerprints are whitened by it, so that residuals
are in its units and their squares add up to a likelihood.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from mrfpipe.arrays import Complex, Double
from mrfpipe.dictionary import Dictionary, entry_gram, leading_basis
from mrfpipe.matching.exact import match_exact
from mrfpipe.matching.refine import refine
from mrfpipe.matching.sense import thinned
from mrfpipe.physics.simulate import component_signals
from mrfpipe.physics.variants import Variant

CLEARLY = 4.0
"""Standard errors by which one variant must be better to be called so."""
PARTS = 40
"""Parts of the slice whose means give the standard error."""
MOST_CHANGES = 3
"""Changes to the protocol that are made one after the other, at most."""
SPANNED = 0.999995
"""Share of the energy of all variants' fingerprints that their common basis keeps."""

Signals = tuple[Complex, ...]


@dataclass(slots=True)
class Simulated:
    """The signals of variants' components over a thinned grid, each simulated when it is first asked for."""

    _found: dict[object, Signals] = field(default_factory=dict)

    def __call__(self, variant: Variant) -> Signals:
        """Simulate a variant. Shape `(*own axes, *shared axes, frames)` of each component."""
        key = variant.protocol.hash, variant.model
        if key not in self._found:
            self._found[key] = component_signals(thinned(variant.protocol), variant.model)
        return tuple(part.conj() for part in self._found[key]) if variant.conjugated else self._found[key]

    def basis(self, variants: Iterable[Variant]) -> Complex:
        """Return a basis of the fingerprints of all variants alike. Shape `(frames, rank)`."""
        grams = [entry_gram(self(variant), thinned(variant.protocol)) for variant in variants]
        return leading_basis(sum(gram / np.trace(gram).real for gram in grams), None, SPANNED)[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explained:
    """What some voxels are by a variant."""

    variant: Variant
    """The variant."""
    parameters: dict[str, Double]
    """Estimates in SI units, by name. Shape `(voxels)` each."""
    residual: Double
    """Squared residual of each voxel, in units of the signals. Shape `(voxels)`."""

    def margin(self, over: "Explained") -> float:
        """Return by how many standard errors this explains the voxels better than another variant does.

        Voxels come in the order of their places, so that a part of them is a part of the slice.
        """
        worse = 2 * (over.residual - self.residual) / np.maximum(over.residual + self.residual, np.finfo(float).tiny)
        means = np.array([part.mean() for part in np.array_split(worse, min(PARTS, worse.size))])
        error = means.std(ddof=1) / np.sqrt(means.size) if means.size > 1 else np.inf
        return float(means.mean() / error) if error > 0 else 0.0

    def change(self, since: "Explained") -> dict[str, float]:
        """Return the medians by which parameters differ from another variant's, where they count, in file units."""
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
    """What a scan says of the model."""

    assumed: Explained
    """By the protocol as it is."""
    best: Explained
    """By the variant that explains the scan best; the protocol as it is, unless another is clearly better."""
    changes: tuple[Variant, ...]
    """What leads from the protocol to the best, one change after the other."""
    others: tuple[Explained, ...]
    """By the variants that differ from the best by one change."""

    @property
    def is_assumed(self) -> bool:
        """Whether nothing is clearly better than the protocol as it is."""
        return not self.changes

    @property
    def margin(self) -> float:
        """Standard errors by which the best is better than the protocol as it is."""
        return 0.0 if self.is_assumed else self.best.margin(self.assumed)

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
    signals: Complex, basis: Complex, variant: Variant, simulated: Simulated, white: Complex | None = None
) -> Explained:
    """Fit a variant to signals.

    Parameters
    ----------
    signals
        Coefficients, none of them all zero. Shape `(voxels, rank)`.
    basis
        Their basis. Shape `(frames, rank)`.
    variant
        What they are taken for.
    simulated
        What was simulated before.
    white
        What whitens the coefficients. Shape `(rank, rank)`.
    """
    turn = basis.conj() if white is None else basis.conj() @ white.T
    dictionary = Dictionary(
        components=tuple((part @ turn).astype(np.complex64) for part in simulated(variant)),
        basis=basis,
        energy=1.0,
        protocol=thinned(variant.protocol),
        model=variant.model,
    )
    signals = signals if white is None else np.ascontiguousarray(signals @ white.T)
    found = refine(signals, match_exact(signals, dictionary).entry, dictionary)
    fits = found.signals.astype(np.complex128)
    scale = np.sum(fits.conj() * signals, axis=1) / np.sum(np.abs(fits) ** 2, axis=1)
    return Explained(
        variant=variant,
        parameters=found.parameters,
        residual=np.sum(np.abs(signals - scale[:, None] * fits) ** 2, axis=1),
    )


def judge(
    assumed: Variant,
    others: Callable[[Variant], Iterable[Variant]],
    fitted: Callable[[Variant], Explained],
) -> Verdict:
    """Change a protocol for as long as a change explains the scan clearly better.

    Parameters
    ----------
    assumed
        The protocol as it is.
    others
        Gives the variants that differ from one by one change.
    fitted
        Explains the scan by a variant.
    """
    first = best = fitted(assumed)
    changes: list[Variant] = []
    while True:
        tried = [fitted(variant) for variant in others(best.variant)]
        leader = max(tried, key=lambda one: one.margin(best), default=None)
        if leader is None or leader.margin(best) < CLEARLY or len(changes) == MOST_CHANGES:
            return Verdict(assumed=first, best=best, changes=tuple(changes), others=tuple(tried))
        changes.append(leader.variant)
        best = leader
