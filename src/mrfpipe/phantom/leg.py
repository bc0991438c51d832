"""The leg below the knee, where the calf is thickest."""

from mrfpipe.phantom.region import Region
from mrfpipe.phantom.template import MM, Bone, Muscle, Template, Tube

LEG = Region(
    name="leg",
    template=Template(
        muscles=(
            Muscle(
                name="tibialis anterior",
                group="anterior leg",
                path=((0.00, -0.78), (-0.14, -0.58), (-0.16, -0.42)),
                radius=0.17,
                growth=-0.01,
            ),
            Muscle(
                name="extensor digitorum longus",
                group="anterior leg",
                path=((-0.42, -0.66), (-0.46, -0.32)),
                radius=0.10,
            ),
            Muscle(
                name="extensor hallucis longus", group="anterior leg", path=((-0.30, -0.24),), radius=0.06, growth=-0.03
            ),
            Muscle(
                name="peroneus longus and brevis",
                group="peronei",
                path=((-0.72, -0.42), (-0.80, -0.08), (-0.72, 0.10)),
                radius=0.13,
            ),
            Muscle(
                name="tibialis posterior",
                group="deep posterior",
                path=((-0.02, -0.06), (-0.18, -0.02), (-0.24, 0.04)),
                radius=0.14,
                growth=0.01,
            ),
            Muscle(
                name="flexor digitorum longus",
                group="deep posterior",
                path=((0.30, -0.02), (0.54, -0.08)),
                radius=0.10,
                growth=-0.03,
            ),
            Muscle(
                name="flexor hallucis longus",
                group="deep posterior",
                path=((-0.40, 0.24), (-0.46, 0.28)),
                radius=0.11,
                shift=(-0.04, 0.0),
                growth=-0.05,
            ),
            Muscle(
                name="soleus",
                group="soleus",
                path=((-0.74, 0.34), (-0.40, 0.48), (0.02, 0.38), (0.44, 0.34), (0.76, 0.10)),
                radius=0.15,
                growth=-0.02,
            ),
            Muscle(
                name="gastrocnemius, medial head",
                group="medial gastrocnemius",
                path=((0.82, 0.36), (0.62, 0.64), (0.26, 0.80)),
                radius=0.17,
                growth=0.05,
            ),
            Muscle(
                name="gastrocnemius, lateral head",
                group="lateral gastrocnemius",
                path=((-0.70, 0.62), (-0.42, 0.78), (-0.10, 0.84)),
                radius=0.13,
                growth=0.05,
            ),
        ),
        tubes=(
            Tube(kind="artery", centre=(-0.22, -0.19), radii=(0.025, 0.025)),
            Tube(kind="vein", centre=(-0.16, -0.17), radii=(0.028, 0.025)),
            Tube(kind="artery", centre=(0.10, 0.16), radii=(0.034, 0.034)),
            Tube(kind="vein", centre=(0.17, 0.17), radii=(0.042, 0.032)),
            Tube(kind="nerve", centre=(0.02, 0.18), radii=(0.050, 0.034)),
            Tube(kind="artery", centre=(-0.30, 0.18), radii=(0.025, 0.025)),
            Tube(kind="vein", centre=(-0.24, 0.20), radii=(0.034, 0.028)),
            Tube(kind="vein", centre=(1.060, -0.22), radii=(0.036, 0.032), shift=(0.0, 0.10)),
            Tube(kind="vein", centre=(0.02, 1.060), radii=(0.032, 0.028)),
        ),
        bones=(
            Bone(
                path=((0.24, -0.74), (0.26, -0.38), (0.58, -0.35), (0.24, -0.74)),
                radius=0.145,
                marrow_share=0.70,
            ),
            Bone(path=((-0.50, -0.01),), radius=0.115, marrow_share=0.50, ridge=0.15, ridge_angle=-0.6),
        ),
    ),
    size=(44 * MM, 55 * MM),
    fat=(4 * MM, 14 * MM),
    outline=((-0.03, 0.0), (0.0, 0.02), (0.0, 0.0)),
    fat_outline=((-0.05, 0.40), (-0.10, 0.05)),
    taper=(0.02, 0.12),
)
"""Right or left leg; the front of the tibia lies directly below the skin."""
