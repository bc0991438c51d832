"""Labels: regions drawn on the maps of a scan, read from a NIfTI image, and their names, read from a table."""

import csv
import re
from pathlib import Path

import numpy as np

from mrfpipe.arrays import Int
from mrfpipe.errors import InputError
from mrfpipe.files.nifti import read_image
from mrfpipe.maps import ParameterMaps

_CURE = "draw the regions on one of the result's own images"
_MOST = 2**31 - 1
"""The largest label that pages can hold."""
_TABLES = (".tsv", ".csv", ".txt")
"""Suffixes of a table of names beside its image."""
_ITK_SNAP = re.compile(r'\s*(\d+)\s+(?:\S+\s+){6}"(.*)"\s*')
"""A line of ITK-SNAP's label descriptions: number, colour and opacity, two flags, name."""


def load_labels(path: str | Path, maps: ParameterMaps) -> Int:
    """Read the labels of regions drawn on `maps`, 0 for none: a NIfTI image of integers with axes (x, y, slice).

    Shape `(slices, y, x)`. InputError if it is not such an image or holds no region; MismatchError if its shape or
    position differs from the maps.
    """
    path = Path(path)
    labels = read_image(path, "the maps", maps.mask.shape, maps.affine, _CURE)
    if not np.all(np.isfinite(labels)) or not np.array_equal(labels, np.round(labels)):
        raise InputError(f"{path} does not hold whole numbers; {_CURE}.")
    if not np.any(labels[maps.mask] > 0) or labels.min() < 0:
        raise InputError(f"{path} holds no region, or a negative number, where the maps are; {_CURE}.")
    if labels.max() > _MOST:
        raise InputError(f"{path} holds {labels.max():.10g}, and labels end at {_MOST}; {_CURE}.")
    return labels.astype(np.int64)


def load_regions(path: str | Path, maps: ParameterMaps, names: str | Path | None = None) -> tuple[Int, dict[int, str]]:
    """Read the regions drawn on `maps` and their names: labels as from `load_labels`, and names by label.

    Parameters
    ----------
    path
        The label image.
    maps
        The maps on which the regions were drawn.
    names
        A table that `load_names` reads. If not given, a table beside the image with the same name and the suffix
        ``.tsv``, ``.csv`` or ``.txt``; without such a table, regions are named by their numbers.

    Raises
    ------
    InputError, MismatchError
        See `load_labels` and `load_names`; InputError also if the table lacks the name of a region.
    """
    path = Path(path)
    labels = load_labels(path, maps)
    numbers = [int(number) for number in np.unique(labels[labels > 0])]
    table = next((p for p in tables_beside(path) if p.exists()), None) if names is None else Path(names)
    if table is None:
        return labels, {number: f"region {number}" for number in numbers}
    known = load_names(table)
    if missing := [number for number in numbers if number not in known]:
        raise InputError(f"{table} has no name for region {missing[0]} of {path}; add a line for it.")
    return labels, {number: known[number] for number in numbers}


def tables_beside(path: Path) -> list[Path]:
    """Return where a table of names is looked for beside a label image, whether there is one or not."""
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    return [path.with_name(stem + suffix) for suffix in _TABLES]


def load_names(path: Path) -> dict[int, str]:
    """Read the names of regions by number.

    Parameters
    ----------
    path
        A table with columns ``index`` and ``name``, as BIDS has for segmentations; a table without a header, with
        number and name; or a label description file of ITK-SNAP. Tables are separated by tabs, commas or semicolons.

    Raises
    ------
    InputError
        If the file cannot be read, is not such a table, or names a region twice.
    """
    cure = "a table of names has the columns index and name, or is a label description file of ITK-SNAP"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        cause = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
        raise InputError(f"{path} cannot be read: {cause}; {cure}.") from e
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    names: dict[int, str] = {}
    for number, name in _itk_snap(lines) or _columns(lines):
        if not number.isdecimal() or not name:
            raise InputError(f"{path} does not name regions by number, see '{number}', '{name}'; {cure}.")
        if int(number) in names:
            raise InputError(f"{path} names region {number} twice; remove a line.")
        names[int(number)] = name
    return names


def _itk_snap(lines: list[str]) -> list[tuple[str, str]]:
    found = [re.fullmatch(_ITK_SNAP, line) for line in lines]
    return [(match[1], match[2]) for match in found if match] if all(found) else []


def _columns(lines: list[str]) -> list[tuple[str, str]]:
    delimiter = max("\t,;", key=lines[0].count) if lines else ","
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    header = [cell.lower() for cell in rows[0]] if rows else []
    if {"index", "name"} <= set(header):
        index, name, rows = header.index("index"), header.index("name"), rows[1:]
    else:
        index, name = 0, 1
    return [(row[index], row[name]) if len(row) > max(index, name) else (" ".join(row), "") for row in rows]
