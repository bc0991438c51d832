"""The thigh, at the middle of the femur."""

from mrfpipe.phantom.region import Region
from mrfpipe.phantom.template import MM, Bone, Muscle, Template, Tube

THIGH = Region(
    name="thigh",
    template=Template(
        muscles=(
            Muscle(
                name="rectus femoris",
                group="quadriceps",
                path=((-0.17, -0.79), (0.08, -0.80)),
                radius=0.15,
                shift=(0.02, 0.0),
                growth=0.05,
            ),
            Muscle(
                name="vastus lateralis",
                group="quadriceps",
                path=((-0.46, -0.70), (-0.70, -0.45), (-0.80, -0.12), (-0.72, 0.17), (-0.56, 0.30)),
                radius=0.16,
            ),
            Muscle(
                name="vastus intermedius",
                group="quadriceps",
                path=((0.17, -0.40), (0.00, -0.55), (-0.20, -0.57), (-0.40, -0.45), (-0.49, -0.22), (-0.43, 0.0)),
                radius=0.13,
            ),
            Muscle(
                name="vastus medialis",
                group="quadriceps",
                path=((0.40, -0.66), (0.37, -0.42), (0.22, -0.16)),
                radius=0.14,
                shift=(-0.04, 0.02),
                growth=-0.06,
            ),
            Muscle(
                name="sartorius",
                group="sartorius",
                path=((0.66, -0.62), (0.80, -0.42)),
                radius=0.08,
                shift=(-0.22, -0.18),
            ),
            Muscle(
                name="gracilis",
                group="gracilis",
                path=((0.90, 0.02), (0.86, 0.28)),
                radius=0.07,
                shift=(0.0, -0.08),
            ),
            Muscle(
                name="adductor longus",
                group="adductors",
                path=((0.42, -0.06), (0.72, -0.10)),
                radius=0.11,
                shift=(0.0, -0.05),
                growth=0.05,
            ),
            Muscle(
                name="adductor brevis",
                group="adductors",
                path=((0.26, 0.10), (0.50, 0.12)),
                radius=0.055,
                shift=(0.02, -0.02),
                growth=0.09,
            ),
            Muscle(
                name="adductor magnus",
                group="adductors",
                path=((0.02, 0.17), (0.32, 0.32), (0.66, 0.34)),
                radius=0.15,
                growth=0.05,
            ),
            Muscle(
                name="biceps femoris, long head",
                group="hamstrings",
                path=((-0.42, 0.58), (-0.24, 0.68)),
                radius=0.17,
                shift=(0.10, 0.03),
                growth=-0.01,
            ),
            Muscle(
                name="biceps femoris, short head",
                group="short head",
                path=((-0.22, 0.16), (-0.44, 0.34)),
                radius=0.07,
                shift=(0.04, -0.03),
                growth=-0.05,
            ),
            Muscle(
                name="semitendinosus",
                group="hamstrings",
                path=((0.00, 0.80), (0.14, 0.80)),
                radius=0.15,
                growth=0.01,
            ),
            Muscle(
                name="semimembranosus",
                group="hamstrings",
                path=((0.32, 0.64), (0.56, 0.62)),
                radius=0.13,
                shift=(-0.04, 0.0),
                growth=-0.06,
            ),
        ),
        tubes=(
            Tube(kind="artery", centre=(0.55, -0.27), radii=(0.055, 0.055), shift=(-0.08, -0.10)),
            Tube(kind="vein", centre=(0.61, -0.18), radii=(0.075, 0.065), shift=(-0.08, -0.10)),
            Tube(kind="artery", centre=(0.13, 0.02), radii=(0.030, 0.030)),
            Tube(kind="vein", centre=(0.19, 0.03), radii=(0.035, 0.030)),
            Tube(kind="vein", centre=(1.055, -0.20), radii=(0.032, 0.028), shift=(0.0, -0.10)),
            Tube(kind="nerve", centre=(-0.08, 0.42), radii=(0.085, 0.045), shift=(0.02, 0.03)),
        ),
        bones=(Bone(path=((-0.13, -0.19),), radius=0.215, marrow_share=0.56, ridge=0.16),),
    ),
    size=(53 * MM, 64 * MM),
    fat=(5 * MM, 21 * MM),
    outline=((0.055, 0.0), (0.01, -0.015), (0.0, 0.0)),
    fat_outline=((0.35, 0.08), (-0.10, 0.05)),
    patterns=("healthy", "quadriceps", "hamstrings", "sparing", "patchy"),
)
"""Right or left thigh; the deep fascia is nearly a circle."""
