"""Variants: what a scan may have been although its protocol says otherwise, as protocols and models with one change.

What the magnetisation has been through before, what the inversion does, how much is left of the transverse
magnetisation, how even the flip angle is across the slice and which way the receiver counts phase: nobody reads these
off a scanner's console, and a scan that breaks one of them matches as well as any other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mrfpipe.physics.simulate import SignalModel
from mrfpipe.protocol import History, Inversion, Protocol

EFFICIENCIES = (1.0, 0.95, 0.9, 0.85)
"""Of an inversion. Adiabatic ones reach 0.9 to 1 in tissue."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variant:
    """What a scan may be a scan of."""

    name: str
    """What is different, for people."""
    remedy: str
    """What to set to have it so."""
    protocol: Protocol
    """The protocol that then holds."""
    model: SignalModel
    """How its signals are simulated."""
    conjugated: bool = False
    """Whether the signals of the scan are the complex conjugates of those simulated."""

    @property
    def key(self) -> tuple[str, SignalModel, bool]:
        """What decides its signals."""
        return self.protocol.hash, self.model, self.conjugated


def as_assumed(protocol: Protocol, model: SignalModel) -> Variant:
    """Return the variant that is none."""
    return Variant(name="as assumed", remedy="nothing", protocol=protocol, model=model)


def after(protocol: Protocol, history: History) -> Protocol:
    """Play the sequence after another history."""
    return replace(protocol, history=history)


def inverted(protocol: Protocol, **inversion: float | bool) -> Protocol:
    """Invert otherwise."""
    return replace(protocol, sequence=protocol.sequence.with_blocks(Inversion, **inversion))


def variants_of(base: Variant, slices_before: int) -> Iterator[Variant]:
    """Give the variants that differ from another one by one change, those first that are quick to simulate.

    Parameters
    ----------
    base
        What they differ from.
    slices_before
        Slices of the scan that may have been measured before the one that is looked at; 0 if it has a single one.
    """
    yield from _histories(base, slices_before)
    yield from _inversions(base)
    if len(base.protocol.components) > 1:  # signals of a single component look the same either way
        turned = "as it is" if base.conjugated else "the other way round"
        yield replace(
            base,
            name=f"phase {turned}",
            remedy="--conjugate, or leave it out where it was given",
            conjugated=not base.conjugated,
        )
    profiled = base.model.slice_profile
    yield replace(
        base,
        name="the same flip angle across the slice" if profiled else "slice profile",
        remedy=f"simulate {'without' if profiled else 'with'} --slice-profile",
        model=replace(base.model, slice_profile=not profiled),
    )
    if not profiled and base.model.spoiling != "bloch":  # both together take minutes
        spoiling = base.model.spoiling
        yield replace(
            base,
            name="ideal spoiling" if spoiling == "epg" else "spoiling by RF and gradients",
            remedy=f"simulate with --model {'spoiled' if spoiling == 'epg' else 'epg'}",
            model=replace(base.model, spoiling="spoiled" if spoiling == "epg" else "epg"),
        )


def _histories(base: Variant, slices_before: int) -> Iterator[Variant]:
    """Give other histories; a slice that none was measured before has either seen nothing or its own sequence."""
    found = {
        "sequence repeated": History(kind="repeated"),
        "sequence played once": History(kind="equilibrium"),
    }
    if slices_before:
        del found["sequence played once"]
        found["slices one after the other"] = History(kind="multislice", slices=slices_before)
    for name, history in found.items():
        if history.kind != base.protocol.history.kind:
            number = f", slices = {history.slices}" if history.kind == "multislice" else ""
            yield replace(
                base,
                name=name,
                remedy=f'kind = "{history.kind}"{number} in [history]',
                protocol=after(base.protocol, history),
            )


def _inversions(base: Variant) -> Iterator[Variant]:
    """Give other inversions; none if the sequence has no inversion."""
    blocks = [block for block in base.protocol.sequence.blocks if isinstance(block, Inversion)]
    if not blocks:
        return
    scales = blocks[0].scales_with_b1
    if base.protocol.b1 is not None:
        yield replace(
            base,
            name="inversion of 180 degrees at every B1" if scales else "inversion of 180 degrees times B1",
            remedy=f"scales_with_b1 = {'false' if scales else 'true'} in the block inversion",
            protocol=inverted(base.protocol, scales_with_b1=not scales),
        )
    for efficiency in EFFICIENCIES:
        if efficiency != blocks[0].efficiency:
            yield replace(
                base,
                name=f"inversion efficiency {efficiency:.2f}",
                remedy=f"efficiency = {efficiency:g} in the block inversion",
                protocol=inverted(base.protocol, efficiency=efficiency),
            )
