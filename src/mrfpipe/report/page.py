"""Page: ``report.html``, a whole result in one file that opens in a browser without a network."""

import html
import json
import math
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from mrfpipe.appearance import side_letters
from mrfpipe.arrays import Bool, Int, check_shape
from mrfpipe.errors import MismatchError
from mrfpipe.evaluation.comparison import Comparison, compare
from mrfpipe.evaluation.table import plain
from mrfpipe.files.atomic import writing
from mrfpipe.files.fingerprints import STEPS, parts, rounded
from mrfpipe.files.nifti import label_header
from mrfpipe.files.provenance import Provenance
from mrfpipe.maps import Fingerprints, ParameterMaps
from mrfpipe.quantities import counting_rule
from mrfpipe.report.encoding import pack
from mrfpipe.report.findings import findings
from mrfpipe.report.images import colour_tables, encode_images, shown
from mrfpipe.report.methods import methods
from mrfpipe.report.quality import account, warnings_of

REPORT_FILE = "report.html"
RESULT_AND_TRUTH = ("result", "truth")
"""Default names of the two sets of maps."""
_SCRIPTS = (
    "values",
    "nifti",
    "plots",
    "viewer",
    "pointer",
    "regions",
    "fingerprint",
    "agreement",
    "rating",
    "quality",
    "page",
)
"""Parts of the page's script; the last one starts it."""
MOST_POINTS = 3000
"""Largest number of points in a plot; more would only blacken it."""


def write_report(path: str | Path, page: str) -> None:
    """Write a page from `render`, over any existing file; ResourceError if it cannot be written to the disk."""
    with writing(path, force=True) as partial:
        partial.write_text(page, encoding="utf-8")


def render(
    maps: ParameterMaps,
    provenance: Provenance,
    *,
    title: str,
    truth: ParameterMaps | None = None,
    names: tuple[str, str] = RESULT_AND_TRUTH,
    fingerprints: Fingerprints | None = None,
    labels: Int | None = None,
    region_names: Mapping[int, str] = MappingProxyType({}),
    coils: Path | None = None,
) -> str:
    """Render a result as one HTML page.

    Parameters
    ----------
    maps
        The maps to show.
    provenance
        How the maps were made.
    title
        Title of the page.
    truth
        The true maps, if known: the page also shows them, the difference and the agreement.
    names
        Names of maps and truth.
    fingerprints
        Signals of the voxels inside the mask, shown when a voxel is selected.
    labels
        Labels of initial regions, 0 for none. Shape `(slices, y, x)`.
    region_names
        Names of regions by label.
    coils
        A picture (PNG) of the coil sensitivity maps.

    Raises
    ------
    MismatchError
        If truth or labels differ from the maps in shape.
    ValueError
        If the fingerprints do not fit the maps.
    """
    if truth is not None and truth.mask.shape != maps.mask.shape:
        raise MismatchError(f"The maps have shape {maps.mask.shape}, the reference {truth.mask.shape}.")
    if labels is not None and labels.shape != maps.mask.shape:
        raise MismatchError(f"The maps have shape {maps.mask.shape}, the labels {labels.shape}.")
    images = encode_images(maps, truth)
    spacing = np.linalg.norm(maps.affine[:3, :2], axis=0)
    data = {
        "title": title,
        "id": provenance.result_id if names == RESULT_AND_TRUTH else None,  # a comparison cannot be rated
        "names": names,
        "shape": maps.mask.shape,
        "spacing": [float(spacing[1] or 1), float(spacing[0] or 1)],
        "letters": side_letters(maps.affine),
        "mask": pack(maps.mask),
        "truthMask": None if truth is None else pack(truth.mask),
        "images": images,
        "colours": colour_tables(images),
        "fingerprints": None if fingerprints is None else encode_fingerprints(fingerprints, maps.mask),
        "header": b64encode(label_header(maps)).decode("ascii"),
        "labels": None if labels is None else encode_labels(labels, region_names),
        "rule": counting_rule(maps.parameters),
        "comparisons": [] if truth is None else [_encoded(one, maps) for one in compare(maps, truth, labels)],
        "coils": None if coils is None else f"data:image/png;base64,{b64encode(coils.read_bytes()).decode()}",
        "account": account(provenance),
        "findings": findings(maps, provenance),
        "methods": methods(maps, provenance),
        "warnings": warnings_of(maps, provenance),
    }
    return fill("page", js=script(), title=html.escape(title), data=as_script(data))


def fill(page: str, **texts: str) -> str:
    """Fill texts and the style sheet of a page into its template.

    All placeholders are replaced in one pass, so that text from files is never taken for a placeholder.
    """
    filled = {"css": resource(f"{page}.css"), **texts}
    return re.sub(r"\{\{(\w+)\}\}", lambda place: filled[place[1]], resource(f"{page}.html"))


def script() -> str:
    """Return the page's script, joined from its parts, which share one scope."""
    return "\n".join(resource(f"{name}.js") for name in _SCRIPTS)


def as_script(data: dict[str, Any]) -> str:
    """Write JSON that no HTML parser takes for markup, whatever texts it contains."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII: json escapes all other characters
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def encode_labels(labels: Int, names: Mapping[int, str]) -> dict[str, Any]:
    """Encode regions for a page: their labels and names, and the label of every voxel."""
    numbers: list[int] = np.unique(labels[labels != 0]).tolist()
    named = [names.get(number, f"region {number}") for number in numbers]
    return {"numbers": numbers, "names": named, "voxels": pack(labels.astype(np.int32))}


def encode_fingerprints(fingerprints: Fingerprints, mask: Bool) -> dict[str, Any]:
    """Encode the fingerprints of the voxels in the mask for a page, rounded as in `mrfpipe.files.fingerprints`.

    The size of the steps is left out, because curves are scaled to fill the plot.

    ValueError if their number differs from the number of voxels in the mask.
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


def encode_comparison(comparison: Comparison) -> dict[str, Any]:
    """Encode the comparison of a map for a page; if there are too many points, every nth one."""
    every = max(1, math.ceil(comparison.estimate.size / MOST_POINTS))
    return {
        "name": comparison.name,
        "unit": "" if comparison.unit == "1" else comparison.unit,
        "errors": {name: plain(value) for name, value in comparison.errors.items()},
        "points": comparison.points,
        "n": int(comparison.estimate.size),
        "estimate": pack(comparison.estimate[::every].astype(np.float32)),
        "reference": pack(comparison.reference[::every].astype(np.float32)),
        "lines": {name: plain(value) for name, value in comparison.lines.items()},
    }


def _encoded(comparison: Comparison, maps: ParameterMaps) -> dict[str, Any]:
    """Encode the comparison of a map in the unit shown on the page."""
    factor, unit = shown(maps.parameter(comparison.name))
    in_unit = ("RMSE", "bias", "limits of agreement, lower", "upper", "lower", "intercept")
    errors, lines = (
        {name: factor * value if name in in_unit else value for name, value in of.items()}
        for of in (comparison.errors, comparison.lines)
    )
    estimate, reference = factor * comparison.estimate, factor * comparison.reference
    scaled = replace(comparison, unit=unit, errors=errors, lines=lines, estimate=estimate, reference=reference)
    return encode_comparison(scaled)


def resource(name: str) -> str:
    """Read a file from which pages are made."""
    return (files("mrfpipe.report") / name).read_text(encoding="utf-8")
