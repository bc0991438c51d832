"""The result of testing the signal model on a scan, in words and as a table."""

from dataclasses import dataclass

import numpy as np

from mrfpipe.matching.check import CLEARLY, Explained, Verdict
from mrfpipe.physics.variants import Setting
from mrfpipe.quantities import Parameter, in_unit

DECIMALS = {"1": 3, "ms": 0, "Hz": 1}
"""Number of decimals for changes of maps, by unit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Check:
    """Result of testing the signal model on a raw scan."""

    name: str
    """Name of the scan."""
    slice_index: int
    """Index of the tested slice, from 0."""
    n_slices: int
    """Number of slices of the scan."""
    rank: int
    """Number of coefficients compared per voxel."""
    verdict: Verdict
    """Variants in order, with their residuals and the changes of the maps."""

    def over_noise(self, one: Explained) -> float:
        """Return the median residual in units of the noise; 1 if noise is all that is left."""
        # The fit of 2 rank real numbers takes one degree of freedom per parameter and two for the complex scale.
        free = self.rank - (len(one.parameters) + 2) / 2
        return float(np.sqrt(np.median(one.residual) / max(free, 0.5)))

    def __repr__(self) -> str:
        return f"<Check {self.name}: {best_line(self.verdict)}>"

    def __str__(self) -> str:
        verdict, best = self.verdict, self.verdict.best
        looked_at = f"slice {self.slice_index + 1} of {self.n_slices}, {best.residual.size:,} voxels"
        noise = f"{self.rank} coefficients, residual {self.over_noise(best):.2f} times the noise"
        lines = [f"{self.name}: {looked_at}, {noise}", best_line(verdict), "", *self._table()]
        undecided = [
            f"{setting.name} ({setting.remedy})" for one in verdict.undecided for setting in self._instead(one)
        ]
        if undecided:
            lines += ["", f"undecided (less than {CLEARLY:g} standard errors worse): {'; '.join(undecided)}"]
        return "\n".join(lines)

    def _instead(self, one: Explained) -> tuple[Setting, ...]:
        """Return the settings in which a variant differs from the best one."""
        return one.variant.since(self.verdict.best.variant)

    def _table(self) -> list[str]:
        """Write by how much every other variant is worse, and how it would change the maps."""
        best, assumed = self.verdict.best, self.verdict.assumed
        rows = {", ".join(setting.name for setting in self._instead(one)): one for one in self.verdict.others}
        if self.verdict.changes:
            rows = {n: o for n, o in rows.items() if o.variant.since(assumed.variant)} | {"as assumed": assumed}
        parameters = best.variant.protocol.parameters
        width = max(map(len, rows))
        columns = "  ".join(f"{p.heading:>10}" for p in parameters)
        lines = [f"{'instead':{width}}  {'worse by (se)':>13}  {'residual':>8}  {columns}"]
        for name, one in sorted(rows.items(), key=lambda row: best.margin(row[1])):
            change = one.change(best)
            changes = "  ".join(f"{_number(change[p.name], p):>10}" for p in parameters)
            lines.append(f"{name:{width}}  {best.margin(one):13.1f}  {self.over_noise(one):8.2f}  {changes}")
        return [*lines, "residual in units of the noise; then the median change of each map"]


def best_line(verdict: Verdict) -> str:
    """Summarise in one line which variant explains a scan best, its settings, and the changes of the maps."""
    if not verdict.changes:
        if any(verdict.best.margin(one) < 0 for one in verdict.others):
            return "No variant explains the scan clearly better than the protocol."
        return "The protocol explains the scan best."
    names, remedies = (", ".join(texts) for texts in zip(*verdict.changes, strict=True))
    change = verdict.best.change(verdict.assumed)
    parameters = verdict.best.variant.protocol.parameters
    changes = ", ".join(in_unit(f"{p.name} {_number(change[p.name], p)}", p.unit) for p in parameters)
    return (
        f"A variant explains the scan better than the protocol, by {verdict.margin:.0f} standard errors: {names}. "
        f"Set {remedies}; the maps change by (medians) {changes}."
    )


def _number(value: float, p: Parameter) -> str:
    return f"{value:+.{DECIMALS[p.unit]}f}"
