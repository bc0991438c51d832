import dataclasses
import json
import re

import numpy as np
import pytest
from helpers import parameter_maps

from mrfpipe.appearance import side_letters
from mrfpipe.errors import MismatchError
from mrfpipe.imaging.reconstruction import UNSTATED
from mrfpipe.report.findings import findings
from mrfpipe.report.page import render, write_report
from mrfpipe.report.quality import DOUBT, edge_shares, warnings_of


def data_of(page):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def test_a_page_asks_for_nothing_and_holds_no_markup_from_files(tmp_path, maps, provenance, hostile):
    write_report(tmp_path / "report.html", render(maps, provenance, title="scan 1"))
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
        write_report(
            tmp_path / "report.html", render(maps, provenance, title="scan 1", truth=truth, fingerprints=fingerprints)
        )
        page = (tmp_path / "report.html").read_text()
    assert page == render(maps, provenance, title="scan 1", truth=truth, fingerprints=fingerprints)


def test_a_truth_of_another_shape_is_refused(maps, provenance, truth):
    cut = {name: getattr(truth, name)[:1] for name in ("m0", "phase", "match", "edge", "mask")}
    small = dataclasses.replace(truth, si={name: image[:1] for name, image in truth.si.items()}, **cut)
    with pytest.raises(MismatchError, match="shape"):
        render(maps, provenance, title="", truth=small)


def test_an_empty_mask_is_said(maps, provenance):
    empty = dataclasses.replace(maps, mask=np.zeros_like(maps.mask))
    assert warnings_of(empty, provenance) == ["The mask is empty: there are no maps to show."]
    assert data_of(render(empty, provenance, title=""))["findings"] == []


def test_letters_say_where_the_image_begins():
    affine = np.diag([-1.0, -1.0, 8.0, 1.0])  # x begins at the patient's right, y in front
    assert side_letters(affine) == {"left": "R", "top": "A"}
    assert side_letters(np.diag([2.0, 1.0, 1.0, 1.0])) == {"left": "L", "top": "P"}
    coronal = affine[:, [0, 2, 1, 3]]
    assert side_letters(coronal)["top"] == "I"
    oblique = affine.copy()
    oblique[:3, 0] = [1, 1, 0]
    assert side_letters(oblique)["left"] == ""


def test_shares_at_the_edge_are_those_of_the_bits_where_a_map_counts(maps):
    shares = edge_shares(maps)
    ff = maps["FF"]
    for name, bit, counts in (("T1H2O", 2, ff <= 0.7), ("T1fat", 4, ff > 0.3), ("B1", 16, ff >= 0)):
        inside = [int(e) for e in maps.edge[maps.mask & counts]]
        assert shares[name] == pytest.approx(sum(e & bit > 0 for e in inside) / len(inside)), name


def scan(**changes):
    """A scan of 60 x 50 voxels, the left half muscle and the right half fat, whose fingerprints fit well."""
    mask = np.ones((1, 60, 50), bool)
    values = {"FF": 0.1, "T1H2O": 1.2, "T1fat": 0.3, "df": 0, "B1": 0.8, "m0": 1, "phase": 0, "match": 0.99}
    images = {name: np.full(mask.shape, value, np.float32) for name, value in values.items()}
    images["FF"][..., 25:] = 0.95
    return parameter_maps(mask=mask, **{**images, **changes})


def everywhere(value, plain):
    return np.full_like(plain.si["FF"], value)


def test_estimates_where_they_do_not_count_are_nothing_to_warn_of(provenance):
    """T1 of water at the end of its grid in all of the fat, T1 of fat in all of the muscle."""
    plain = scan()
    fat = plain.si["FF"] > 0.5
    water, of_fat = plain.si["T1H2O"], plain.si["T1fat"]
    elsewhere = scan(
        T1H2O=np.where(fat, 2.0, water), T1fat=np.where(fat, of_fat, 0.4), edge=np.where(fat, 2, 4).astype(np.uint8)
    )
    assert warnings_of(elsewhere, provenance) == []
    there = scan(T1H2O=np.where(fat, water, 2.0), edge=np.where(fat, 0, 2).astype(np.uint8))
    said = warnings_of(there, provenance)
    assert len(said) == 1
    assert said[0].startswith("T1H2O and most of its neighbourhood are at the grid limit, ")
    assert "2000 ms, in 100% of the scored voxels: the true value may lie beyond. Widen its range" in said[0]


def test_what_undersampling_does_is_nothing_to_warn_of(provenance):
    """A match of 0.84, and T1 of fat scattered over its grid so that a fifth lies at its two ends; as in the demo."""
    rng = np.random.default_rng(0)
    t1f = np.clip(rng.normal(0.31, 0.065, scan().si["FF"].shape), 0.225, 0.4).astype(np.float32)
    at_end = (t1f <= np.float32(0.225)) | (t1f >= np.float32(0.4))
    assert 0.15 < at_end.mean() < 0.25
    # Ten complex dimensions of noise of one size everywhere, beside signals of different size.
    noise = rng.chisquare(20, t1f.shape) / 20
    m0 = rng.uniform(0.7, 1.4, t1f.shape)
    match = (m0 / np.sqrt(m0**2 + 0.42 * noise)).astype(np.float32)
    assert 0.8 < np.median(match) < 0.86
    noisy = scan(T1fat=t1f, edge=np.where(at_end, 4, 0).astype(np.uint8), m0=m0.astype(np.float32), match=match)
    assert warnings_of(noisy, provenance) == []
    # The same noise around a T1 of fat beyond the grid.
    beyond = np.minimum(t1f + np.float32(0.11), np.float32(0.4))
    (said,) = warnings_of(
        scan(T1fat=beyond, edge=np.where(beyond >= np.float32(0.4), 4, 0).astype(np.uint8)), provenance
    )
    assert "T1fat and most of its neighbourhood are at the grid limit, 400 ms, in " in said


def test_voxels_that_deviate_more_than_the_scan_are_said(provenance):
    plain = scan()
    match = everywhere(0.84, plain)
    match[0, :3, :25] = 0.4  # 75 of 3000 voxels, in which blood flows
    (said,) = warnings_of(scan(match=match, m0=everywhere(1, plain)), provenance)
    assert said.startswith("In 2% of the voxels the residual exceeds 2 times the median of the scan")


def test_fingerprints_that_explain_less_than_a_third_are_said(provenance):
    plain = scan()
    assert warnings_of(scan(match=everywhere(0.58, plain)), provenance) == []  # 0.336 of the energy
    (said,) = warnings_of(scan(match=everywhere(0.57, plain)), provenance)
    assert "less than a third of the signal energy (median match 0.57)" in said


def test_pure_tissue_is_nothing_to_warn_of_and_what_can_be_done_is_said(provenance):
    pure = scan(edge=np.ones((1, 60, 50), np.uint8))  # FF at its end everywhere
    assert warnings_of(pure, provenance) == []
    notes = {
        "gradient_delays_corrected": True,
        "gradient_delays_samples": {"x": 0.25, "y": -0.5},
        "virtual_coils_energy": 0.5,
        UNSTATED: "flip angles, TI",
        DOUBT: "The scan is explained better.",
    }
    found = dataclasses.replace(provenance, notes=notes)
    said = warnings_of(pure, found)
    for words in (
        "only 50.0%",
        "does not state flip angles, TI: check that the protocol",
        "explained better.",
    ):
        assert sum(words in warning for warning in said) == 1
    assert len(said) == 3  # delays that were corrected leave nothing to do


def test_numbers_of_a_result_are_said_with_their_meaning(provenance):
    plain = scan()
    sd = {name: np.full_like(values, 0.01) for name, values in plain.si.items()}
    notes = {
        "gradient_delays_corrected": True,
        "gradient_delays_samples": {"x": 0.25, "y": -0.5, "xy": -0.001},
        "noise_of_coils_over_their_mean": {"least": 0.8, "most": 1.25, "largest correlation": 0.3},
        "virtual_coils": 8,
        "virtual_coils_energy": 0.993,
    }
    match = everywhere(0.99, plain)
    match[0, :3, :25] = 0.4
    known = dataclasses.replace(plain, sd=sd, match=match, edge=np.full(match.shape, 2, np.uint8))
    found = findings(known, dataclasses.replace(provenance, notes=notes))
    assert {name: value for name, value, _ in found} == {
        "match": "median 0.99000, 5 to 95 %: 0.99000 to 0.99000",
        "far from the fingerprint": "2.5% of the voxels",
        "at the grid limit": "FF 0.0%, T1H2O 100.0%, T1fat 0.0%, df 0.0%, B1 0.0%",
        "standard deviation": "FF 1 %, T1H2O 10 ms, T1fat 10 ms, df 0.01 Hz, B1 0.01",
        "gradient delays": "x 0.25, y -0.50, xy 0.00 samples: corrected",
        "noise of the coils": "0.80 to 1.25 of their mean, largest correlation of two coils 0.30",
        "virtual coils": "8 keep 99.3% of the signal",
    }
    assert all(meaning.endswith(".") and len(meaning) > 40 for _, _, meaning in found)
    assert [name for name, _, _ in findings(plain, dataclasses.replace(provenance, notes={}))] == [
        "match",
        "far from the fingerprint",
        "at the grid limit",
    ]


def test_a_picture_of_the_coils_is_in_the_page(tmp_path, maps, provenance):
    picture = tmp_path / "coils.png"
    picture.write_bytes(b"a picture")
    write_report(tmp_path / "report.html", render(maps, provenance, title="scan 1", coils=picture))
    assert data_of((tmp_path / "report.html").read_text())["coils"] == "data:image/png;base64,YSBwaWN0dXJl"
    assert data_of(render(maps, provenance, title="scan 1"))["coils"] is None
