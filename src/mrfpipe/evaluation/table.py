"""Table: the errors of maps as text for people, and as JSON for programs."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from mrfpipe.evaluation.metrics import MapError
from mrfpipe.quantities import Parameter, counting_rule

_HEADINGS = ("map", "unit", "RMSE", "bias", "NRMSE", "PSNR/dB", "SSIM", "R2 (voxels)")
_REGIONS = ("R2 (regions)",)
_COUNTS = ("voxels", "missing")
_DECIMALS = {"ms": 1, "Hz": 2, "1": 4}


def format_table(errors: Mapping[str, MapError], parameters: Sequence[Parameter]) -> str:
    """Format the errors from `metrics.evaluate` as a table with one row per map, and a line on which voxels count.

    Undefined metrics are shown as ``-``.
    """
    n_regions = max((error.n_regions for error in errors.values() if error.n_regions is not None), default=None)
    headings = (*_HEADINGS, *(() if n_regions is None else _REGIONS), *_COUNTS)
    rows = [headings, *(_row(p, errors[p.name], n_regions is not None) for p in parameters)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(headings))]
    lines = ["  ".join(_align(cell, i, widths[i]) for i, cell in enumerate(row)).rstrip() for row in rows]
    rule = "; ".join([text for text in (counting_rule(parameters),) if text] + ["SSIM is over the whole mask."])
    return "\n".join([*lines, "", rule, *_of_regions(n_regions, parameters)])


def _of_regions(n_regions: int | None, parameters: Sequence[Parameter]) -> list[str]:
    if n_regions is None:
        return []
    left_out = [
        f", those whose mean {p.counts.parameter} is above {p.counts.text.split()[-1]} left out for {p.name}"
        for p in parameters
        if p.counts is not None and p.counts.sense == "<="
    ]
    return [f"R2 (regions) is over the means of up to {n_regions} regions, a slice each{''.join(left_out)}."]


def _row(parameter: Parameter, error: MapError, with_regions: bool) -> tuple[str, ...]:
    unit = parameter.unit
    decimals = _DECIMALS[unit]
    return (
        parameter.name,
        "" if unit == "1" else unit,
        _number(error.rmse, decimals),
        _number(error.bias, decimals, sign="+"),
        _number(error.nrmse, 4),
        _number(error.psnr, 1),
        _number(error.ssim, 3),
        _number(error.r2_voxels, 3),
        *((_number(error.r2_regions, 3),) if with_regions else ()),
        str(error.n_voxels),
        str(error.n_missing),
    )


def _number(value: float, decimals: int, sign: str = "-") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.{decimals}f}"


def _align(cell: str, column: int, width: int) -> str:
    return cell.ljust(width) if column < 2 else cell.rjust(width)


def plain(value: object) -> object:
    """Return a value for JSON, which has no NaN or infinity: these become None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_json(errors: Mapping[str, MapError], parameters: Sequence[Parameter]) -> str:
    """Write errors as JSON, one object per map; undefined metrics, and an infinite PSNR, are null."""
    content = {
        p.name: {"unit": p.unit} | {key: plain(value) for key, value in asdict(errors[p.name]).items()}
        for p in parameters
    }
    return json.dumps(content, indent=2, allow_nan=False)
