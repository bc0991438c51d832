"""The shoulders and the top of the chest, at the level of the humeral heads."""

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
        (0.0, -0.46),
        (0.35, -0.50),
        (0.70, -0.53),
        (1.05, -0.54),
        (1.36, -0.42),
        (1.52, -0.08),
        (1.42, 0.28),
        (1.12, 0.46),
        (0.80, 0.56),
        (0.40, 0.63),
        (0.10, 0.61),
        (0.0, 0.58),
    ),
    n_harmonics=14,
)

SHOULDER = Region(
    name="shoulder",
    template=Template(
        muscles=both_sides(
            (
                Muscle(
                    name="deltoid",
                    group="deltoid",
                    path=((1.02, -0.42), (1.24, -0.36), (1.40, -0.08), (1.30, 0.20), (1.08, 0.34)),
                    radius=0.085,
                ),
                Muscle(
                    name="pectoralis major",
                    group="girdle",
                    path=((0.18, -0.42), (0.55, -0.44), (0.90, -0.40)),
                    radius=0.055,
                ),
                Muscle(name="pectoralis minor", group="girdle", path=((0.52, -0.31), (0.74, -0.27)), radius=0.042),
                Muscle(name="coracobrachialis", group="deltoid", path=((0.96, -0.29), (1.00, -0.27)), radius=0.045),
                Muscle(
                    name="subscapularis",
                    group="rotator cuff",
                    path=((0.60, 0.17), (0.74, 0.03), (0.88, -0.08), (0.98, -0.18)),
                    radius=0.065,
                ),
                Muscle(
                    name="infraspinatus",
                    group="rotator cuff",
                    path=((0.62, 0.38), (0.84, 0.24), (1.08, 0.15)),
                    radius=0.075,
                ),
                Muscle(name="teres minor", group="rotator cuff", path=((0.98, 0.29),), radius=0.045),
                Muscle(
                    name="serratus anterior",
                    group="girdle",
                    path=((0.60, -0.12), (0.60, 0.06), (0.50, 0.24)),
                    radius=0.032,
                ),
                Muscle(name="trapezius", group="girdle", path=((0.06, 0.57), (0.40, 0.57), (0.76, 0.48)), radius=0.035),
                Muscle(name="rhomboid major", group="girdle", path=((0.12, 0.50), (0.44, 0.46)), radius=0.030),
                Muscle(name="erector spinae", group="back", path=((0.13, 0.42), (0.27, 0.40)), radius=0.055),
            )
        ),
        tubes=(
            Tube(kind="gas", centre=(0.0, -0.16), radii=(0.065, 0.060)),
            Tube(kind="bowel", centre=(0.04, -0.04), radii=(0.050, 0.035)),
            Tube(kind="canal", centre=(0.0, 0.355), radii=(0.070, 0.060)),
            *both_tubes(
                (
                    Tube(kind="gas", centre=(0.31, 0.06), radii=(0.165, 0.205)),
                    Tube(kind="artery", centre=(0.14, -0.17), radii=(0.045, 0.045)),
                    Tube(kind="vein", centre=(0.18, -0.26), radii=(0.055, 0.042)),
                    Tube(kind="artery", centre=(0.74, -0.17), radii=(0.034, 0.034)),
                    Tube(kind="vein", centre=(0.66, -0.20), radii=(0.042, 0.036)),
                    Tube(kind="nerve", centre=(0.81, -0.18), radii=(0.040, 0.028)),
                    Tube(kind="gland", centre=(0.075, -0.26), radii=(0.040, 0.032)),
                )
            ),
        ),
        bones=(
            Bone(path=((-0.04, 0.15), (0.04, 0.15)), radius=0.115, marrow_share=0.93, marrow_ff=0.40),
            Bone(path=((0.0, 0.46), (0.0, 0.56)), radius=0.025, marrow_share=0.55, marrow_ff=0.50),
            *both_bones(
                (
                    Bone(path=((1.15, -0.08),), radius=0.165, marrow_share=0.94, marrow_ff=0.92),
                    Bone(path=((0.93, -0.04), (0.92, 0.10)), radius=0.038, marrow_share=0.65, marrow_ff=0.70),
                    Bone(path=((0.90, 0.06), (0.78, 0.14)), radius=0.045, marrow_share=0.70, marrow_ff=0.70),
                    Bone(path=((0.78, 0.14), (0.52, 0.35)), radius=0.020, marrow_share=0.35, marrow_ff=0.70),
                    Bone(path=((0.87, -0.24), (0.91, -0.19)), radius=0.042, marrow_share=0.70, marrow_ff=0.70),
                    Bone(path=((0.16, -0.35), (0.40, -0.36)), radius=0.040, marrow_share=0.70, marrow_ff=0.60),
                    Bone(
                        path=((0.14, 0.28), (0.36, 0.32), (0.47, 0.24)), radius=0.026, marrow_share=0.60, marrow_ff=0.50
                    ),
                    Bone(path=((0.52, 0.06), (0.50, -0.10)), radius=0.026, marrow_share=0.60, marrow_ff=0.50),
                    Bone(path=((0.08, 0.41), (0.02, 0.45)), radius=0.024, marrow_share=0.45, marrow_ff=0.50),
                )
            ),
        ),
        outline=_OUTLINE,
    ),
    size=(100 * MM, 112 * MM),
    fat=(4 * MM, 13 * MM),
    outline=_OUTLINE,
    fat_outline=((0.0, 0.10), (-0.20, 0.0)),
    paired=False,
    taper=(-0.05, 0.0),
    rotation=(0.0, 2.0),
    variety=0.5,
)
"""Both shoulders and the chest between them: rotator cuff and deltoid around the humerus, the tips of the lungs."""
