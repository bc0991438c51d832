"""A region of the body: its atlas, and the variation between people.

Every region is a table in the folder ``regions``, with one line per muscle, tube and bone, and lengths in mm.
"""

from dataclasses import dataclass
from typing import Any

from mrfpipe.phantom.tables import load_table
from mrfpipe.phantom.template import MM, Bone, Harmonics, Muscle, Template, Tube, both_sides, outline_through

LIMB_PATTERNS = ("healthy", "BMD", "DMD", "IBM", "FSHD", "patchy")
"""Disease patterns that occur in limbs, by name in `mrfpipe.phantom.disease`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """What a person's anatomy is drawn from. Lengths in m, the range of a size as (least, most)."""

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
    """Whether the body has two of it, side by side."""
    taper: tuple[float, float] = (0.08, 0.16)
    """Relative growth of the radius over 10 cm towards the head."""
    rotation: tuple[float, float] = (6.0, 5.0)
    """Mean and spread of the rotation about the axis, in degrees."""
    variety: float = 1.0
    """Variation of shapes and positions between people, in the unit of positions, relative to that in a thigh."""
    patterns: tuple[str, ...] = LIMB_PATTERNS
    """Disease patterns to draw from if traits are not given."""


def load_region(name: str) -> Region:
    """Read the table of a region that comes with mrfpipe."""
    table = load_table(f"regions/{name}")
    halves = table.pop("both_sides", {})
    template: dict[str, Any] = {
        kind: (
            *(part(**values) for values in table.pop(kind, ())),
            *both_sides(part(**values) for values in halves.get(kind, ())),
        )
        for kind, part in (("muscles", Muscle), ("tubes", Tube), ("bones", Bone))
    }
    size, fat = (tuple(MM * end for end in table.pop(key)) for key in ("size_mm", "fat_mm"))
    if "outline_through" in table:
        table["outline"] = outline_through(table.pop("outline_through"), table.pop("n_harmonics", 9))
        template["outline"] = table["outline"]
    return Region(template=Template(**template), size=size, fat=fat, **table)
