"""Published results of Balsiger et al., Med Image Anal 64:101741 (2020), Tables 2 and 4: networks against matching."""

import tomllib
from importlib import resources

from mrfpipe.phantom.truth import PARAMETERS

METRICS = ("NRMSE", "PSNR", "SSIM", "R2")
"""Metrics of Table 2, in its order; PSNR in dB."""
NETWORKS = ("proposed", "hoppe", "cohen", "oksuz", "fang")
"""Columns of Table 2, in its order, by their names in `mrfpipe.learning.methods.METHODS`."""

Figure = tuple[float, float | None]
"""Mean and standard deviation over subjects; R2 is a single number over the regions of all subjects."""

_TABLE = tomllib.loads((resources.files("mrfpipe.studies") / "published.toml").read_text(encoding="utf-8"))
N_REGIONS: dict[str, int] = _TABLE["n_regions"]
"""Number of points in Fig. 4 by map: regions of interest in all slices of 50 patients."""
LIMITS: dict[str, str] = _TABLE["limits"]
"""Limits of agreement of Fig. 4 by map, as given in section 3.1."""


def published(method: str, metric: str, parameter: str) -> Figure | None:
    """Look up a number of Table 2, for a map by its name in files; None for a method that is not in the table."""
    if method not in NETWORKS:
        return None
    mean, *spread = _TABLE["seen"][metric][_line(parameter)][NETWORKS.index(method)]
    return mean, spread[0] if spread else None


def published_unseen(method: str, metric: str, parameter: str) -> Figure | None:
    """Look up a number of Table 4, regions unseen in training; None unless it is R2 of one of its three networks."""
    if method not in _TABLE["unseen"] or metric != "R2":
        return None
    return _TABLE["unseen"][method][_line(parameter)], None


def _line(parameter: str) -> int:
    return [p.name for p in PARAMETERS].index(parameter)
