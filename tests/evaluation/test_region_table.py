"""The table of regions against loops over lists, for regions by hand and by chance."""

import csv
import dataclasses
import statistics

import numpy as np
import pytest
from helpers import parameter_maps
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mrfpipe.errors import OutputExistsError
from mrfpipe.evaluation.region_table import RegionTable, tabulate
from mrfpipe.phantom.truth import PARAMETERS

EXACT = 1e-9
"""Relative tolerance between two ways to sum some hundred float64 numbers of one sign."""
SHAPE = (2, 3, 4)


def by_loops(maps, labels, region, number, parameter):
    """The values of a region that count, voxel after voxel, and how many voxels it has."""
    found, n_region = [], 0
    for (s, y, x), label in np.ndenumerate(labels):
        if label != region or (number != "all" and s + 1 != number):
            continue
        n_region += 1
        ff, value = maps.si["FF"][s, y, x], maps.si[parameter.name][s, y, x]
        rule = {"T1H2O": ff <= 0.7, "T1fat": ff > 0.3}
        if maps.sd is not None:
            most = {"T1H2O": 0.05 * value, "T1fat": 0.05 * value, "df": 5}.get(parameter.name, 0.05)
            rule[parameter.name] = maps.sd[parameter.name][s, y, x] <= most
        if maps.mask[s, y, x] and rule.get(parameter.name, True):
            found.append(float(maps[parameter.name][s, y, x]))
    return sorted(found), n_region


def percentile(values, share):
    """Linear between the two values nearest to the share."""
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])


def assert_is_that_of_loops(table, maps, labels):
    assert len({(row.slice, row.region, row.map) for row in table.rows}) == len(table.rows)
    for row in table.rows:
        parameter = maps.parameter(row.map)
        values, n_region = by_loops(maps, labels, row.region, row.slice, parameter)
        assert (row.n, row.n_region, row.unit) == (len(values), n_region, parameter.unit)
        expected = [np.nan] * 5
        if values:
            expected[0], expected[2] = statistics.fmean(values), statistics.median(values)
            expected[3], expected[4] = percentile(values, 0.05), percentile(values, 0.95)
        if len(values) > 1:
            expected[1] = statistics.stdev(values)
        got = (row.mean, row.sd, row.median, row.p5, row.p95)
        # df has both signs: sums of up to 24 numbers up to 100 may cancel
        assert got == pytest.approx(expected, rel=EXACT, abs=1e-9, nan_ok=True)


VALUES = np.random.default_rng(0).uniform(0.05, 0.95, (8, *SHAPE))
"""Of every map, of T1 in s; FF lies on both sides of the limits."""


@settings(max_examples=15, deadline=None)
@given(labels=arrays(np.int64, SHAPE, elements=st.integers(0, 3)), mask=arrays(np.bool_, SHAPE))
def test_any_regions_are_described_as_by_loops(labels, mask):
    names = [*(p.name for p in PARAMETERS), "m0", "phase", "match"]
    maps = parameter_maps(mask=mask, **dict(zip(names, VALUES, strict=True)))
    regions = {int(n): "r" for n in np.unique(labels[labels > 0])}
    table = tabulate(maps, labels, regions, scan="leg")
    assert_is_that_of_loops(table, maps, labels)
    slices = sum(len(np.unique(np.nonzero(labels == n)[0])) + 1 for n in regions)
    assert len(table.rows) == slices * len(PARAMETERS)


@pytest.fixture
def described(make):
    """Region 7 in two slices and across the mask, region 2, all fat, in one; T1 of water is uncertain all over it."""
    mask = np.ones((2, 11, 14), bool)
    mask[:, :2] = False
    labels = np.zeros(mask.shape, np.int64)
    labels[0, 1:5, 2:5] = labels[1, 6:10, 9:14] = 7
    labels[1, 3:5, 3:9] = 2
    ff = np.where(labels == 2, 0.9, make(3).si["FF"])
    maps = make(3, mask=mask, FF=ff)
    sd = {p.name: np.where(mask, 0.01 * (1 + i) * maps.si["FF"], np.nan) for i, p in enumerate(PARAMETERS)}
    sd["T1H2O"][labels == 2] = 0.1 * maps.si["T1H2O"][labels == 2]
    maps = dataclasses.replace(maps, sd={name: values.astype(np.float32) for name, values in sd.items()})
    return maps, labels, tabulate(maps, labels, {7: "soleus", 2: "=fat, left"}, scan="sub-01_ses-a")


def test_rows_come_by_region_slice_and_map(described):
    maps, labels, table = described
    assert_is_that_of_loops(table, maps, labels)
    places = dict.fromkeys((row.region, row.name, row.slice) for row in table.rows)
    assert [*places] == [
        (2, "=fat, left", 2),
        (2, "=fat, left", "all"),
        (7, "soleus", 1),
        (7, "soleus", 2),
        (7, "soleus", "all"),
    ]
    assert {(row.subject, row.session, row.scan) for row in table.rows} == {("sub-01", "ses-a", "sub-01_ses-a")}


def test_a_map_that_counts_nowhere_in_a_region_keeps_its_row(described):
    row = next(r for r in described[2].rows if (r.region, r.slice, r.map) == (2, "all", "T1H2O"))
    assert (row.n, row.n_region) == (0, 12)
    assert np.isnan([row.mean, row.sd, row.median, row.p5, row.p95, row.predicted_sd]).all()


def test_the_predicted_deviation_is_averaged_where_the_map_counts(described):
    maps, labels, table = described
    inside = (labels == 7) & maps.mask
    for i, p in enumerate(PARAMETERS):
        sd = 0.01 * (1 + i) * maps.si["FF"]
        most = {"T1H2O": 0.05 * maps.si["T1H2O"], "T1fat": 0.05 * maps.si["T1fat"], "df": 5}.get(p.name, 0.05)
        where = inside & (sd <= most)
        row = next(r for r in table.rows if (r.region, r.slice, r.map) == (7, "all", p.name))
        expected = 0.01 * (1 + i) * maps["FF"][where].astype(float).mean() * p.scale
        assert row.predicted_sd == pytest.approx(expected, rel=1e-6)  # float32 of the maps


@pytest.mark.parametrize(("name", "delimiter"), [("rois.csv", ","), ("rois.tsv", "\t"), ("ROIS.TSV", "\t")])
def test_what_is_written_is_read_back(described, tmp_path, name, delimiter):
    table = described[2]
    table.to_csv(tmp_path / name)
    with (tmp_path / name).open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file, delimiter=delimiter))
    assert len(read) == len(table.rows)
    for line, row in zip(read, table.rows, strict=True):
        for column, value in dataclasses.asdict(row).items():
            if isinstance(value, float):
                assert (np.isnan(value) and line[column] == "") or float(line[column]) == pytest.approx(value, rel=1e-6)
            else:
                assert line[column] == str(value)
    with pytest.raises(OutputExistsError):
        table.to_csv(tmp_path / name)
    table.to_csv(tmp_path / name, force=True)


def test_it_is_shown_on_terminals_and_in_notebooks(described):
    table = described[2]
    head, *lines = repr(table).splitlines()
    assert head.split() == [field.name for field in dataclasses.fields(table.rows[0])]
    assert len(lines) == len(table.rows) == 25
    assert "=fat, left" in lines[0]
    html = dataclasses.replace(table, rows=(dataclasses.replace(table.rows[0], name="<b>"),) * 70)._repr_html_()
    assert "<td>&lt;b&gt;</td>" in html
    assert html.count("<tr>") == 61
    assert html.endswith("<p>... 10 more rows</p>")
    assert "subject" not in repr(RegionTable(rows=(dataclasses.replace(table.rows[0], subject=""),)))
