"""A region of the body: its atlas, and what people differ in there."""

from dataclasses import dataclass

from mrfpipe.phantom.template import Harmonics, Template

LIMB_PATTERNS = ("healthy", "BMD", "DMD", "IBM", "FSHD", "patchy")
"""Patterns of disease, by name in `mrfpipe.phantom.disease`, that regions meet with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """What a person's anatomy is drawn from. Lengths in m, the range of a size as (least, most)."""

    name: str
    """Name for people and for commands."""
    template: Template
    """The atlas of a right limb, or of the whole trunk."""
    size: tuple[float, float]
    """Mean radius of the deep fascia."""
    fat: tuple[float, float]
    """Mean thickness of the subcutaneous fat."""
    outline: Harmonics
    """The deep fascia of the average person, from the second harmonic on."""
    fat_outline: Harmonics
    """The subcutaneous fat's thickness (its logarithm), from the first harmonic on."""
    paired: bool = True
    """Whether there are two of it, side by side."""
    taper: tuple[float, float] = (0.08, 0.16)
    """Relative growth of the radius over 10 cm towards the head."""
    rotation: tuple[float, float] = (6.0, 5.0)
    """Mean and spread of the rotation about the axis, in degrees."""
    variety: float = 1.0
    """How much shapes and places differ between people, in the unit of positions, over how much they do in a thigh."""
    patterns: tuple[str, ...] = LIMB_PATTERNS
    """Diseases of the people who are drawn without saying what they have."""
