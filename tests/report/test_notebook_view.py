"""The view of a result in a notebook: its numbers are those of the maps where they count."""

import base64
import dataclasses
import io
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from mrfpipe.appearance import colours_of
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.report.notebook import as_html


def table(maps, name="leg"):
    text = re.sub(r"(<img [^>]*)>", r"\1/>", as_html(maps, name=name))
    rows = ET.fromstring(f"<div>{text}</div>").iter("tr")  # noqa: S314 - the test's own
    return {row[0].text or "": list(row)[1:] for row in rows}


def number(text):
    return float(text.replace("\N{MINUS SIGN}", "-"))


def test_means_and_ranges(maps):
    unsure = {"T1H2O": maps["FF"] > 0.7, "T1fat": maps["FF"] <= 0.3}
    share = {p.name: np.where(unsure.get(p.name, False), 0.3, 0.02) for p in PARAMETERS}
    sd = {p.name: (share[p.name] * np.abs(maps.si[p.name])).astype(np.float32) for p in PARAMETERS}
    rows = table(dataclasses.replace(maps, sd=sd))
    assert [cell.text for cell in rows[""]] == ["FF (%)", "T1H2O (ms)", "T1fat (ms)", "df (Hz)", "B1"]
    for i, p in enumerate(PARAMETERS):
        values = maps[p.name][maps.mask & ~unsure.get(p.name, np.False_)].astype(float) * (100 if p.name == "FF" else 1)
        assert number(rows["mean"][i].text) == pytest.approx(values.mean(), rel=6e-3)  # three digits
        assert number(rows["mean SD"][i].text) == pytest.approx(0.02 * np.abs(values).mean(), rel=6e-3)
        ends = [number(end) for end in rows["5 to 95 %"][i].text.split(" to ")]
        assert ends == pytest.approx(np.percentile(values, [5, 95]), rel=6e-3)
        assert rows["voxels"][i].text == str(values.size)
    assert "mean SD" not in table(maps)


def test_pictures_are_the_middle_slice_in_its_colours(maps):
    picture = table(maps)["middle slice"][0][0]
    assert picture.get("alt") == "FF"
    png = base64.b64decode(picture.get("src").removeprefix("data:image/png;base64,"))
    seen = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    y, x = 4, 9  # the picture begins at the image's first row and column, within two voxels of the mask
    expected = colours_of("viridis")[int(256 * maps["FF"][1, y, x])].astype(int)
    # 64 colours for 256: neighbours in the colour map are some 10 apart
    assert np.abs(seen[y, x] - expected).max() <= 12
    assert np.ptp(seen[0, 0]) == 0, "grey outside"


def test_an_empty_mask_and_a_hostile_name(maps, hostile):
    nothing = {n: np.full_like(v, np.nan) for n, v in maps.si.items()}
    quality = {n: np.full_like(maps.m0, np.nan) for n in ("m0", "phase", "match")}
    empty = dataclasses.replace(maps, si=nothing, mask=np.zeros_like(maps.mask), edge=0 * maps.edge, **quality)
    rows = table(empty, name="none")
    assert [cell.text for cell in rows["mean"]] == 5 * ["\N{EN DASH}"]
    assert "<script>" not in as_html(maps, name=hostile)
