"""The page of a comparison and of a result on disk, in a browser: agreement, label regions, fingerprints."""

import dataclasses
import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import complex_normal, parameter_maps, small_protocol
from mrfpipe.cli import main
from reader import Page, number

from mrfpipe.dictionary import build_dictionary
from mrfpipe.errors import MismatchError
from mrfpipe.evaluation.comparison import compare
from mrfpipe.evaluation.metrics import evaluate
from mrfpipe.files.maps import load_maps
from mrfpipe.files.results import save_result
from mrfpipe.imaging.series import FrameSeries
from mrfpipe.matching.match import match_series
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.physics.simulate import fingerprints as simulate
from mrfpipe.report.page import MOST_POINTS, encode_comparison, render, write_report

PRECISION = 1e-3
"""Four digits are read out."""


@pytest.fixture(scope="module")
def labels(maps):
    """Region 7 in two slices and across the mask's border, region 2 in one, and across its hole."""
    labels = np.zeros(maps.mask.shape, np.int64)
    labels[0, 4:9, 3:8] = labels[2, 6:13, 9:17] = 7
    labels[1, 3:7, 4:10] = 2
    return labels


@pytest.fixture
def compared(browser, tmp_path, maps, truth, provenance, labels):
    path = tmp_path / "page.html"
    write_report(
        path,
        render(
            maps,
            provenance,
            title="a and b",
            truth=truth,
            names=("a,1", 'b"'),
            labels=labels,
            region_names={7: 'in "two"'},
        ),
    )
    browser.get_log("browser")
    yield Page(browser, path)
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def test_a_label_is_averaged_over_all_its_slices(compared, maps, truth, labels):
    assert [b.text for b in compared.driver.find_elements("css selector", "#region-choice button")] == [
        "region 2, slice 2",
        'in "two"',
    ]
    compared.click("#region-choice button:nth-child(2)")
    inside = (labels == 7) & maps.mask & (maps["FF"] <= 0.7)
    row = compared.means()["T1H2O"]
    values = 1e3 * maps.si["T1H2O"][inside].astype(float)
    assert row[2] == f"{inside.sum()} of {(labels == 7).sum()}"
    assert number(row[0]) == pytest.approx(values.mean(), rel=PRECISION)
    assert number(row[1]) == pytest.approx(values.std(ddof=1), rel=PRECISION)
    assert compared.run("return state.slice") in (0, 2)
    counts = (labels == 7) & truth.mask & (truth["FF"] <= 0.7)  # the reference says where a difference counts
    shown = {"truth": truth["T1H2O"], "difference": maps["T1H2O"].astype(float) - truth["T1H2O"]}
    for view, image in shown.items():
        compared.click(f"input[value={view}]")
        values = image[counts & np.isfinite(image)].astype(float)
        row = compared.means()["T1H2O"]
        assert row[2].split()[0] == str(values.size)
        # two values of the page differ by half a step each, and four digits are read out
        assert number(row[0]) == pytest.approx(values.mean(), rel=PRECISION, abs=0.02)
    compared.click("input[value=result]")
    lines = compared.run("return table()").splitlines()
    assert next(line for line in lines if "\tdf\t" in line and "\t7\t" in line).startswith(
        'all\t7\t"in ""two"""\tdf\ta,1\tHz\t'
    )


def test_a_phase_is_averaged_as_a_direction(compared, maps, labels):
    inside = (labels == 2) & maps.mask
    compared.click("#region-choice button:nth-child(1)")
    mean = np.angle(np.exp(1j * maps.phase[inside].astype(float)).mean())
    assert number(compared.means()["M0phase"][0]) == pytest.approx(mean, rel=PRECISION)


def test_borders_are_those_of_the_labels(compared, maps, labels):
    edges = compared.run("return state.regions.find(r => r.label === 2).borders.get(1)")
    assert not maps.mask[1, 5, 6]  # a hole in the mask is none in the region, which was drawn across it
    inside = np.pad((labels == 2)[1], 1)
    changes = (np.diff(inside.astype(int), axis=0) != 0).sum() + (np.diff(inside.astype(int), axis=1) != 0).sum()
    assert len(edges) == changes


def test_the_table_and_the_points_are_the_agreement(compared, maps, truth, labels):
    rows = {
        row.get_attribute("data-name"): [cell.text for cell in row.find_elements("css selector", "td")]
        for row in compared.driver.find_elements("css selector", "#agreement-table tbody tr")
    }
    in_unit = ("RMSE", "bias", "limits of agreement, lower", "upper")
    for comparison in compare(maps, truth, labels):
        for shown, (metric, error) in zip(rows[comparison.name], comparison.errors.items(), strict=True):
            # the page shows fractions in %
            value = 100 * error if comparison.name == "FF" and metric in in_unit else error
            assert shown == "\N{EN DASH}" if np.isnan(value) else number(shown) == pytest.approx(value, rel=PRECISION)
    points = compared.run(
        "const c = comparisons.find(c => c.name === 'df'); return [[...c.estimate], [...c.reference]]"
    )
    expected = []
    for s, label in ((0, 7), (1, 2), (2, 7)):
        inside = (labels[s] == label) & maps.mask[s] & truth.mask[s]
        expected.append([maps.si["df"][s][inside].mean(), truth.si["df"][s][inside].mean()])
    np.testing.assert_allclose(np.transpose(points), expected, rtol=1e-5)
    painted = (
        "const c = comparisons[3].plots[a[0]], { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);"
    )
    painted += "return new Set(data).size"
    assert min(compared.run(painted, i) for i in range(2)) > 10
    assert compared.run("return [...document.querySelectorAll('#views label')].map(l => l.textContent)") == [
        "a,1",
        'b"',
        'a,1 \N{MINUS SIGN} b"',
        "side by side",
    ]


def test_points_without_regions_are_voxels_and_not_too_many(maps, truth, unpack):
    found = {c.name: c for c in compare(maps, truth, None)}
    inside = maps.mask & truth.mask & (truth.si["FF"] <= 0.7)
    np.testing.assert_allclose(found["T1H2O"].estimate, 1e3 * maps.si["T1H2O"][inside].astype(float), rtol=1e-6)
    np.testing.assert_allclose(found["T1H2O"].reference, 1e3 * truth.si["T1H2O"][inside].astype(float), rtol=1e-6)
    values = np.arange(2.5 * MOST_POINTS)
    encoded = encode_comparison(dataclasses.replace(found["df"], estimate=values + 1, reference=values))
    assert encoded["n"] == values.size
    estimate, reference = (unpack(encoded[name], "<f4") for name in ("estimate", "reference"))
    assert np.array_equal(estimate, reference + 1)  # pairs stay pairs
    assert np.array_equal(reference, values[::3])


def test_labels_of_another_shape_are_refused(maps, provenance, labels):
    with pytest.raises(MismatchError, match="labels"):
        render(maps, provenance, title="", labels=labels[:1])


@pytest.fixture(scope="module")
def result(tmp_path_factory, provenance):
    """A matched scan on disk, its page made by the command line; each voxel has a phase and an off-resonance."""
    dictionary, rng = build_dictionary(small_protocol(matrix=8), rank=12), np.random.default_rng(4)
    mask = rng.random((2, 6, 7)) < 0.7
    values = {p.name: rng.choice(dictionary.protocol.grid[p.name], mask.shape) for p in PARAMETERS}
    signals = simulate(dictionary.protocol, {name: v.ravel() for name, v in values.items()})
    signals = signals * (2 + complex_normal(rng, mask.size, 1)) + 1e-3 * complex_normal(rng, *signals.shape)
    series = FrameSeries(
        name="t",
        images=np.ascontiguousarray(np.moveaxis(signals.reshape(*mask.shape, -1), -1, 1).astype(np.complex64)),
        mask=mask,
        affine=np.diag([-1.0, -1.0, 8.0, 1.0]),
        sequence_hash=dictionary.protocol.sequence.hash,
    )
    maps, found = match_series(series, dictionary, refined=False)
    folder = tmp_path_factory.mktemp("results") / "t"
    save_result(folder, maps, provenance, fingerprints=found, force=False)
    ran = CliRunner().invoke(main, ["report", str(folder)])
    assert ran.exit_code == 0, ran.output
    return folder, dictionary.protocol


def test_the_drawn_entry_is_the_matched_one_with_its_phase(browser, result):
    folder, protocol = result
    maps = load_maps(folder / "maps.h5")
    page = Page(browser, folder / "report.html")
    for s, y, x in np.argwhere(maps.mask)[::9]:
        script = "const s = signalsAt(rows[offset(...a)]); return [[...s.measured], [...s.fitted]]"
        measured, fitted = (np.array(v).view(complex) for v in page.run(script, int(s), int(y), int(x)))
        d = simulate(protocol, {p.name: maps.si[p.name][s, y, x : x + 1].astype(float) for p in PARAMETERS})
        alike = abs(np.vdot(d, fitted)) / np.linalg.norm(d) / np.linalg.norm(fitted)
        # 255 steps for the largest of 24 parts lose a few 1e-5 of the correlation, a basis of rank 12 about as much
        assert alike > 0.9995
        # and the phase that the map states brings the entry onto the measured signal: no conjugate is lost
        phase = np.angle(np.vdot(d, measured) * np.exp(-1j * maps.phase[s, y, x]))
        assert abs(phase) < 5e-3
        # as it is drawn: on the measured signal
        assert abs(np.angle(np.vdot(fitted, measured))) < 5e-3
    assert page.run("return Math.min(...[...rows].filter(r => r >= 0).map(v => signalsAt(v).correlation))") > 0.99
    assert browser.get_log("browser") == []


def test_compare_writes_a_page_of_two_results_and_refuses_to_replace_it(result, tmp_path):
    folder, _ = result
    words = ["compare", str(folder), str(folder), "-o", str(tmp_path / "page.html")]
    assert CliRunner().invoke(main, words).exit_code == 0
    page = (tmp_path / "page.html").read_text()
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)[1])
    assert data["names"] == [str(folder), str(folder)]
    assert [c["errors"]["RMSE"] for c in data["comparisons"]] == [0, 0, 0, 0, 0]
    assert data["fingerprints"]["rank"] == 12
    assert any(name == "compared with" and value.startswith(f"{folder}, sha256 ") for name, value in data["account"])
    assert CliRunner().invoke(main, words).exit_code == 5


@pytest.mark.parametrize(
    ("line", "page"),
    [("compare {} {} -o page.html", "page.html"), ("report {} {}", "report.html"), ("evaluate {} {}", "none")],
)
def test_results_of_different_places_are_not_compared(tmp_path, monkeypatch, maps, provenance, line, page):
    monkeypatch.chdir(tmp_path)
    thin = dataclasses.replace(maps, affine=np.diag([-1.0, -1, 4, 1]))
    unknown = dataclasses.replace(maps, affine=np.eye(4))
    part = {name: image[1:] for name, image in maps.si.items()}
    fewer = parameter_maps(
        mask=maps.mask[1:], affine=maps.affine, **part, m0=maps.m0[1:], phase=maps.phase[1:], match=maps.match[1:]
    )
    for name, one in (("a", maps), ("thin", thin), ("unknown", unknown), ("fewer", fewer)):
        save_result(tmp_path / name, one, provenance, force=False)
    for name, complaint in (
        ("thin", "thin lies elsewhere than the maps"),
        ("fewer", "fewer has shape (17, 13, 2) and the maps (17, 13, 3) (x, y, slices); compare results of one scan."),
    ):
        ran = CliRunner().invoke(main, line.format("a", name).split())
        assert ran.exit_code == 4
        assert complaint in ran.output
        assert not (tmp_path / page).exists()
        assert not (tmp_path / "a" / page).exists()
    assert CliRunner().invoke(main, line.format("a", "unknown").split()).exit_code == 0


def test_fingerprints_of_other_maps_are_refused(result, tmp_path, maps, provenance):
    folder, _ = result
    save_result(tmp_path / "other", maps, provenance, force=False)
    (tmp_path / "other" / "fingerprints.h5").write_bytes((folder / "fingerprints.h5").read_bytes())
    ran = CliRunner().invoke(main, ["report", str(tmp_path / "other")])
    assert ran.exit_code == 4
    assert "fingerprints.h5 holds" in ran.output


@pytest.mark.parametrize("with_regions", [False, True])
def test_r2_is_named_by_what_it_is_over_and_is_that_of_evaluate(maps, truth, with_regions):
    labels = np.zeros(maps.mask.shape, np.int64)
    labels[:, 3:6, 2:5], labels[:, 7:11, 6:12] = 1, 2
    given = labels if with_regions else None
    errors = evaluate(maps, truth, given)
    for found in compare(maps, truth, given):
        named = {name: value for name, value in found.errors.items() if name.startswith("R\u00b2")}
        expected = {"R\u00b2 (voxels)": errors[found.name].r2_voxels}
        if with_regions:
            expected["R\u00b2 (regions)"] = errors[found.name].r2_regions
        assert named == pytest.approx(expected, nan_ok=True)
