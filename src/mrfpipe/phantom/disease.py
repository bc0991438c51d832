"""A person's disease: how affected each muscle is, and what each part of a limb is made of because of it."""

from dataclasses import dataclass

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.phantom.template import MM, Template
from mrfpipe.phantom.waves import Waves, random_waves

SUSCEPTIBILITY = {
    "healthy": {},
    "quadriceps": {"quadriceps": 1.0, "hamstrings": 0.45, "adductors": 0.35, "sartorius": 0.4, "short head": 0.4},
    "hamstrings": {"hamstrings": 1.0, "adductors": 0.7, "short head": 0.8, "quadriceps": 0.35, "sartorius": 0.3},
    "sparing": {"quadriceps": 0.85, "adductors": 0.8, "hamstrings": 0.75, "short head": 0.9, "sartorius": 0.1},
    "patchy": {},
}
"""Disease patterns: how strongly each muscle group is affected. In the patchy pattern chance alone decides."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MuscleState:
    """What one muscle of a limb is made of."""

    ff: float
    """Typical fat fraction."""
    t1w: float
    """Typical T1 of its water in s."""
    oedema: float
    """By how much oedema raises that T1 at the most, in s; zero for none."""
    texture: float
    """Spread of the fat fraction's logit."""
    streaks: Waves
    """Fine texture, along the muscle's own direction."""
    patches: Waves
    """Coarse texture."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LimbTissue:
    """What one limb is made of."""

    muscles: tuple[MuscleState, ...]
    """In the order of the template."""
    strands: Waves
    """Where connective tissue crosses the subcutaneous fat."""
    water: Waves
    """Slow variation of T1 of water outside muscles."""
    fat: Waves
    """Slow variation of T1 of fat."""
    density: Waves
    """Slow variation of proton density."""


def draw_severity(rng: np.random.Generator, template: Template) -> Double:
    """Draw how affected each muscle of a person is, from 0 (healthy) to 1 (replaced by fat). Shape `(muscles)`."""
    pattern = rng.choice(list(SUSCEPTIBILITY))
    if pattern == "healthy":
        return np.abs(rng.normal(0.0, 0.03, len(template.muscles)))
    if pattern == "patchy":
        return np.asarray(rng.beta(0.5, 0.8, len(template.muscles)))
    weights = np.array([SUSCEPTIBILITY[pattern].get(m.group, 0.15) for m in template.muscles])
    severity: Double = np.clip(rng.uniform(0.35, 1.0) * weights + rng.normal(0.0, 0.10, weights.size), 0.0, 1.0)
    return severity


def draw_tissue(rng: np.random.Generator, severity: Double) -> LimbTissue:
    """Draw one limb's tissue given how affected each of its muscles is."""
    return LimbTissue(
        muscles=tuple(_draw_muscle(rng, s) for s in severity),
        strands=random_waves(rng, 10 * MM, 40 * MM),
        water=random_waves(rng, 30 * MM, 90 * MM),
        fat=random_waves(rng, 50 * MM, 150 * MM),
        density=random_waves(rng, 40 * MM, 120 * MM),
    )


def _draw_muscle(rng: np.random.Generator, severity: float) -> MuscleState:
    affected = severity * (1.0 - severity) * 4.0
    return MuscleState(
        ff=0.02 + rng.uniform(0.0, 0.05) + 0.84 * severity**1.3,
        t1w=float(np.clip(rng.normal(1.27, 0.07) + 0.10 * affected - 0.08 * severity, 1.1, 1.5)),
        oedema=float(rng.uniform(0.12, 0.42)) if rng.random() < 0.10 + 0.35 * affected else 0.0,
        texture=0.30 + 0.40 * affected,
        streaks=random_waves(rng, 3.5 * MM, 12 * MM, n_waves=40, direction=rng.uniform(0.0, np.pi), stretch=1.7),
        patches=random_waves(rng, 12 * MM, 45 * MM),
    )
