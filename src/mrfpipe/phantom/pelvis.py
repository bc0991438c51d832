"""The pelvis, at the level of the femoral heads."""

from mrfpipe.phantom.region import Region
from mrfpipe.phantom.template import (
    MM,
    Bone,
    Muscle,
    Template,
    Tube,
    both_bones,
    both_sides,
    both_tubes,
    outline_through,
)

_OUTLINE = outline_through(
    (
        (0.0, -0.70),
        (0.35, -0.76),
        (0.75, -0.72),
        (1.08, -0.48),
        (1.24, -0.05),
        (1.16, 0.38),
        (0.86, 0.70),
        (0.45, 0.82),
        (0.15, 0.78),
        (0.0, 0.70),
    )
)

PELVIS = Region(
    name="pelvis",
    template=Template(
        muscles=both_sides(
            (
                Muscle(
                    name="gluteus maximus",
                    group="gluteus maximus",
                    path=((0.20, 0.64), (0.48, 0.64), (0.78, 0.50), (1.02, 0.26)),
                    radius=0.125,
                ),
                Muscle(
                    name="gluteus medius",
                    group="gluteus medius",
                    path=((1.10, -0.24), (1.14, -0.02)),
                    radius=0.07,
                    growth=0.06,
                ),
                Muscle(
                    name="gluteus minimus",
                    group="gluteus medius",
                    path=((0.95, -0.28), (0.98, -0.14)),
                    radius=0.065,
                    growth=0.05,
                ),
                Muscle(
                    name="tensor fasciae latae", group="hip flexors", path=((0.96, -0.50), (1.05, -0.40)), radius=0.065
                ),
                Muscle(
                    name="sartorius",
                    group="sartorius",
                    path=((0.72, -0.66), (0.80, -0.62)),
                    radius=0.045,
                    shift=(0.1, 0.0),
                ),
                Muscle(
                    name="rectus femoris",
                    group="quadriceps",
                    path=((0.80, -0.46), (0.84, -0.38)),
                    radius=0.065,
                    growth=-0.03,
                ),
                Muscle(name="iliopsoas", group="hip flexors", path=((0.56, -0.47), (0.68, -0.40)), radius=0.105),
                Muscle(
                    name="pectineus", group="adductors", path=((0.34, -0.50), (0.42, -0.40)), radius=0.055, growth=-0.03
                ),
                Muscle(
                    name="obturator internus",
                    group="hip rotators",
                    path=((0.36, -0.16), (0.35, 0.08), (0.44, 0.24)),
                    radius=0.055,
                ),
                Muscle(name="gemelli", group="hip rotators", path=((0.58, 0.29), (0.86, 0.20)), radius=0.050),
                Muscle(
                    name="rectus abdominis",
                    group="abdominal wall",
                    path=((0.06, -0.66), (0.20, -0.67)),
                    radius=0.045,
                    growth=0.02,
                ),
            )
        ),
        tubes=(
            Tube(kind="gland", centre=(0.0, 0.08), radii=(0.20, 0.060)),
            Tube(kind="bladder", centre=(0.0, -0.22), radii=(0.28, 0.225)),
            Tube(kind="urine", centre=(0.0, -0.22), radii=(0.255, 0.200)),
            Tube(kind="rectum", centre=(0.0, 0.32), radii=(0.130, 0.125), looseness=1.5),
            Tube(kind="gas", centre=(0.0, 0.29), radii=(0.060, 0.050)),
            *both_tubes(
                (
                    Tube(kind="artery", centre=(0.54, -0.60), radii=(0.040, 0.040)),
                    Tube(kind="vein", centre=(0.44, -0.585), radii=(0.050, 0.042)),
                    Tube(kind="nerve", centre=(0.68, 0.37), radii=(0.060, 0.030)),
                )
            ),
        ),
        bones=(
            Bone(path=((-0.06, 0.54), (0.06, 0.54)), radius=0.050, marrow_share=0.75, marrow_ff=0.60),
            *both_bones(
                (
                    Bone(path=((0.69, -0.10),), radius=0.190, marrow_share=0.94, marrow_ff=0.93),
                    Bone(path=((0.80, -0.06), (0.98, 0.04)), radius=0.085, marrow_share=0.85, marrow_ff=0.85),
                    Bone(path=((1.02, 0.03), (1.03, 0.10)), radius=0.095, marrow_share=0.88, marrow_ff=0.93),
                    Bone(path=((0.47, -0.32), (0.55, -0.33)), radius=0.060, marrow_share=0.75, marrow_ff=0.65),
                    Bone(
                        path=((0.45, -0.30), (0.43, -0.08), (0.45, 0.10)),
                        radius=0.033,
                        marrow_share=0.55,
                        marrow_ff=0.65,
                    ),
                    Bone(path=((0.47, 0.12), (0.62, 0.17)), radius=0.070, marrow_share=0.80, marrow_ff=0.65),
                )
            ),
        ),
        outline=_OUTLINE,
    ),
    size=(98 * MM, 124 * MM),
    fat=(8 * MM, 24 * MM),
    outline=_OUTLINE,
    fat_outline=((0.0, 0.20), (-0.05, 0.0)),
    paired=False,
    taper=(-0.03, 0.03),
    rotation=(0.0, 2.0),
    variety=0.6,
)
"""The pelvis: hip joints, the buttocks, the bladder before the rectum."""
