"""Fingerprints: what every voxel emitted and what it was matched with, small enough for a page."""

from typing import Any

from mrfpipe.arrays import Bool, check_shape
from mrfpipe.files.fingerprints import STEPS, parts, rounded
from mrfpipe.maps import Fingerprints
from mrfpipe.report.encoding import pack


def encode_fingerprints(fingerprints: Fingerprints, mask: Bool) -> dict[str, Any]:
    """Prepare the fingerprints of the mask's voxels for a page, rounded as `mrfpipe.files.fingerprints` does.

    The steps' worth is left out: curves are drawn to fill the plot.

    ValueError if there are not as many as voxels in the mask.
    """
    check_shape("measured", fingerprints.measured, f"{int(mask.sum())} rank")
    steps = rounded(fingerprints)
    n_frames, rank = fingerprints.basis.shape
    return {
        "frames": n_frames,
        "rank": rank,
        "steps": STEPS,
        "basis": pack(parts(fingerprints.basis)),
        "measured": pack(steps.measured.T),
        "residual": pack(steps.residual.T),
    }
