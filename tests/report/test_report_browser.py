"""The page in a browser: what a reader points at, turns to and draws is what the maps hold."""

import re

import numpy as np
import pytest
from helpers import complex_normal, parameter_maps
from reader import Page, number

from mrfpipe.maps import Fingerprints
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.report.page import render, write_report

PRECISION = 1e-3
"""Four digits are read out."""


@pytest.fixture(scope="module")
def path(tmp_path_factory, maps, provenance, truth, fingerprints):
    path = tmp_path_factory.mktemp("result") / "report.html"
    write_report(path, render(maps, provenance, title="result", truth=truth, fingerprints=fingerprints))
    return path


@pytest.fixture
def page(browser, path):
    browser.get_log("browser")
    yield Page(browser, path)
    assert [entry["message"] for entry in browser.get_log("browser")] == []


SHOWN = {"FF": 100.0}
"""Factor from the units of files to those of the page."""


def test_every_map_is_read_under_the_pointer(page, maps):
    page.open_quality_maps()
    for y, x in ((4, 9), (11, 3)):
        page.point(y, x, name="T1fat")
        for p in PARAMETERS:
            expected = SHOWN.get(p.name, 1.0) * maps[p.name][1, y, x]
            assert page.number(p.name) == pytest.approx(expected, rel=PRECISION, abs=1e-4)
        assert page.number("match") == pytest.approx(maps.match[1, y, x], abs=1e-5)
        names = [p.name for bit, p in enumerate(PARAMETERS) if maps.edge[1, y, x] >> bit & 1]
        assert page.text("edge") == (", ".join(names) or "none")


def test_outside_the_mask_is_said_and_not_painted(page):
    page.open_quality_maps()
    page.point(5, 6)
    assert page.text("FF") == page.text("edge") == "outside"
    two = "panels[0].cells[0].buffer.getContext('2d').getImageData(6 - crop.x, 5 - crop.y, 2, 1).data"
    assert page.run(f"return [...{two}].filter((_, i) => i % 4 === 3)") == [0, 255]


def test_a_voxel_has_the_colour_of_its_value(page, maps):
    from matplotlib import colormaps

    colour = "return [...panels[3].cells[0].buffer.getContext('2d').getImageData(9 - crop.x, 4 - crop.y, 1, 1).data]"
    top = 120.0  # Hz: the protocol searches from -120 to 120
    expected = colormaps["coolwarm"]((maps.si["df"][1, 4, 9] + top) / (2 * top), bytes=True)
    # a value on the border of two colours may fall on either side
    assert np.abs(np.array(page.run(colour)) - expected).max() <= 4


def test_keys_move_the_crosshair_and_the_slice(page, maps):
    from selenium.webdriver.common.keys import Keys

    page.point(6, 8)
    page.keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.PAGE_DOWN)
    assert page.number("df") == pytest.approx(maps.si["df"][2, 8, 9], rel=PRECISION)
    page.keys(Keys.PAGE_DOWN, Keys.ARROW_UP, Keys.ARROW_LEFT)  # there is no fourth slice
    assert page.number("df") == pytest.approx(maps.si["df"][2, 7, 8], rel=PRECISION)
    page.keys(Keys.HOME)
    assert page.number("df") == pytest.approx(maps.si["df"][0, 7, 8], rel=PRECISION)


def test_the_wheel_turns_slices(page, maps):
    page.point(6, 8)
    page.run("panels[0].cells[0].canvas.dispatchEvent(new WheelEvent('wheel', { deltaY: 100, cancelable: true }))")
    page.settle()
    assert page.number("df") == pytest.approx(maps.si["df"][2, 6, 8], rel=PRECISION)


def test_truth_and_difference_are_shown_where_there_are(page, maps, truth):
    page.click("input[value=truth]")
    page.point(4, 9)
    assert page.number("T1H2O") == pytest.approx(1e3 * truth.si["T1H2O"][1, 4, 9], rel=PRECISION)
    page.click("input[value=difference]")
    page.point(4, 9)
    expected = 1e3 * (float(maps.si["T1H2O"][1, 4, 9]) - float(truth.si["T1H2O"][1, 4, 9]))
    assert number(page.text("T1H2O").split()[0].lstrip("+")) == pytest.approx(expected, abs=0.1)
    page.open_quality_maps()
    page.point(4, 9)
    assert page.number("match") == pytest.approx(maps.match[1, 4, 9], abs=1e-5)


def test_an_ellipse_averages_what_it_holds(page, maps):
    page.click("input[value=ellipse]")
    page.point(3, 4, action="press")
    page.point(8, 10, action="release")
    y, x = np.mgrid[: maps.si["FF"].shape[1], : maps.si["FF"].shape[2]]
    # the box of rows 3 to 8 and columns 4 to 10 is 6 high and 7 wide, about (5.5, 7); a hole of the mask lies in it
    within = (((y - 5.5) / 3) ** 2 + ((x - 7) / 3.5) ** 2 <= 1) & maps.mask[1]
    assert not maps.mask[1][5, 6]
    assert page.means()["df"][2] == f"{within.sum()} of {within.sum() + 1}"
    counts = within & (maps["FF"][1] <= 0.7)
    row = page.means()["T1H2O"]
    values = 1e3 * maps.si["T1H2O"][1][counts].astype(float)
    assert row[2] == f"{counts.sum()} of {within.sum() + 1}"
    assert number(row[0]) == pytest.approx(values.mean(), rel=PRECISION)
    assert number(row[1]) == pytest.approx(values.std(ddof=1), rel=PRECISION)
    assert [number(end) for end in row[3].split(" to ")] == pytest.approx([values.min(), values.max()], rel=PRECISION)
    shown = [number(text) for text in re.findall(r"[\d.]+", row[4])]
    assert shown == pytest.approx(np.percentile(values, [50, 5, 95]), rel=PRECISION)


def test_a_polygon_is_drawn_with_keys_alone_and_copied(page, maps):
    from selenium.webdriver.common.keys import Keys

    page.click("input[value=polygon]")
    page.point(3, 5)
    page.keys(Keys.ENTER, Keys.ARROW_DOWN * 6, Keys.ENTER, Keys.ARROW_RIGHT * 6, Keys.ENTER, Keys.ENTER)
    y, x = np.mgrid[: maps.si["FF"].shape[1], : maps.si["FF"].shape[2]]
    # the triangle (3, 5), (9, 5), (9, 11) with its edges
    within = (x >= 5) & (y <= 9) & (y - 3 >= x - 5) & maps.mask[1]
    row = page.means()["df"]
    n_region = within.sum() + 1  # with the hole of the mask
    assert row[2] == f"{within.sum()} of {n_region}"
    assert number(row[0]) == pytest.approx(maps.si["df"][1][within].mean(), rel=PRECISION, abs=1e-3)
    lines = page.run("return table()").splitlines()
    assert lines[0].split("\t")[:8] == ["slice", "region", "name", "map", "view", "unit", "n", "n_region"]
    copied = next(line for line in lines if "\tB1\t" in line).split("\t")
    assert copied[:8] == ["2", "1", "region 1", "B1", "result", "1", str(within.sum()), str(n_region)]
    assert float(copied[8]) == pytest.approx(maps.si["B1"][1][within].mean(), abs=1e-5)  # 16 bits over 0.6
    page.click("#copy")
    page.run("await new Promise(r => setTimeout(r, 100))")
    assert page.one("#status").text == "Copied."


def test_a_chosen_voxel_shows_its_fingerprint_and_its_parameters(page, maps, fingerprints):
    page.point(4, 9, action="click")
    assert page.one("#signal-plot").is_displayed()
    text = page.one("#signal-text").text
    assert text.startswith("Slice 2, y 4, x 9: FF ")
    assert f"T1H2O {1e3 * maps.si['T1H2O'][1, 4, 9]:.4g} ms" in text
    found = page.run(
        "const s = signalsAt(rows[offset(1, 4, 9)]); return [[...s.measured], [...s.fitted], s.correlation]"
    )
    measured, fitted = (np.array(v).view(complex) for v in found[:2])
    voxel = int(maps.mask.ravel()[: np.ravel_multi_index((1, 4, 9), maps.mask.shape)].sum())
    was, d = fingerprints.measured[voxel], fingerprints.simulated[voxel]
    unit = max(np.abs(was.real).max(), np.abs(was.imag).max())
    # half a step of 1/255 for each of the rank's real and imaginary parts
    assert np.abs(measured - fingerprints.basis @ was / unit).max() < 8e-3
    assert np.abs(fitted - fingerprints.basis @ (np.vdot(d, was) / np.vdot(d, d) * d) / unit).max() < 8e-3
    assert found[2] == pytest.approx(abs(np.vdot(d, was)) / np.linalg.norm(d) / np.linalg.norm(was), abs=8e-3)
    page.point(5, 6, action="click")
    assert "outside the mask" in page.one("#signal-text").text
    assert not page.one("#signal-plot").is_displayed()


def test_a_right_drag_changes_the_window_and_reset_restores_it(page):
    ends = "return ['low', 'high'].map(end => panels[1].cells[0][end].textContent)"
    before = page.run(ends)
    drag = "for (const [type, x] of [['pointerdown', 50], ['pointermove', 150], ['pointerup', 150]])"
    drag += " a[0].dispatchEvent(new PointerEvent(type, { button: 2, clientX: x, clientY: 50, pointerId: 1 }))"
    page.run("Element.prototype.setPointerCapture = () => {}; " + drag, page.one("figure[data-name=T1H2O] canvas.map"))
    page.settle()
    low, high = (number(end) for end in page.run(ends))
    # 100 dots are 100/250 of the window's width
    assert high - low == pytest.approx(1.4 * (number(before[1]) - number(before[0])), rel=PRECISION)
    page.click("#reset")
    assert page.run(ends) == before


def test_what_files_say_is_shown_and_never_run(page, hostile):
    page.click("#provenance > summary")
    assert hostile in page.one("#account").text
    assert page.run("return window.hurt ?? null") is None


def test_every_control_has_a_name(page):
    nameless = "return [...document.querySelectorAll('input, button, canvas:not([aria-hidden])')]"
    nameless += (
        ".filter(e => !(e.getAttribute('aria-label') || e.labels?.[0]?.textContent.trim() || e.textContent.trim()))"
    )
    assert page.run(nameless + ".length") == 0


def test_a_bare_result_opens(browser, tmp_path, maps, provenance):
    write_report(tmp_path / "report.html", render(maps, provenance, title="scan 1"))
    page = Page(browser, tmp_path / "report.html")
    assert page.one("#signal-text").text == "This result holds no fingerprints."
    assert not page.one("#signal-plot").is_displayed()
    assert not page.one("#agreement").is_displayed()
    assert not page.one("#views").is_displayed()
    page.point(4, 9, action="click")
    assert page.number("df") == pytest.approx(maps.si["df"][1, 4, 9], rel=PRECISION)
    assert browser.get_log("browser") == []


@pytest.mark.slow
def test_five_slices_are_small_and_open_soon(browser, tmp_path, provenance, capsys):
    """Five slices of 350 x 350 at rank 12, beside their truth; the time is told, as it is the machine's."""
    maps, truth = (thighs(seed) for seed in range(2))
    n_voxels, rng = int(maps.mask.sum()), np.random.default_rng(2)
    falling = np.exp(-0.5 * np.arange(12)).astype(np.float32)
    measured = complex_normal(rng, n_voxels, 12) * falling
    found = Fingerprints(
        basis=np.eye(175, 12, dtype=np.complex64),
        measured=measured,
        simulated=measured + np.complex64(0.01) * complex_normal(rng, n_voxels, 12),
    )
    write_report(tmp_path / "report.html", render(maps, provenance, title="five", truth=truth, fingerprints=found))
    n_bytes = (tmp_path / "report.html").stat().st_size
    page = Page(browser, tmp_path / "report.html")
    times = page.run(
        "const [n] = performance.getEntriesByType('navigation');"
        "const paint = performance.getEntriesByName('first-contentful-paint');"
        "return [n.responseEnd, paint[0]?.startTime ?? null, performance.getEntriesByName('shown')[0].startTime]"
    )
    with capsys.disabled():
        print(f"\nfive slices, {n_voxels} voxels: {n_bytes / 1e6:.1f} MB; ms to read, first paint, all maps: {times}")  # noqa: T201
    assert n_bytes < 15e6


def thighs(seed):
    """Two discs in every slice, as smooth as anatomy is and with noise."""
    rng, shape = np.random.default_rng(seed), (5, 350, 350)
    y, x = np.mgrid[:350, :350]
    one = np.minimum((x - 100) ** 2, (x - 250) ** 2) + (y - 175) ** 2 < 74**2
    mask = np.broadcast_to(one, shape).copy()
    smooth = np.sin(x / 40) * np.cos(y / 50)
    tops = {"FF": 1, "T1H2O": 1.6, "T1fat": 0.35, "df": 100, "B1": 1, "m0": 2, "phase": 3, "match": 1}
    images = {name: top * (0.5 + 0.4 * smooth + 0.03 * rng.normal(size=shape)) for name, top in tops.items()}
    return parameter_maps(mask=mask, affine=np.diag([-1.0, -1, 8, 1]), **images)
