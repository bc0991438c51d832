"""The viewer: large maps, one alone, quality maps folded, fading, standard deviations, three views side by side."""

import dataclasses

import numpy as np
import pytest
from reader import Page, number

from mrfpipe.report.page import render, write_report

VISIBLE = (
    "return [...document.querySelectorAll('#viewer figure')].filter(f => f.checkVisibility()).map(f => f.dataset.name)"
)
PARAMETERS = ["FF", "T1H2O", "T1fat", "df", "B1"]


@pytest.fixture(scope="module")
def with_sd(maps):
    """Large values of FF and of T1 of water are too uncertain to count."""
    sd = {name: (0.055 * values**2 + 0.001).astype(np.float32) for name, values in maps.si.items()}
    sd["df"] = 0.01 * np.abs(maps.si["df"]) + np.float32(0.001)
    return dataclasses.replace(maps, sd=sd)


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory, with_sd, truth, provenance):
    path = tmp_path_factory.mktemp("viewer") / "report.html"
    write_report(path, render(with_sd, provenance, title="viewer", truth=truth))
    browser.get_log("browser")
    yield Page(browser, path)
    assert [entry["message"] for entry in browser.get_log("browser")] == []


@pytest.fixture
def page(opened):
    """One page for all tests, as it begins."""
    opened.run("Object.assign(state, { alone: null, faded: true }); element('quality-maps').open = false")
    opened.run("document.querySelector('input[value=result]').click(); resetWindows()")
    opened.settle()
    return opened


def painted(page, panel, cell, y, x):
    """Return red, green, blue and opacity of a voxel."""
    return page.run(
        "const { buffer } = panels.find(p => p.image.name === a[0]).cells[a[1]];"
        "const copy = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });"
        "copy.drawImage(buffer, crop.x - a[3], crop.y - a[2]);"
        "return [...copy.getImageData(0, 0, 1, 1).data]",
        *(panel, cell, y, x),
    )


def test_quality_maps_are_folded_and_drawn_when_opened(page):
    assert page.run(VISIBLE) == PARAMETERS
    assert page.run("return panels.find(p => p.image.name === 'match').cells[0].painted ?? null") is None
    page.open_quality_maps()
    assert page.run(VISIBLE)[5:8] == ["match", "M0", "M0phase"]
    assert page.run("return panels.find(p => p.image.name === 'match').cells[0].painted ?? null") is not None


def test_one_map_is_shown_alone_and_back(page):
    all_of_them = page.one("figure[data-name=df] canvas.map").size["width"]
    page.point(5, 8, name="df")
    page.run("document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'f', bubbles: true }))")
    page.settle()
    assert page.run(VISIBLE) == ["df"]
    assert page.one("figure[data-name=df] canvas.map").size["width"] > 1.5 * all_of_them
    page.keys("f")
    assert page.run(VISIBLE) == PARAMETERS
    page.run("panels[1].cells[0].canvas.dispatchEvent(new MouseEvent('dblclick'))")
    page.settle()
    assert page.run(VISIBLE) == ["T1H2O"]
    page.click("figure[data-name=T1H2O] button.alone")
    assert page.run(VISIBLE) == PARAMETERS


@pytest.mark.parametrize(("width", "columns"), [(1453, 3), (785, 2), (400, 1), (2500, 5)])
def test_maps_are_never_smaller_than_native_and_rows_are_equal(page, width, columns):
    """Five maps of 330 x 170 voxels: 3 and 2 in a row at 1500 pixels, where 4 would fit."""
    found = page.run(
        "const was = crop, viewer = element('viewer');"
        "crop = { ...crop, nx: 330, ny: 170 };"
        "Object.defineProperty(viewer, 'clientWidth', { value: a[0], configurable: true });"
        "layOut(); crop = was; delete viewer.clientWidth; return +viewer.style.getPropertyValue('--columns')",
        width,
    )
    assert found == columns


def test_values_have_their_standard_deviation(page, with_sd):
    page.point(4, 9)
    value, sd = (1e3 * float(of["T1H2O"][1, 4, 9]) for of in (with_sd.si, with_sd.sd))
    assert page.text("T1H2O") == f"{value:.0f} \N{PLUS-MINUS SIGN} {sd:.0f} ms"
    fraction, within = (100 * float(of["FF"][1, 4, 9]) for of in (with_sd.si, with_sd.sd))
    words = page.text("FF").split()
    assert number(words[0]) == pytest.approx(fraction, rel=1e-3)
    assert number(words[2]) == pytest.approx(within, rel=0.05)  # two digits are read out
    assert words[3] == "%"
    page.click("input[value=truth]")  # of a reference there is none
    page.point(4, 9)
    assert "\N{PLUS-MINUS SIGN}" not in page.text("T1H2O")


def test_a_map_is_faded_where_it_does_not_count(page, with_sd):
    """Values of T1 count where their standard deviation is at most 5 %, those of FF where it is at most 0.05."""
    inside = with_sd.mask[1]
    certain = {"T1H2O": with_sd.sd["T1H2O"][1] <= 0.05 * with_sd.si["T1H2O"][1], "FF": with_sd.sd["FF"][1] <= 0.05}
    for name, counts in certain.items():
        (there,), (elsewhere,) = (np.argwhere(inside & where)[:1] for where in (counts, ~counts))
        full, faded = (np.array(painted(page, name, 0, *map(int, place))) for place in (there, elsewhere))
        page.click("#fade")
        assert painted(page, name, 0, *map(int, there)) == full.tolist()
        plain = np.array(painted(page, name, 0, *map(int, elsewhere)))
        page.click("#fade")
        background = page.run("return [1, 3, 5].map(i => parseInt(colour('faded').slice(i, i + 2), 16))")
        np.testing.assert_allclose(faded[:3], 0.2 * plain[:3] + 0.8 * np.array(background), atol=1)  # whole numbers
        page.point(*map(int, elsewhere), name=name)
        readout = page.one(f"figure[data-name={name}] output.value")
        assert "uncounted" in readout.get_attribute("class")
        assert "Does not count here" in readout.get_attribute("title")


def test_the_rule_of_a_map_is_said_above_it(page):
    """The result counts by its standard deviation, in the unit shown; the reference by the protocol."""
    words = "return panels.slice(0, 2).map(p => p.caption.textContent)"
    assert page.run(words) == [
        "fat fraction, counts where its standard deviation is at most 5 %",
        "T1 of water, counts where its standard deviation is at most 5 %",
    ]
    page.click("input[value=truth]")
    assert page.run(words) == ["fat fraction", "T1 of water, counts where FF <= 0.7"]
    page.click("input[value=beside]")
    assert page.run(words)[1].endswith("is at most 5 %; reference and difference where FF <= 0.7")


def test_result_reference_and_difference_stand_side_by_side(page, with_sd, truth):
    page.click("input[value=beside]")
    page.point(4, 9)
    words = [e.text for e in page.driver.find_elements("css selector", "figure[data-name=df] output.value")]
    value, expected = (float(m.si["df"][1, 4, 9]) for m in (with_sd, truth))
    shown = [number(text.split()[0].lstrip("+")) for text in words]
    assert shown == pytest.approx([value, expected, value - expected], rel=1e-3, abs=1e-2)
    names = [e.text for e in page.driver.find_elements("css selector", "figure[data-name=df] .head b")]
    assert names == ["df, result", "df, truth", "df, difference"]
    tops = page.run("return panels[3].cells.map(c => c.canvas.getBoundingClientRect().top)")
    assert max(tops) - min(tops) < 1
    # the pointer in the difference moves the same cross-hair
    page.run("goTo({ y: 4, x: 9 })")
    box = page.run(
        "const b = panels[3].cells[2].canvas.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]"
    )
    at = [box[0] + (11 - 0 + 0.5) / page.run("return crop.nx") * box[2], box[1] + 0.5 * box[3]]
    page.run(
        "panels[3].cells[2].canvas.dispatchEvent(new PointerEvent('pointermove', { clientX: a[0], clientY: a[1] }))",
        *at,
    )
    assert page.run("return state.x") == 11 + page.run("return crop.x")
    # result and reference share a window, the difference has its own
    page.run("setWindow(panels[3].cells[1], 10, 40)")
    page.settle()
    ends = page.run("return panels[3].cells.map(c => [c.low.textContent, c.high.textContent])")
    assert ends[0] == ends[1] == ["\N{MINUS SIGN}10", "30"]
    assert ends[2] != ends[0]
    page.click("#reset")
    assert page.run("return panels[3].windows.result") == [-120, 120]


def test_two_results_are_called_by_what_tells_them_apart(page):
    for names, expected in (
        (["demo/network/thigh", "demo/matching/thigh"], ["network", "matching"]),
        (["a/thigh", "a/thigh"], ["thigh", "thigh"]),
        (["a/one", "b"], ["a/one", "b"]),
        (["/r/x", "/r/x/y"], ["x", "x/y"]),
    ):
        assert page.run("return apart(a[0])", names) == expected


def test_the_methods_are_copied_as_they_are_read(page):
    page.run("navigator.clipboard.writeText = async text => { window.copied = text; }")
    page.click("#copy-methods")
    copied, shown = page.run("return [window.copied, element('methods-text').textContent]")
    assert copied == shown
    assert "mrfpipe" in copied
    assert "\n1. " in copied
