"""What Balsiger et al., Med Image Anal 64:101741 (2020), print in Tables 2 and 4: their networks against matching."""

from mrfpipe.phantom.truth import PARAMETERS

METRICS = ("NRMSE", "PSNR", "SSIM", "R2")
"""Metrics of Table 2, in its order; PSNR in dB."""
NETWORKS = ("proposed", "hoppe", "cohen", "oksuz", "fang")
"""Columns of Table 2, in its order, by their names in `mrfpipe.learning.methods.METHODS`."""

Figure = tuple[float, float | None]
"""Mean and standard deviation over subjects; R2 is one number over regions of all of them."""

_SEEN: dict[str, tuple[tuple[Figure, ...], ...]] = {
    "NRMSE": (
        ((0.027, 0.004), (0.069, 0.007), (0.069, 0.006), (0.063, 0.007), (0.030, 0.004)),
        ((0.048, 0.011), (0.097, 0.021), (0.100, 0.023), (0.090, 0.018), (0.054, 0.012)),
        ((0.212, 0.076), (0.290, 0.095), (0.294, 0.096), (0.287, 0.094), (0.217, 0.077)),
        ((0.027, 0.008), (0.062, 0.013), (0.062, 0.009), (0.056, 0.008), (0.030, 0.007)),
        ((0.056, 0.009), (0.107, 0.019), (0.117, 0.020), (0.107, 0.018), (0.062, 0.010)),
    ),
    "PSNR": (
        ((31.6, 1.04), (23.3, 0.95), (23.4, 0.78), (24.1, 0.93), (30.7, 1.02)),
        ((28.6, 1.75), (22.4, 1.71), (22.2, 1.76), (23.1, 1.54), (27.6, 1.69)),
        ((22.7, 1.85), (19.9, 1.35), (19.8, 1.30), (20.0, 1.38), (22.5, 1.78)),
        ((25.1, 2.11), (17.7, 1.96), (17.6, 1.62), (18.5, 1.63), (24.1, 2.02)),
        ((27.8, 1.06), (22.1, 1.09), (21.3, 0.96), (22.2, 1.12), (26.9, 1.05)),
    ),
    "SSIM": (
        ((0.984, 0.011), (0.933, 0.039), (0.934, 0.038), (0.939, 0.036), (0.980, 0.014)),
        ((0.957, 0.026), (0.867, 0.068), (0.867, 0.068), (0.872, 0.066), (0.954, 0.026)),
        ((0.940, 0.028), (0.866, 0.060), (0.867, 0.058), (0.869, 0.057), (0.937, 0.030)),
        ((0.933, 0.030), (0.824, 0.075), (0.819, 0.071), (0.834, 0.069), (0.919, 0.035)),
        ((0.965, 0.018), (0.894, 0.052), (0.893, 0.052), (0.895, 0.051), (0.959, 0.021)),
    ),
    "R2": (
        ((1.000, None), (0.991, None), (0.993, None), (0.994, None), (0.999, None)),
        ((0.919, None), (0.552, None), (0.381, None), (0.648, None), (0.911, None)),
        ((0.927, None), (0.693, None), (0.541, None), (0.726, None), (0.908, None)),
        ((0.995, None), (0.901, None), (0.901, None), (0.930, None), (0.992, None)),
        ((0.988, None), (0.865, None), (0.785, None), (0.897, None), (0.979, None)),
    ),
}
"""By metric: a line a map in the order of `PARAMETERS`, a figure a network in the order of `NETWORKS`."""
_UNSEEN = {
    "proposed": (0.978, 0.862, 0.804, 0.991, 0.989),
    "oksuz": (0.746, 0.409, 0.420, 0.862, 0.760),
    "fang": (0.973, 0.758, 0.787, 0.970, 0.980),
}
"""Table 4: R2 on regions that no network has seen, by network, in the order of `PARAMETERS`."""
N_REGIONS = {"FF": 4392, "T1H2O": 3943, "T1fat": 4392, "df": 4392, "B1": 4392}
"""Points of Fig. 4, regions of interest times slices of 50 patients, by map."""

LIMITS = {"FF": "< ± 0.05", "T1H2O": "about ± 60 ms", "T1fat": "< ± 25 ms", "df": "< ± 10 Hz", "B1": "< ± 0.05"}
"""Limits of agreement of Fig. 4 by map as section 3.1 has them: below an increment of the grid, but for T1H2O."""


def published(method: str, metric: str, parameter: str) -> Figure | None:
    """Look up a figure of Table 2, of a map by its name in files; None for a method that it does not have."""
    if method not in NETWORKS:
        return None
    line = [p.name for p in PARAMETERS].index(parameter)
    return _SEEN[metric][line][NETWORKS.index(method)]


def published_unseen(method: str, metric: str, parameter: str) -> Figure | None:
    """Look up a figure of Table 4, on regions unseen in training, which has R2 of three networks; None for others."""
    if method not in _UNSEEN or metric != "R2":
        return None
    return _UNSEEN[method][[p.name for p in PARAMETERS].index(parameter)], None
