"""Table: the errors of maps for people, and for programs."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict

from mrfpipe.counting import MOST_FAT_FOR_WATER, RULE
from mrfpipe.evaluation.metrics import MapError
from mrfpipe.maps import PARAMETERS

_HEADINGS = ("map", "unit", "RMSE", "bias", "NRMSE", "PSNR/dB", "SSIM", "R2 (voxels)")
_REGIONS = ("R2 (regions)",)
_COUNTS = ("voxels", "missing")
_UNITS = {p.name: p.unit for p in PARAMETERS}
_DECIMALS = {"ms": 1, "Hz": 2, "1": 4}


def format_table(errors: Mapping[str, MapError]) -> str:
    """Lay errors out as a table, one map a row, with a line on what counts; a metric that is not defined is ``-``.

    Parameters
    ----------
    errors
        What `metrics.evaluate` gave.
    """
    n_regions = max((error.n_regions for error in errors.values() if error.n_regions is not None), default=None)
    headings = (*_HEADINGS, *(() if n_regions is None else _REGIONS), *_COUNTS)
    rows = [headings, *(_row(name, error, n_regions is not None) for name, error in errors.items())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(headings))]
    lines = ["  ".join(_align(cell, i, widths[i]) for i, cell in enumerate(row)).rstrip() for row in rows]
    return "\n".join([*lines, "", f"{RULE}; SSIM is over the whole mask.", *_of_regions(n_regions)])


def _of_regions(n_regions: int | None) -> list[str]:
    if n_regions is None:
        return []
    limit = f"of more than {MOST_FAT_FOR_WATER:.0%} fat left out for T1H2O"
    return [f"R2 (regions) is over the means of up to {n_regions} regions, a slice each, those {limit}."]


def _row(name: str, error: MapError, with_regions: bool) -> tuple[str, ...]:
    unit = _UNITS[name]
    decimals = _DECIMALS[unit]
    return (
        name,
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


def as_json(errors: Mapping[str, MapError]) -> str:
    """Write errors as JSON, one object a map; a metric that is not defined, or infinite as the PSNR can be, is null."""

    def plain(value: object) -> object:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    content = {
        name: {"unit": _UNITS[name]} | {key: plain(value) for key, value in asdict(error).items()}
        for name, error in errors.items()
    }
    return json.dumps(content, indent=2, allow_nan=False)
