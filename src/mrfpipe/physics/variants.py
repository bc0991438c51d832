"""Variants: ways in which a scan may have differed from its protocol.

They concern the history of the magnetisation, the inversion, residual transverse magnetisation, the slice profile and
the sign of the receiver phase. None of these can be read off a scanner's console, and a scan that differs in one of
them matches as well as any other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from mrfpipe.physics.simulate import TITLES, SignalModel
from mrfpipe.protocol import History, Inversion, Protocol

INVERSIONS = (*(Inversion(efficiency=e) for e in (1.0, 0.95, 0.9, 0.85)), Inversion(scales_with_b1=True))
"""Inversions to try. The efficiency of adiabatic inversions in tissue is 0.9 to 1."""


class Setting(NamedTuple):
    """One thing that variants differ in."""

    name: str
    """Description for display."""
    remedy: str
    """What to set in a protocol or command to get this setting."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variant:
    """A protocol and signal model that a scan may have followed."""

    protocol: Protocol
    """The protocol of this variant."""
    model: SignalModel
    """How its signals are simulated."""
    conjugated: bool = False
    """Whether the signals of the scan are the complex conjugates of those simulated."""

    @property
    def inversion(self) -> Inversion | None:
        """The first inversion of the sequence, if it has one."""
        return next((block for block in self.protocol.sequence.blocks if isinstance(block, Inversion)), None)

    def since(self, other: "Variant") -> tuple[Setting, ...]:
        """Return the settings that differ from those of another variant."""
        return tuple(mine for mine, its in zip(self.settings, other.settings, strict=True) if mine != its)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """All settings in which variants of a protocol can differ."""
        return (
            _of_history(self.protocol.history),
            _of_inversion(self.inversion),
            _of_phase(self.conjugated),
            _of_profile(self.model),
            _of_spoiling(self.model),
        )


def _of_history(history: History) -> Setting:
    names = {
        "equilibrium": "sequence played once",
        "repeated": "sequence repeated",
        "multislice": "slices one after the other",
    }
    number = f", slices = {history.slices}" if history.kind == "multislice" else ""
    return Setting(names[history.kind], f'kind = "{history.kind}"{number} in [history]')


def _of_inversion(inversion: Inversion | None) -> Setting:
    if inversion is None:
        return Setting("no inversion", "")
    if inversion.scales_with_b1:
        name = "inversion of 180 degrees times B1"
    else:
        name = "full inversion" if inversion.efficiency == 1 else f"inversion efficiency {inversion.efficiency:.2f}"
    scales = "true" if inversion.scales_with_b1 else "false"
    keys = f"efficiency = {inversion.efficiency:g} and scales_with_b1 = {scales}"
    return Setting(name, f"{keys} in the block inversion")


def _of_phase(conjugated: bool) -> Setting:
    sign = "opposite sign of the phase" if conjugated else "sign of the phase as given"
    return Setting(sign, "--conjugate, or --no-conjugate if the scan was conjugated")


def _of_profile(model: SignalModel) -> Setting:
    if model.slice_profile:
        return Setting("slice profile", "--slice-profile of simulate")
    return Setting("uniform flip angle across the slice", "no --slice-profile of simulate")


def _of_spoiling(model: SignalModel) -> Setting:
    return Setting(TITLES[model.spoiling], f"--model {model.spoiling} of simulate")


def inverted(protocol: Protocol, **inversion: float | bool) -> Protocol:
    """Return the protocol with another inversion."""
    return replace(protocol, sequence=protocol.sequence.with_blocks(Inversion, **inversion))


def variants_of(base: Variant, slices_before: int) -> Iterator[Variant]:
    """Yield the variants that differ from a given one in a single setting.

    Parameters
    ----------
    base
        The given variant.
    slices_before
        Slices of the scan that may have been measured before the slice in question; 0 if there is only one.
    """
    for history in _histories(slices_before):
        if history.kind != base.protocol.history.kind:
            yield replace(base, protocol=replace(base.protocol, history=history))
    yield from _inverted_otherwise(base)
    if len(base.protocol.components) > 1:  # signals of a single component look the same either way
        yield replace(base, conjugated=not base.conjugated)
    profiled, spoiling = base.model.slice_profile, base.model.spoiling
    yield replace(base, model=replace(base.model, slice_profile=not profiled))
    if spoiling != "bloch":
        yield replace(base, model=replace(base.model, spoiling="spoiled" if spoiling == "epg" else "epg"))


def _histories(slices_before: int) -> tuple[History, ...]:
    """Return possible histories of a slice: repetition, and either other slices before it or equilibrium."""
    other = History(kind="multislice", slices=slices_before) if slices_before else History(kind="equilibrium")
    return History(kind="repeated"), other


def _inverted_otherwise(base: Variant) -> Iterator[Variant]:
    """Yield variants with other inversions; none if the sequence has no inversion."""
    for inversion in INVERSIONS if base.inversion else ():
        if inversion != base.inversion and not (inversion.scales_with_b1 and base.protocol.b1 is None):
            how = {"efficiency": inversion.efficiency, "scales_with_b1": inversion.scales_with_b1}
            yield replace(base, protocol=inverted(base.protocol, **how))
