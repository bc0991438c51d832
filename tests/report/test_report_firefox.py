"""The page in Firefox: what differs from browser to browser is unpacking, pointer, keys and folded maps."""

import dataclasses

import numpy as np
import pytest
from reader import number

from mrfpipe.report.page import render, write_report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(firefox, tmp_path_factory, maps, truth, fingerprints, provenance):
    sd = {name: (0.01 * np.abs(values) + 0.001).astype(np.float32) for name, values in maps.si.items()}
    path = tmp_path_factory.mktemp("firefox-page") / "report.html"
    known = dataclasses.replace(maps, sd=sd)
    write_report(path, render(known, provenance, title="firefox", truth=truth, fingerprints=fingerprints))
    firefox.open(path.as_uri())
    firefox.run("while (!document.documentElement.dataset.ready) await new Promise(r => setTimeout(r, 10))")
    yield firefox
    assert firefox.console == []


def place(page, name, y, x):
    """Return where a voxel lies in the window."""
    return page.run(
        f"const canvas = panels.find(p => p.image.name === '{name}').cells[0].canvas;"
        "canvas.scrollIntoView({ block: 'center' }); const box = canvas.getBoundingClientRect();"
        f"return [box.left + ({x} - crop.x + 0.5) / crop.nx * box.width, "
        f"box.top + ({y} - crop.y + 0.5) / crop.ny * box.height]"
    )


def text(page, name, cell=0):
    return page.run(f"return panels.find(p => p.image.name === '{name}').cells[{cell}].readout.textContent")


def test_maps_are_read_and_a_voxel_is_chosen_and_seen_alone(page, maps):
    page.point(*place(page, "df", 4, 9), times=1)
    words = text(page, "df").split()
    # as exact as two digits of the standard deviation
    assert number(words[0]) == pytest.approx(maps.si["df"][1, 4, 9], abs=0.06 * number(words[2]))
    assert page.run("return element('signal-text').textContent").startswith("Slice 2, y 4, x 9: FF ")
    page.keys("f")
    visible = "return [...document.querySelectorAll('#viewer figure')].filter(f => f.checkVisibility()).length"
    assert page.run(visible) == 1
    page.point(*place(page, "df", 4, 9), times=2)
    assert page.run(visible) == 5
    page.run("document.querySelector('#quality-maps > summary').click()")
    page.settle()
    assert page.run(visible) == 14
    page.point(*place(page, "match", 11, 3))
    assert number(text(page, "match")) == pytest.approx(maps.match[1, 11, 3], abs=1e-5)


def test_three_views_stand_side_by_side(page, maps, truth):
    page.run("document.querySelector('input[value=beside]').click()")
    page.point(*place(page, "df", 6, 8))
    value, expected = (float(m.si["df"][1, 6, 8]) for m in (maps, truth))
    shown = [number(text(page, "df", cell).split()[0].lstrip("+")) for cell in (1, 2)]
    assert shown == pytest.approx([expected, value - expected], rel=1e-3, abs=1e-2)
    tops = page.run("return panels[3].cells.map(c => c.canvas.getBoundingClientRect().top)")
    assert max(tops) - min(tops) < 1
