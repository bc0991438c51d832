"""Notebook: maps as a table of small pictures and key numbers, shown if a result is the last line of a cell."""

import html

import numpy as np

from mrfpipe.evaluation.picture import thumbnails
from mrfpipe.evaluation.region_table import tabulate
from mrfpipe.maps import ParameterMaps
from mrfpipe.quantities import heading_of
from mrfpipe.report.images import shown
from mrfpipe.report.summary import short

_STYLE = "image-rendering: pixelated; width: 150px"


def as_html(maps: ParameterMaps, *, name: str) -> str:
    """Return an HTML table of maps: the middle slice, and mean and 5 to 95 % range of all voxels where a map counts.

    Colours span the search range of the protocol, if the maps state it.
    """
    rows = tabulate(maps, maps.mask.astype(np.int32), {1: name}, scan=name).rows
    pictures = thumbnails(maps)
    lines: dict[str, list[str]] = {key: [] for key in ("", "middle slice", "mean", "5 to 95 %", "mean SD", "voxels")}
    for row in rows[-len(maps) :]:  # the rows for all slices
        factor, unit = shown(maps.parameter(row.map))
        low, mean, high, sd = (short(factor * v) for v in (row.p5, row.mean, row.p95, row.predicted_sd))
        lines[""].append(html.escape(heading_of(row.map, unit)))
        lines["middle slice"].append(f'<img src="{pictures[row.map]}" alt="{html.escape(row.map)}" style="{_STYLE}">')
        lines["mean"].append(mean)
        lines["5 to 95 %"].append(f"{low} to {high}")
        lines["mean SD"].append(sd)
        lines["voxels"].append(f"{row.n:,}")
    if maps.sd is None:
        del lines["mean SD"]
    shape = " x ".join(map(str, maps.mask.shape))
    caption = f"{name}: {shape} (slices, y, x), {maps.mask.sum():,} voxels inside the mask"
    body = "".join(
        f"<tr><th>{title}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for title, cells in lines.items()
    )
    return f"<p>{html.escape(caption)}</p><table>{body}</table>"
