"""What Balsiger et al., Med Image Anal 64:101741 (2020), print in Tables 2 and 4: their networks against matching."""

import tomllib
from importlib import resources

from mrfpipe.phantom.truth import PARAMETERS

METRICS = ("NRMSE", "PSNR", "SSIM", "R2")
"""Metrics of Table 2, in its order; PSNR in dB."""
NETWORKS = ("proposed", "hoppe", "cohen", "oksuz", "fang")
"""Columns of Table 2, in its order, by their names in `mrfpipe.learning.methods.METHODS`."""

Figure = tuple[float, float | None]
"""Mean and standard deviation over subjects; R2 is one number over regions of all of them."""

_TABLE = tomllib.loads((resources.files("mrfpipe.studies") / "published.toml").read_text(encoding="utf-8"))
N_REGIONS: dict[str, int] = _TABLE["n_regions"]
"""Points of Fig. 4, regions of interest times slices of 50 patients, by map."""
LIMITS: dict[str, str] = _TABLE["limits"]
"""Limits of agreement of Fig. 4 by map as section 3.1 has them."""


def published(method: str, metric: str, parameter: str) -> Figure | None:
    """Look up a figure of Table 2, of a map by its name in files; None for a method that it does not have."""
    if method not in NETWORKS:
        return None
    mean, *spread = _TABLE["seen"][metric][_line(parameter)][NETWORKS.index(method)]
    return mean, spread[0] if spread else None


def published_unseen(method: str, metric: str, parameter: str) -> Figure | None:
    """Look up a figure of Table 4, on regions unseen in training, which has R2 of three networks; None for others."""
    if method not in _TABLE["unseen"] or metric != "R2":
        return None
    return _TABLE["unseen"][method][_line(parameter)], None


def _line(parameter: str) -> int:
    return [p.name for p in PARAMETERS].index(parameter)
