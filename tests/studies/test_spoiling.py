"""The study of the signal models, on few voxels and one increment."""

import csv

import numpy as np
import pytest
from matplotlib.image import imread

from mrfpipe.physics.simulate import SignalModel
from mrfpipe.protocol import load_protocol
from mrfpipe.studies import spoiling
from mrfpipe.studies.spoiling import (
    compare_models,
    draw_comparisons,
    draw_voxels,
    format_comparisons,
    write_comparisons,
)

PROTOCOL = load_protocol("t1ff-small")


@pytest.fixture(scope="module")
def comparisons():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spoiling, "INCREMENTS_DEG", (50.0,))
        return compare_models(PROTOCOL, n_voxels=30)


def chosen(comparisons, signals: str, dictionary: str):
    (found,) = [c for c in comparisons if (str(c.signals), str(c.dictionary)) == (signals, dictionary)]
    return found


def test_a_model_agrees_with_itself_and_bloch_with_epg(comparisons):
    for profile in ("", " with slice profile"):
        assert chosen(comparisons, f"epg{profile}", f"epg{profile}").difference == 0
        assert chosen(comparisons, f"spoiled{profile}", f"spoiled{profile}").difference == 0
        # Single precision and dropped orders of EPG.
        assert chosen(comparisons, f"bloch{profile}", f"epg{profile}").difference_95 < 5e-5


def test_ideal_spoiling_differs_by_a_percent_at_50_degrees(comparisons):
    found = chosen(comparisons, "epg", "spoiled")
    assert 2e-3 < found.difference < found.difference_95 < 0.05
    assert found.increment_deg == 50


def test_a_slice_profile_that_the_dictionary_lacks_looks_like_less_b1(comparisons):
    """Layers at the edge of the slice get less than the nominal flip angle."""
    without, own = chosen(comparisons, "epg with slice profile", "epg"), chosen(comparisons, "epg", "epg")
    assert without.bias["B1"] < -0.1 < own.bias["B1"] < 0.05
    assert without.rmse["B1"] > abs(without.bias["B1"])


def test_errors_are_of_the_maps_in_file_units(comparisons):
    """On a grid alone the error is that of rounding to its steps, at the least."""
    own = chosen(comparisons, "spoiled", "spoiled")
    step = 1e3 * np.diff(PROTOCOL.grid["T1H2O"])[0]
    assert 0.2 * step < own.rmse["T1H2O"] < 2 * step
    assert 0.2 * np.diff(PROTOCOL.grid["df"])[0] < own.rmse["df"] < np.diff(PROTOCOL.grid["df"])[0]


def test_voxels_are_drawn_inside_the_grid_and_again_the_same():
    voxels = draw_voxels(PROTOCOL, 500, seed=3)
    assert np.all(np.abs(voxels["df"]) <= 0.8 * PROTOCOL.grid["df"][-1])
    assert voxels["B1"].min() > PROTOCOL.grid["B1"][0]
    np.testing.assert_array_equal(voxels["T1H2O"], draw_voxels(PROTOCOL, 500, seed=3)["T1H2O"])


def test_table_and_figure(comparisons, tmp_path, monkeypatch):
    monkeypatch.setattr(spoiling, "INCREMENTS_DEG", (50.0,))
    write_comparisons(comparisons, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(comparisons) == 14
    first = chosen(comparisons, rows[0]["signals"], rows[0]["dictionary"])
    assert float(rows[0]["bias_T1H2O_ms"]) == first.bias["T1H2O"]
    assert float(rows[0]["rmse_FF"]) == first.rmse["FF"]
    text = format_comparisons(comparisons)
    assert f"{first.bias['T1H2O']:+.1f} ({first.rmse['T1H2O']:.1f})" in text.splitlines()[2]  # below heading and rule
    assert all(str(SignalModel(spoiling=name)) in text for name in ("spoiled", "epg", "bloch"))
    draw_comparisons(PROTOCOL, comparisons, tmp_path / "f.png")
    picture = imread(tmp_path / "f.png")
    assert picture.shape[1] > 1000
    assert 0.02 < np.mean(picture[..., :3].min(-1) < 0.9) < 0.6
