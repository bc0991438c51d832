import dataclasses
import json
import re

import numpy as np
import pytest

from mrfpipe.errors import MismatchError
from mrfpipe.imaging.reconstruction import UNSTATED
from mrfpipe.report.page import render, side_letters, write_report
from mrfpipe.report.quality import edge_shares, warnings_of


def data_of(page):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def test_a_page_asks_for_nothing_and_holds_no_markup_from_files(tmp_path, maps, provenance, hostile):
    write_report(tmp_path / "report.html", maps, provenance, title="scan 1")
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?://|@import|url\(|<link(?! rel=\"icon\" href=\"data:,\")", page)
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img" not in page
    data = data_of(page)
    assert data["title"] == "scan 1"
    assert ["remark", hostile] in data["account"]
    assert data["fingerprints"] is None
    assert data["truthMask"] is None


def test_a_title_is_escaped(maps, provenance, hostile):
    page = render(maps, provenance, title=hostile)
    assert page.count("<script") == 2
    assert data_of(page)["title"] == hostile


def test_a_page_replaces_itself_and_is_the_same_again(tmp_path, maps, provenance, truth, fingerprints):
    for _ in range(2):
        write_report(tmp_path / "report.html", maps, provenance, title="scan 1", truth=truth, fingerprints=fingerprints)
        page = (tmp_path / "report.html").read_text()
    assert page == render(maps, provenance, title="scan 1", truth=truth, fingerprints=fingerprints)


def test_a_truth_of_another_shape_is_refused(maps, provenance, truth):
    cut = {f.name: getattr(truth, f.name) for f in dataclasses.fields(truth) if f.name not in ("affine", "gap")}
    small = dataclasses.replace(truth, **{name: array[:1] for name, array in cut.items()})
    with pytest.raises(MismatchError, match="shape"):
        render(maps, provenance, title="", truth=small)


def test_an_empty_mask_is_said(maps, provenance):
    empty = dataclasses.replace(maps, mask=np.zeros_like(maps.mask))
    assert warnings_of(empty, provenance) == ["No voxel lies inside the mask: there is nothing to show."]
    assert data_of(render(empty, provenance, title=""))["edges"]["FF"] == 0


def test_letters_say_where_the_image_begins():
    affine = np.diag([-1.0, -1.0, 8.0, 1.0])  # x begins at the patient's right, y in front
    assert side_letters(affine) == {"left": "R", "top": "A"}
    assert side_letters(np.diag([2.0, 1.0, 1.0, 1.0])) == {"left": "L", "top": "P"}
    coronal = affine[:, [0, 2, 1, 3]]
    assert side_letters(coronal)["top"] == "I"
    oblique = affine.copy()
    oblique[:3, 0] = [1, 1, 0]
    assert side_letters(oblique)["left"] == ""


def test_shares_at_the_edge_are_those_of_the_bits(maps):
    shares = edge_shares(maps)
    inside = [int(e) for e in maps.edge[maps.mask]]
    assert shares["T1fat"] == pytest.approx(sum(e & 4 > 0 for e in inside) / len(inside))
    assert shares["B1"] == pytest.approx(sum(e & 16 > 0 for e in inside) / len(inside))


def test_what_is_wrong_is_said_in_words_and_nothing_else(maps, provenance):
    good = dataclasses.replace(
        maps,
        edge=np.ones_like(maps.edge),  # FF at its end everywhere: pure tissue
        match=np.where(maps.mask, 0.99, np.nan).astype(np.float32),
    )
    assert warnings_of(good, provenance) == []
    bad = dataclasses.replace(
        good,
        edge=np.full_like(maps.edge, 4),
        match=np.where(maps.mask, 0.8, np.nan).astype(np.float32),
    )
    notes = {
        "gradient_delays_corrected": True,
        "gradient_delays_samples": {"x": 0.25, "y": -0.5},
        "virtual_coils_energy": 0.5,
        UNSTATED: "flip angles, TI",
    }
    said = warnings_of(bad, dataclasses.replace(provenance, notes=notes))
    for words in ("T1fat grid", "match worse", "x 0.25, y -0.50", "only 50.0%", "not list them: flip angles, TI."):
        assert sum(words in warning for warning in said) == 1
    assert len(said) == 5


def test_a_picture_of_the_coils_is_in_the_page(tmp_path, maps, provenance):
    picture = tmp_path / "coils.png"
    picture.write_bytes(b"a picture")
    write_report(tmp_path / "report.html", maps, provenance, title="scan 1", coils=picture)
    assert data_of((tmp_path / "report.html").read_text())["coils"] == "data:image/png;base64,YSBwaWN0dXJl"
    assert data_of(render(maps, provenance, title="scan 1"))["coils"] is None
