"""Overview: the results of a cohort in one table, as an HTML page or for a spreadsheet."""

import csv
import html
import io
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args
from urllib.parse import quote

from mrfpipe.files.ratings import Rating, Verdict
from mrfpipe.quantities import Parameter, heading_of, in_unit
from mrfpipe.report.images import shown
from mrfpipe.report.page import as_script, fill, resource
from mrfpipe.report.summary import FAR, FEWEST, Figure, Outlier, Summary, find_outliers, short

_VERDICTS = ("fail", "artefact", "doubtful", "pass")
"""Order in which ratings are sorted; results without a rating come last."""


def render_overview(results: Sequence[Summary], *, page: Path) -> str:
    """Render results as one HTML page, with a table for each protocol and set of parameters; headings sort a table.

    Parameters
    ----------
    results
        The results to show.
    page
        Path of the page; links to the pages of the results are relative to it.
    """
    groups = _groups(results)
    tables = "\n".join(_table(group, found, page.parent, headed=len(groups) > 1) for group, found in groups)
    return fill(
        "overview",
        js=resource("overview.js"),
        tables=tables,
        summary=html.escape(_counted(groups)),
        rule=html.escape(_RULE),
        data=as_script({"table": overview_table(results, "\t")}),
    )


def overview_table(results: Sequence[Summary], delimiter: str) -> str:
    """Write key numbers in the units of files, ratings and remarks of results as a table with a header line."""
    units = {name: figure.unit for result in results for name, figure in result.figures.items()}
    headings = [heading_of(name, unit) for name, unit in units.items()]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["result", "protocol", *headings, "rating", "rater", "comment", "outliers", "warnings"])
    for group, found in _groups(results):
        for result, outliers in zip(group, found, strict=True):
            numbers = [_exact(result.figures.get(column)) for column in units]
            rated = [[getattr(rating, name) for rating in result.ratings] for name in ("rating", "rater", "comment")]
            said = [*rated, [outlier.column for outlier in outliers], result.warnings]
            writer.writerow([result.name, result.protocol, *numbers, *map("; ".join, said)])
    return text.getvalue()


_Group = tuple[list[Summary], list[list[Outlier]]]
_RULE = (
    f"Outlier: more than {FAR:g} standard deviations from the median of these results. The standard deviation is 1.48 "
    "times the median absolute deviation and, for shares at the grid limit, at least 1 %. With fewer than "
    f"{FEWEST} results nothing is marked."
)


def _groups(results: Sequence[Summary]) -> list[_Group]:
    """Group results by protocol and set of parameters, and find the outliers of each group."""
    groups: dict[tuple[str, tuple[Parameter, ...]], list[Summary]] = {}
    for result in results:
        groups.setdefault((result.protocol, result.parameters), []).append(result)
    return [(group, find_outliers(group)) for group in groups.values()]


def _counted(groups: list[_Group]) -> str:
    results = [result for group, _ in groups for result in group]
    n_outliers = sum(bool(outliers) for _, found in groups for outliers in found)
    ratings = Counter(rating.rating for result in results for rating in result.ratings)
    rated = [f"{ratings[verdict]} {verdict}" for verdict in get_args(Verdict) if ratings[verdict]]
    n_unrated = sum(not result.ratings for result in results)
    said = [
        f"{len(results)} result{'' if len(results) == 1 else 's'}",
        f"{n_outliers} with outliers",
        f"{sum(bool(result.warnings) for result in results)} with warnings",
    ]
    return f"{', '.join(said)}. Ratings: {', '.join([*rated, f'{n_unrated} not rated'])}."


def _table(group: list[Summary], found: list[list[Outlier]], folder: Path, *, headed: bool) -> str:
    heading = f"<h2>{html.escape(group[0].protocol)}</h2>" if headed else ""
    columns = [("Result", "", ""), *((p.name, p.title, _window(group, p)) for p in group[0].parameters)]
    columns += [("Match", "median over the mask", ""), ("Rating", "", ""), ("Remarks", "outliers and warnings", "")]
    head = "".join(
        f'<th scope="col" title="{html.escape(title)}"><button type="button">{html.escape(name)}</button>'
        f"<small>{html.escape(window)}</small></th>"
        for name, title, window in columns
    )
    rows = "\n".join(_row(result, outliers, folder) for result, outliers in zip(group, found, strict=True))
    return f"{heading}<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _window(group: list[Summary], p: Parameter) -> str:
    """Describe the range of the colours of a map, if it is the same in all results."""
    windows = {result.windows[p.name] for result in group}
    if len(windows) > 1:
        return "colours by result"
    (low, high), (factor, unit) = windows.pop(), shown(p)
    return f"{short(factor * low)} to {in_unit(short(factor * high), unit)}"


def _row(result: Summary, outliers: list[Outlier], folder: Path) -> str:
    name, far = html.escape(result.name), {outlier.column for outlier in outliers}
    link = quote(Path(os.path.relpath(result.page, folder)).as_posix()) if result.page.exists() else ""

    def linked(inner: str) -> str:
        return f'<a href="{html.escape(link)}">{inner}</a>' if link else inner

    cells = [f'<th scope="row" data-value="{name}">{linked(name.replace("/", "/<wbr>"))}</th>']
    for p in result.parameters:
        alt = html.escape(f"{p.name} of {result.name}")
        image = linked(f'<img src="{result.thumbnails[p.name]}" alt="{alt}">')
        cells.append(_cell(result.figures[p.name].value, image + "".join(_numbers(result, p, far))))
    match = result.figures["match"]
    cells.append(_cell(match.value, _marked(f"<b>{_number(match)}</b>", "match" in far)))
    cells.append(_rated(result.ratings))
    remarks = [("outlier", _words(outlier)) for outlier in outliers] + [("warning", w) for w in result.warnings]
    listed = "".join(f'<li class="{kind}">{html.escape(text)}</li>' for kind, text in remarks)
    return f"<tr>{''.join(cells)}{_cell(len(remarks), f'<ul>{listed}</ul>', 'remarks')}</tr>"


def _numbers(result: Summary, p: Parameter, far: set[str]) -> Iterator[str]:
    """Write mean, standard deviation and share at the grid limit of a map, with outliers marked."""
    figures = result.figures
    yield _marked(f"<b>{_number(figures[p.name])}</b>", p.name in far)
    if (sd := f"{p.name}_sd") in figures:
        yield _marked(f"SD {_number(figures[sd])}", sd in far)
    limit = f"{p.name}_at_limit"
    yield _marked(f"at limit {_number(figures[limit])}", limit in far)


def _marked(inner: str, far: bool) -> str:
    return f'<span class="{"figure outlier" if far else "figure"}">{inner}</span>'


def _cell(value: float, inner: str, kind: str = "number") -> str:
    sorted_by = "" if math.isnan(value) else f"{value:.9g}"
    return f'<td class="{kind}" data-value="{sorted_by}">{inner}</td>'


def _rated(ratings: Sequence[Rating]) -> str:
    """Write ratings; the cell is sorted by the worst of them."""
    if not ratings:
        return _cell(len(_VERDICTS), "not rated", "rating")
    said = "".join(
        f'<b class="{r.rating}">{r.rating}</b> <small>{html.escape(f"{r.rater}, " if r.rater else "")}'
        f"<time>{r.date:%Y-%m-%d}</time></small><p>{html.escape(r.comment)}</p>"
        for r in ratings
    )
    return _cell(min(_VERDICTS.index(r.rating) for r in ratings), said, "rating")


def _words(outlier: Outlier) -> str:
    figure, usual = outlier.figure, replace(outlier.figure, value=outlier.median)
    title = figure.title[0].upper() + figure.title[1:]
    departs = "high" if outlier.z > 0 else "low"
    return f"{title} is {departs}: {_number(figure)}, median {_number(usual)} (robust z {short(outlier.z, 2)})."


def _number(figure: Figure) -> str:
    """Write a number with its unit."""
    factor, unit = figure.shown
    return in_unit(short(factor * figure.value, figure.digits), unit)


def _exact(figure: Figure | None) -> str:
    """Write a number with seven digits, the precision of maps; empty if it is not defined."""
    return "" if figure is None or math.isnan(figure.value) else f"{figure.value:.7g}"
