"""The studies of agreement and of sharpness, on maps whose outcome is known."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from helpers import with_maps

from mrfpipe.evaluation.sharpness import THRESHOLDS, high_frequency_energy
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.studies import agreement, sharpness
from mrfpipe.studies.scanned import ScannedCohort
from mrfpipe.studies.work import Work


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def regions(work, tmp_path, monkeypatch):
    """Work in which everything is a region, by rows: so coarsely as here muscles have none. Scores are its own."""
    drawn = ScannedCohort.phantom

    def phantom(self, subject):
        found = drawn(self, subject)
        rows = np.arange(found.rois.shape[1], dtype=found.rois.dtype)[:, None] // 4
        return replace(found, rois=np.where(found.maps.mask, 1 + rows, 0).astype(found.rois.dtype))

    monkeypatch.setattr(ScannedCohort, "phantom", phantom)
    monkeypatch.setattr(work, "folder", tmp_path / "work")
    return work


@pytest.fixture
def shifted(regions, monkeypatch):
    """Work in which the network's maps are matching's, each shifted by an amount of its own."""
    # Exact in float32 where values are below 1; T1 in s and df in Hz are rounded to 1e-7 and 1e-5.
    shifts = {"FF": 0.03125, "T1H2O": 0.0625, "T1fat": -0.03125, "df": 4.0, "B1": -0.0625}
    original = Work.maps

    def maps(self, method, subject):
        if method != "proposed":
            return original(self, method, subject)
        matched = original(self, "match", subject)
        return with_maps(matched, **{name: matched.si[name] + np.float32(by) for name, by in shifts.items()})

    monkeypatch.setattr(Work, "maps", maps)
    return regions, shifts


def test_the_bias_is_what_the_network_is_off_by(shifted, tmp_path):
    work, shifts = shifted
    agreement.run(tmp_path, work)
    lines = [line for line in read(tmp_path / "agreement.csv") if line["reference"] == "match"]
    for line, parameter in zip(lines, PARAMETERS, strict=True):
        assert line["map"] == parameter.name
        by = shifts[parameter.name] * parameter.scale
        assert float(line["bias"]) == pytest.approx(by, rel=1e-4)
        # All regions are off by the same: limits at the bias, a regression of slope 1 through it.
        assert float(line["lower"]) == pytest.approx(by, rel=1e-3)
        assert float(line["slope"]) == pytest.approx(1, rel=1e-4)
        assert float(line["intercept"]) == pytest.approx(by, rel=1e-2)


def test_agreement_has_the_papers_figures_and_all_points(regions, tmp_path):
    text = agreement.run(tmp_path, regions)
    names = {"agreement.csv", "agreement-points.csv", "agreement.md", "agreement.png"}
    assert {path.name for path in tmp_path.iterdir()} == names | {"work"}
    lines = {(line["method"], line["reference"], line["map"]): line for line in read(tmp_path / "agreement.csv")}
    assert len(lines) == len(agreement.PAIRS) * len(PARAMETERS)
    t1 = lines["proposed", "match", "T1H2O"]
    assert (t1["paper_n"], t1["paper_r2"]) == ("3943", "0.919")
    assert {line["paper_r2"] for line in lines.values() if line["reference"] == "truth"} == {""}
    assert "about ± 60 ms" in text
    points = read(tmp_path / "agreement-points.csv")
    for (method, reference, name), line in lines.items():
        some = [p for p in points if (p["method"], p["reference"], p["map"]) == (method, reference, name)]
        assert len(some) == int(line["n"]) >= 2
        differences = [float(p["estimate"]) - float(p["reference_mean"]) for p in some]
        assert np.mean(differences) == pytest.approx(float(line["bias"]), abs=1e-9)


def test_sharpness_is_that_of_each_map_over_what_all_have(work, tmp_path):
    (subject,) = work.split("testing")
    methods = ("truth", "match", "proposed", "cohen")
    text = sharpness.run(tmp_path, work)
    assert {path.name for path in tmp_path.iterdir()} == {f"sharpness.{suffix}" for suffix in ("csv", "md", "png")}
    lines = read(tmp_path / "sharpness.csv")
    assert len(lines) == len(methods) * len(PARAMETERS) * len(THRESHOLDS)
    maps = [work.truth(subject), *(work.maps(method, subject) for method in methods[1:])]
    mask = np.logical_and.reduce([m.mask for m in maps])
    for method, found in zip(methods, maps, strict=True):
        expected = high_frequency_energy(found.si["df"], mask)[0]
        some = [float(line["mean"]) for line in lines if (line["map"], line["method"]) == ("df", method)]
        np.testing.assert_allclose(some, expected)
        assert f"| {method} | {1e3 * expected[0]:.2f} |" in text
