"""Panels: images in rows and columns with their colour bars, drawn with Pillow.

A voxel is a square of whole pixels, so that it is not blended with its neighbours. Matplotlib axes would look the same,
but drawing fifteen of them takes longer than matching a slice.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mrfpipe.appearance import Window, colours_of

GREY = 158
"""Brightness of voxels outside the mask; no colour map passes through this grey."""
_WHITE, _BLACK = 255, (0, 0, 0)
_PANEL = 400
"""Width of a panel in pixels, approximately, as a voxel has whole pixels. The sizes below are in pixels, too."""
_GAP = 48
"""Space between columns, and at the edges of the picture."""
_LABEL = 32
"""Space for the name of a row."""
_HEADING = 44
"""Space for the title of a panel, and of the picture."""
_BAR = 14
"""Height of a colour bar, and its distance from the panel above."""
_TICK = 5
"""Length of a tick of a colour bar."""
_TICKS = 52
"""Space for the numbers below a colour bar, and the distance from the next panel."""
_LARGE, SMALL = 23, 17
"""Font sizes of titles and of numbers."""
_TICK_DISTANCE = 75
"""Smallest distance between the ticks of a colour bar."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """An image, and how it is shown."""

    title: str
    """Title above the image."""
    image: npt.NDArray[np.floating[Any]]
    """Its values, NaN outside the mask. Shape `(y, x)`."""
    colours: str
    """Name of the colour map."""
    window: Window
    """Values of the first and the last colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Positions of panels of one size in a picture, in pixels from its upper left corner."""

    zoom: int
    """Pixels along a side of a voxel."""
    columns: tuple[int, ...]
    """Left edge of every column."""
    rows: tuple[int, ...]
    """Upper edge of every row."""
    size: tuple[int, int]
    """Height and width of the picture."""


def places_of(rows: Mapping[str, Sequence[Panel]]) -> Places:
    """Return the positions of the rows of panels in `draw_panels`."""
    panels = list(rows.values())
    n_y, n_x = panels[0][0].image.shape
    zoom = max(1, round(_PANEL / max(n_x, n_y / 2)))
    step, y, tops = zoom * n_x + _GAP, _HEADING, list[int]()
    for number in range(len(panels)):
        y += _HEADING * _is_headed(panels, number)
        tops.append(y)
        y += zoom * n_y + 2 * _BAR + _TICKS
    columns = tuple(_LABEL + _GAP + step * i for i in range(max(map(len, panels))))
    return Places(zoom=zoom, columns=columns, rows=tuple(tops), size=(y, columns[-1] + step))


def _is_headed(rows: list[Sequence[Panel]], number: int) -> bool:
    """Return whether a row needs titles, because they differ from those of the row above."""
    above = rows[number - 1] if number else []
    return [p.title for p in above] != [p.title for p in rows[number]]


def draw_panels(rows: Mapping[str, Sequence[Panel]], *, title: str, letters: Mapping[str, str]) -> Image.Image:
    """Draw rows of panels of one size, with the name of each row on the left.

    The first panel has letters at its left and upper edges. A row with the same titles as the row above has none.
    """
    places, panels = places_of(rows), list(rows.values())
    canvas = np.full((*places.size, 3), _WHITE, np.uint8)
    n_y, n_x = (places.zoom * n for n in panels[0][0].image.shape)
    corners = [(p, x, y) for row, y in zip(panels, places.rows, strict=True) for p, x in zip(row, places.columns)]  # noqa: B905 - a row may be shorter
    for panel, x, y in corners:
        canvas[y : y + n_y, x : x + n_x] = coloured(panel).repeat(places.zoom, 0).repeat(places.zoom, 1)
        bar = colours_of(panel.colours)[np.arange(n_x) * 256 // n_x]
        canvas[y + n_y + _BAR : y + n_y + 2 * _BAR, x : x + n_x] = bar
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    for number, (name, y) in enumerate(zip(rows, places.rows, strict=True)):
        _write_upwards(picture, name, (_LABEL, y + n_y // 2))
        for panel, x in zip(panels[number], places.columns):  # noqa: B905 - a row may be shorter
            pen.rectangle((x - 1, y - 1, x + n_x, y + n_y), outline=_BLACK)
            _write_numbers(pen, panel, x, y + n_y + _BAR, n_x)
            if _is_headed(panels, number):
                pen.text((x + n_x // 2, y - _HEADING // 3), panel.title, _BLACK, letters_of(_LARGE), anchor="ms")
    for edge, at, anchor in (("left", (6, n_y // 2), "lm"), ("top", (n_x // 2, 6), "mt")):
        x, y = places.columns[0] + at[0], places.rows[0] + at[1]
        pen.text((x, y), letters[edge], _BLACK, letters_of(SMALL), anchor, stroke_width=2, stroke_fill=(GREY,) * 3)
    pen.text((picture.width // 2, _HEADING // 2), title, _BLACK, letters_of(_LARGE), anchor="mm")
    return picture


def coloured(panel: Panel) -> npt.NDArray[np.uint8]:
    """Return the image of a panel in colours. Shape `(y, x, 3)`."""
    low, high = panel.window
    outside = np.isnan(panel.image)
    steps = np.where(outside, 0, (panel.image - low) / (high - low) * 256)
    colours: npt.NDArray[np.uint8] = colours_of(panel.colours)[np.clip(steps, 0, 255).astype(np.uint8)]
    colours[outside] = GREY
    return colours


def _write_numbers(pen: ImageDraw.ImageDraw, panel: Panel, x: int, y: int, width: int) -> None:
    """Frame a colour bar, with a pointed end if there are values beyond it, and write the numbers below."""
    low, high = panel.window
    first, last = colours_of(panel.colours)[[0, -1]].tolist()
    left, right, below, middle = x - 1, x + width, y + _BAR, y + _BAR / 2 - 0.5
    ends = []
    for beyond, at, tip, colour in (
        (np.any(panel.image < low), left, left - _BAR, first),
        (np.any(panel.image > high), right, right + _BAR, last),
    ):
        corner = [(at, below), (tip, middle), (at, y - 1)] if beyond else [(at, below), (at, y - 1)]
        if beyond:
            pen.polygon(corner, fill=tuple(colour))
        ends.append(corner)
    pen.line([*ends[0], *ends[1][::-1], ends[0][0]], fill=_BLACK)
    for value, text in ticks(low, high, max(2, width // _TICK_DISTANCE)):
        at = x + round((value - low) / (high - low) * (width - 1))
        pen.line((at, below, at, below + _TICK), fill=_BLACK)
        pen.text((at, below + 2 * _TICK), text, _BLACK, letters_of(SMALL), anchor="mt")


def ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Return round numbers from `low` to `high`, about `most` at most, with their texts."""
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))
    decimals = max(0, -math.floor(math.log10(step)) + (round(step / power, 1) == 2.5))
    numbers = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
    return [(float(n), f"{n + 0.0:.{decimals}f}".replace("-", "\N{MINUS SIGN}")) for n in numbers]


def _write_upwards(picture: Image.Image, text: str, right: tuple[int, int]) -> None:
    """Write a text upwards, with the middle of its right edge at a position."""
    left, top, end, bottom = (math.ceil(edge) for edge in letters_of(_LARGE).getbbox(text))
    written = Image.new("L", (end - left, bottom - top), _WHITE)
    ImageDraw.Draw(written).text((-left, -top), text, 0, letters_of(_LARGE))
    upwards = written.rotate(90, expand=True)
    picture.paste(upwards.convert("RGB"), (right[0] - upwards.width, right[1] - upwards.height // 2))


@cache
def letters_of(size: int) -> ImageFont.FreeTypeFont:
    """Return matplotlib's font, which covers many scripts."""
    import matplotlib as mpl

    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
