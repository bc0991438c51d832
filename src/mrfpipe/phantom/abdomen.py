"""The lower abdomen, at the level of the fourth lumbar vertebra."""

from mrfpipe.phantom.region import Region
from mrfpipe.phantom.template import (
    MM,
    Bone,
    Muscle,
    Point,
    Template,
    Tube,
    both_bones,
    both_sides,
    both_tubes,
    outline_through,
)

LOOPS: tuple[Point, ...] = (
    (-0.52, -0.38),
    (-0.28, -0.52),
    (-0.27, -0.27),
    (-0.02, -0.38),
    (0.22, -0.53),
    (0.27, -0.28),
    (0.50, -0.40),
    (0.54, -0.13),
    (-0.50, -0.12),
)
"""Where the small bowel lies."""

_OUTLINE = outline_through(
    (
        (0.0, -0.85),
        (0.40, -0.85),
        (0.80, -0.68),
        (1.09, -0.35),
        (1.18, 0.00),
        (1.12, 0.40),
        (0.90, 0.70),
        (0.50, 0.87),
        (0.15, 0.86),
        (0.0, 0.80),
    )
)

ABDOMEN = Region(
    name="abdomen",
    template=Template(
        muscles=both_sides(
            (
                Muscle(
                    name="rectus abdominis", group="abdominal wall", path=((0.10, -0.79), (0.42, -0.77)), radius=0.055
                ),
                Muscle(
                    name="external oblique",
                    group="abdominal wall",
                    path=((0.62, -0.73), (0.88, -0.53), (1.05, -0.24), (1.12, 0.02), (1.07, 0.32), (0.96, 0.52)),
                    radius=0.032,
                ),
                Muscle(
                    name="internal oblique",
                    group="abdominal wall",
                    path=((0.60, -0.64), (0.82, -0.46), (0.97, -0.20), (1.03, 0.02), (0.99, 0.28), (0.90, 0.44)),
                    radius=0.040,
                ),
                Muscle(
                    name="transversus abdominis",
                    group="abdominal wall",
                    path=((0.52, -0.62), (0.75, -0.41), (0.89, -0.17), (0.94, 0.02), (0.90, 0.24), (0.82, 0.38)),
                    radius=0.024,
                ),
                Muscle(
                    name="psoas",
                    group="psoas",
                    path=((0.35, 0.10), (0.40, 0.28)),
                    radius=0.13,
                    shift=(-0.06, 0.06),
                    growth=-0.04,
                ),
                Muscle(name="quadratus lumborum", group="back", path=((0.60, 0.42), (0.74, 0.50)), radius=0.075),
                Muscle(name="erector spinae", group="back", path=((0.34, 0.69), (0.58, 0.66)), radius=0.13),
                Muscle(name="multifidus", group="back", path=((0.12, 0.64), (0.13, 0.76)), radius=0.085),
            )
        ),
        tubes=(
            Tube(kind="artery", centre=(0.07, -0.07), radii=(0.065, 0.065)),
            Tube(kind="vein", centre=(-0.13, -0.04), radii=(0.085, 0.065)),
            *(Tube(kind="bowel", centre=at, radii=(0.135, 0.115), looseness=2.0) for at in LOOPS),
            *(Tube(kind="chyme", centre=at, radii=(0.075, 0.055), looseness=2.0) for at in LOOPS[::2]),
            Tube(kind="bowel", centre=(0.76, 0.10), radii=(0.105, 0.115)),
            Tube(kind="gas", centre=(0.76, 0.06), radii=(0.050, 0.045)),
            Tube(kind="bowel", centre=(-0.74, 0.04), radii=(0.135, 0.150)),
            Tube(kind="chyme", centre=(-0.74, 0.09), radii=(0.085, 0.070)),
            Tube(kind="gas", centre=(-0.74, -0.03), radii=(0.080, 0.050)),
            Tube(kind="gas", centre=(0.22, -0.57), radii=(0.050, 0.035)),
            Tube(kind="canal", centre=(0.0, 0.50), radii=(0.095, 0.070)),
            *both_tubes((Tube(kind="artery", centre=(0.10, -0.68), radii=(0.018, 0.018)),)),
        ),
        bones=(
            Bone(path=((-0.10, 0.20), (0.10, 0.20)), radius=0.20, marrow_share=0.95, marrow_ff=0.45),
            Bone(path=((0.0, 0.64), (0.0, 0.82)), radius=0.030, marrow_share=0.60, marrow_ff=0.60),
            *both_bones(
                (
                    Bone(path=((0.14, 0.42), (0.16, 0.54)), radius=0.050, marrow_share=0.65, marrow_ff=0.55),
                    Bone(path=((0.17, 0.55), (0.0, 0.63)), radius=0.028, marrow_share=0.50, marrow_ff=0.55),
                    Bone(path=((0.18, 0.43), (0.46, 0.44)), radius=0.028, marrow_share=0.50, marrow_ff=0.55),
                )
            ),
        ),
        outline=_OUTLINE,
    ),
    size=(100 * MM, 122 * MM),
    fat=(8 * MM, 26 * MM),
    outline=_OUTLINE,
    fat_outline=((0.0, 0.10), (-0.10, 0.0)),
    paired=False,
    taper=(-0.03, 0.01),
    rotation=(0.0, 2.0),
    variety=0.6,
)
"""The trunk at the navel: the wall, the spine and its muscles, bowel with its gas, the great vessels."""
