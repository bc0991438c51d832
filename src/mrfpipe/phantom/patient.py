"""Traits of a patient, the manifestation of the disease and the build, given disease, age and sex."""

import numpy as np

from mrfpipe.phantom.disease import Traits

OTHER_PATTERNS = ("FSHD", "FSHD", "patchy", "patchy", "healthy")
"""Patterns of the group of other diseases."""
INFLAMMATION = {"BMD": 0.05, "DMD": 0.12, "IBM": 0.28, "other": 0.05}
STREAKS = {"BMD": 0.6, "DMD": 0.8, "IBM": 0.35, "other": 0.45}
YEARS_OF_GROWTH = 18.0


def draw_traits(rng: np.random.Generator, disease: str, age: float, *, man: bool) -> Traits:
    """Draw a patient's traits.

    The dystrophies progress with age: Duchenne's (DMD) within years, Becker's (BMD) within decades. Boys with DMD
    are small, with more fat than usual at their age; women have more subcutaneous fat than men.

    Disease and age are those of a `mrfpipe.phantom.cohort.Subject`.
    """
    spread, grown = rng.normal(0.0, 1.0), min(1.0, 0.70 + 0.30 * (age - 6.0) / (YEARS_OF_GROWTH - 6.0))
    stage = {
        "BMD": 0.20 + 0.011 * (age - 18.0) + 0.22 * spread,
        "DMD": 0.35 + 0.075 * (age - 8.0) + 0.15 * spread,
        "IBM": 0.60 + 0.25 * spread,
        "other": 0.50 + 0.28 * spread,
    }[disease]
    boy = disease == "DMD"
    return Traits(
        pattern=str(rng.choice(OTHER_PATTERNS)) if disease == "other" else disease,
        stage=float(np.clip(stage, 0.05, 1.0)),
        inflammation=INFLAMMATION[disease],
        streaks=float(np.clip(STREAKS[disease] + rng.normal(0.0, 0.12), 0.0, 1.0)),
        growth=float(grown * (1.0 if man else 0.94) * np.exp(rng.normal(0.0, 0.03))),
        fatness=(1.0 if man else 1.4) * (1.3 if boy else 1.0),
    )
