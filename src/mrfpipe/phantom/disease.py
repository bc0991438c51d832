"""A person's disease: how much each muscle is affected, and the resulting tissue of each part of a limb."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrfpipe.arrays import Double
from mrfpipe.phantom.tables import load_table
from mrfpipe.phantom.template import MM, Template
from mrfpipe.phantom.waves import Waves, random_waves

_TABLE = load_table("tables/diseases")
SUSCEPTIBILITY: dict[str, dict[str, float]] = _TABLE["patterns"] | {
    disease: {group: by[i] for group, by in _TABLE["groups"].items()} for i, disease in enumerate(_TABLE["diseases"])
}
"""Disease patterns: how strongly each muscle group is affected. In the patchy pattern, this is random."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """Traits of a person from which the anatomy is drawn."""

    pattern: str
    """One of `SUSCEPTIBILITY`."""
    stage: float
    """Stage of the disease, from 0 (onset) to 1 (end stage: the most affected muscles are fat)."""
    inflammation: float = 0.0
    """Probability of oedema in a muscle, added to that which depends on its severity."""
    streaks: float = 0.5
    """Whether fat lies in streaks along the muscle (1) or in patches (0)."""
    growth: float = 1.0
    """Size relative to an adult."""
    fatness: float = 1.0
    """Thickness of the subcutaneous fat relative to the usual."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MuscleState:
    """Tissue of one muscle of a limb."""

    ff: float
    """Typical fat fraction."""
    t1w: float
    """Typical T1 of its water in s."""
    oedema: float
    """Largest increase of that T1 by oedema, in s; zero for no oedema."""
    streakiness: float
    """Spread of the fat fraction's logit by streaks."""
    patchiness: float
    """Spread of the fat fraction's logit by patches."""
    streaks: Waves
    """Fine texture, along the muscle's own direction."""
    patches: Waves
    """Coarse texture."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LimbTissue:
    """Tissue of one limb."""

    muscles: tuple[MuscleState, ...]
    """In the order of the template."""
    strands: Waves
    """Where connective tissue crosses the subcutaneous fat."""
    water: Waves
    """Slow variation of T1 of water and fat fraction outside muscles, and of oedema within."""
    fat: Waves
    """Slow variation of T1 of fat."""
    density: Waves
    """Slow variation of proton density."""


def draw_severity(
    rng: np.random.Generator, template: Template, patterns: Sequence[str], traits: Traits | None = None
) -> tuple[Double, Traits]:
    """Draw how affected each muscle of a person is, from 0 (healthy) to 1 (replaced by fat). Shape `(muscles)`.

    Without traits a pattern and a stage are drawn too; the traits are returned as well.
    """
    n_muscles = len(template.muscles)
    if traits is None:
        pattern = str(rng.choice(patterns))
        random_stage = pattern not in ("healthy", "patchy")
        traits = Traits(pattern=pattern, stage=rng.uniform(0.35, 1.0) if random_stage else 1.0)
    if traits.pattern == "healthy":
        return np.abs(rng.normal(0.0, 0.03, n_muscles)), traits
    if traits.pattern == "patchy":
        return np.asarray(traits.stage * rng.beta(0.5, 0.8, n_muscles)), traits
    weights = np.array([SUSCEPTIBILITY[traits.pattern].get(m.group, 0.15) for m in template.muscles])
    severity: Double = np.clip(traits.stage * weights + rng.normal(0.0, 0.10, weights.size), 0.0, 1.0)
    return severity, traits


def draw_tissue(rng: np.random.Generator, severity: Double, traits: Traits) -> LimbTissue:
    """Draw one limb's tissue for a given severity in each of its muscles."""
    return LimbTissue(
        muscles=tuple(_draw_muscle(rng, s, traits) for s in severity),
        strands=random_waves(rng, 10 * MM, 40 * MM),
        water=random_waves(rng, 30 * MM, 90 * MM),
        fat=random_waves(rng, 50 * MM, 150 * MM),
        density=random_waves(rng, 40 * MM, 120 * MM),
    )


def _draw_muscle(rng: np.random.Generator, severity: float, traits: Traits) -> MuscleState:
    affected = severity * (1.0 - severity) * 4.0
    texture = 0.30 + 0.40 * affected
    inflamed = 0.10 + 0.35 * affected + traits.inflammation
    return MuscleState(
        ff=0.02 + rng.uniform(0.0, 0.05) + 0.84 * severity**1.3,
        t1w=float(np.clip(rng.normal(1.27, 0.07) + 0.10 * affected - 0.08 * severity, 1.1, 1.5)),
        oedema=float(rng.uniform(0.12, 0.42)) if rng.random() < inflamed else 0.0,
        streakiness=texture * (0.25 + 0.6 * traits.streaks),
        patchiness=texture * (0.95 - 0.6 * traits.streaks),
        streaks=random_waves(rng, 3.5 * MM, 12 * MM, n_waves=40, direction=rng.uniform(0.0, np.pi), stretch=1.7),
        patches=random_waves(rng, 12 * MM, 45 * MM),
    )
